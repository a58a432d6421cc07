"""Iterables that are too long to be held: in chunks, and through several threads in order."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

READERS = 16
"""Requests at a time where many small objects are read."""


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`; the last one may be shorter, none is empty."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def in_order(
    function: Callable[[T], R], items: Iterable[T], *, threads: int = READERS, ahead: int = 2 * READERS
) -> Iterator[R]:
    """What `function` makes of each item, in the order of the items, at most `ahead` of them before they are asked for.

    Raises what `function` raises, when its turn comes; what is not begun by then is left undone.
    """
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
