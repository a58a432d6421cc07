from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet.indexes import count_indexes, format_indexes, parse_indexes


@pytest.mark.parametrize(
    ("text", "indexes"),
    [
        ("", set()),
        ("0", {0}),
        ("1,3-5,7", {1, 3, 4, 5, 7}),
        ("0,1", {0, 1}),
        ("0-1", {0, 1}),
        ("99998-100000", {99998, 99999, 100000}),
    ],
)
def test_indexes_are_read_as_kubernetes_writes_them(text: str, indexes: set[int]) -> None:
    assert parse_indexes(text) == indexes


@pytest.mark.parametrize(
    ("indexes", "text"),
    [
        ([], ""),
        ([0], "0"),
        ([1, 0], "0,1"),
        ([0, 1, 2], "0-2"),
        ([1, 3, 4, 5, 7], "1,3-5,7"),
        ([1, 2, 4, 5, 6, 8, 9], "1,2,4-6,8,9"),
    ],
)
def test_three_or_more_in_a_row_are_written_short(indexes: list[int], text: str) -> None:
    assert format_indexes(indexes) == text


@given(st.frozensets(st.integers(0, 40)))
def test_indexes_are_counted_without_being_listed(indexes: frozenset[int]) -> None:
    assert count_indexes(format_indexes(indexes)) == len(indexes)
    assert count_indexes(None) == 0


@given(st.frozensets(st.integers(0, 40)))
def test_indexes_are_read_back(indexes: frozenset[int]) -> None:
    assert parse_indexes(format_indexes(indexes)) == indexes
