"""SIGTERM: this process is to end soon. A spot notice, a drained node, a deleted pod and a cancelled run come as one.

A thread of its own waits for the signal. A handler would run in the main thread, between two steps of Python, and so
only after the import, the convolution or the request that it is in.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any, TypeVar

import structlog

from stylefleet.errors import ExitCode, StepHung

log = structlog.get_logger(__name__)

EXIT_SECONDS = 12.0
"""From the signal to the end of the process at the latest. What is promised is 15 s: a node that a spot notice gives
30 s leaves its pods half of them. The rest is for the kernel, which takes gigabytes back from a process that ends."""

T = TypeVar("T")


class Stopped(Exception):
    """The process was told to end: what has a receipt stays done, the rest is for the next attempt."""


class Stop:
    """Whether this process was told to end. Safe to use from several threads."""

    def __init__(self) -> None:
        self._told: Future[None] = Future()
        self.at_work = False
        """Whether something may have to be written down before the end; else the process ends at once."""

    def tell(self) -> None:
        """Say that the process is to end; once is enough, and again is no error."""
        if not self.told:
            self._told.set_result(None)

    @property
    def told(self) -> bool:
        return self._told.done()

    def result_of(self, future: Future[T], *, patience_seconds: float = 0.0, limit_seconds: float | None = None) -> T:
        """Wait for a result. Raises Stopped where the process is told to end and the result does not come within so
        many seconds after that, StepHung where neither happens within the limit, and what computing it raises."""
        either: tuple[Future[Any], ...] = (future, self._told)
        wait(either, timeout=limit_seconds, return_when=FIRST_COMPLETED)
        if not future.done() and not self.told:
            raise StepHung(f"the engine has not answered for {limit_seconds:.0f} s")
        wait((future,), timeout=patience_seconds)
        if not future.done():
            raise Stopped
        return future.result()


def stop_on_sigterm() -> Stop:
    """What SIGTERM tells, and at the latest after EXIT_SECONDS the end of the process. To be called before any other
    thread exists, so that none of them takes the signal."""
    stop = Stop()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_wait_for_sigterm, args=(stop,), daemon=True).start()
    return stop


def _wait_for_sigterm(stop: Stop) -> None:
    signal.sigwait({signal.SIGTERM})
    stop.tell()
    log.warning("told_to_end", at_work=stop.at_work)
    if stop.at_work:
        time.sleep(EXIT_SECONDS)
        log.error("cut_short", seconds=EXIT_SECONDS)
    os._exit(ExitCode.TERMINATED)
