from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from stylefleet.streams import READERS, chunks, in_order


@pytest.mark.parametrize(("count", "lengths"), [(0, []), (1, [1]), (3, [3]), (4, [3, 1]), (7, [3, 3, 1])], ids=str)
def test_chunks_are_full_but_for_the_last_and_none_is_empty(count: int, lengths: list[int]) -> None:
    found = list(chunks(iter(range(count)), 3))
    assert [len(c) for c in found] == lengths
    assert [n for c in found for n in c] == list(range(count))


def test_what_comes_out_is_in_the_order_of_what_went_in_however_long_each_takes() -> None:
    last_begun = threading.Event()

    def slow_at_first(number: int) -> int:
        if number == 3:
            last_begun.set()
        if number == 0:
            assert last_begun.wait(30)
        return -number

    assert list(in_order(slow_at_first, range(4), threads=4, ahead=4)) == [0, -1, -2, -3]


def test_no_more_is_begun_than_is_asked_for_and_some_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    found = in_order(lambda n: n, items(), threads=2, ahead=5)
    assert next(found) == 0
    assert len(taken) == 6
    assert list(found) == list(range(1, 100))


def test_a_fault_is_raised_when_its_turn_comes_and_ends_the_rest() -> None:
    begun: list[int] = []

    def function(number: int) -> int:
        begun.append(number)
        if number == 1:
            raise OSError("one")
        return number

    found = in_order(function, range(1000), threads=1, ahead=2)
    assert next(found) == 0
    with pytest.raises(OSError, match="one"):
        list(found)
    assert len(begun) < 10


def test_reading_keeps_the_order_and_takes_up_little_at_a_time() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield number

    reads = in_order(lambda number: number * 2, items())
    assert [next(reads) for _ in range(10)] == list(range(0, 20, 2))
    assert taken <= 10 + 2 * READERS
    assert list(reads) == list(range(20, 2000, 2))


def test_a_read_that_fails_is_raised_in_its_place() -> None:
    reads = in_order(lambda number: 1 // number, [1, 0])
    assert next(reads) == 1
    with pytest.raises(ZeroDivisionError):
        next(reads)
