"""A clock that stands still while something is measured."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Seconds since it was made, without the pauses."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._paused = 0.0

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._started - self._paused

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What is done inside does not count."""
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._paused += time.perf_counter() - begun
