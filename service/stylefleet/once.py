"""Looks that many want at one moment, made once for all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Once:
    """Answers to questions, from the first who asks. Safe to use from several threads.

    For one look at the inbox: an answer is never given to a manifest that came after the question.
    """

    def __init__(self) -> None:
        self._answers: dict[Hashable, Future[Any]] = {}
        self._lock = threading.Lock()

    def __call__(self, question: Hashable, ask: Callable[[], T]) -> T:
        """What `ask` says, or has said when the question came first. Who asks meanwhile waits, and is told of a failure
        too; who comes later asks anew."""
        with self._lock:
            answer = self._answers.get(question)
            first = answer is None
            if answer is None:
                answer = self._answers[question] = Future()
        if first:
            try:
                answer.set_result(ask())
            except BaseException as error:
                with self._lock:
                    del self._answers[question]
                answer.set_exception(error)
        told: T = answer.result()
        return told
