"""Which pictures are optimized together. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

PIXELS_PER_STEP = 500_000
"""A step of fewer pixels leaves an accelerator idle: 8 x 224 px reaches 80 % of a V100's plateau, others measured."""
BATCH_MAX = 8


class HasShape(Protocol):
    """Anything with the size of its result."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...


T = TypeVar("T", bound=HasShape)


def batch_size(shape: tuple[int, int]) -> int:
    """Pictures of this height and width to optimize at once."""
    return max(1, min(BATCH_MAX, PIXELS_PER_STEP // (shape[0] * shape[1])))


def batches(pictures: Iterable[T]) -> list[list[T]]:
    """Pictures of equal size together, at most `batch_size` of them; order is kept within a size."""
    by_shape: dict[tuple[int, int], list[T]] = {}
    for picture in pictures:
        by_shape.setdefault(picture.shape, []).append(picture)
    return [
        group[first : first + size]
        for shape, group in by_shape.items()
        for size in [batch_size(shape)]
        for first in range(0, len(group), size)
    ]
