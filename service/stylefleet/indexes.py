"""Completion indexes as Kubernetes writes them: `1,3-5,7`. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def parse_indexes(text: str) -> frozenset[int]:
    """`1,3-5,7` as in `status.completedIndexes`."""
    indexes: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        indexes.update(range(int(first), int(last or first) + 1))
    return frozenset(indexes)


def format_indexes(indexes: Iterable[int]) -> str:
    """The inverse of `parse_indexes`: runs of three or more are written as `first-last`, as Kubernetes does."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(f"{r[0]}-{r[-1]}" if len(r) > 2 else ",".join(map(str, r)) for r in runs)


def count_indexes(text: str | None) -> int:
    """How many there are, without making the set."""
    parts = [part.partition("-") for part in (text or "").split(",") if part]
    return sum(int(last or first) - int(first) + 1 for first, _, last in parts)
