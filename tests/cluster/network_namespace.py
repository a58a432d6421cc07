"""Move this thread into a network namespace and back, so that a test is a host of the lab's network.

Threads and processes started meanwhile are in it too. `os.setns` exists from Python 3.12 on; this does for 3.11.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def _enter(path: Path) -> None:
    with path.open("rb") as namespace:
        if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}", str(path))


@contextlib.contextmanager
def inside(name: str) -> Iterator[None]:
    """Within the namespace that `ip netns` calls `name`."""
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        _enter(Path("/run/netns") / name)
        try:
            yield
        finally:
            if _libc.setns(home.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns: the way back is lost")
