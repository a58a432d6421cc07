"""Many small reads at once, in order, with little of it in memory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")
READERS = 16


def read_all(read: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """`read` of each item, in order; a few are read ahead (the pool's own map would take up all items at once)."""
    iterator = iter(items)
    with ThreadPoolExecutor(READERS) as pool:
        ahead = deque(pool.submit(read, item) for item in itertools.islice(iterator, 2 * READERS))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(read, item) for item in itertools.islice(iterator, 1))


def pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of so many items, the last one shorter."""
    iterator = iter(items)
    while page := list(itertools.islice(iterator, size)):
        yield page
