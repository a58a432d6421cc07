"""Which pictures are optimized together. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol, TypeVar

PIXELS_PER_STEP = 500_000
"""A step of fewer pixels leaves an accelerator idle: 8 x 224 px reaches 80 % of a V100's plateau, others measured."""
BATCH_MAX = 8


WINDOW = 24
"""Pictures fetched ahead: enough to find like sizes."""
WINDOW_PIXELS = 25_000_000
"""Of all pictures fetched ahead: few enough to bound memory. Large ones are not optimized together anyway."""


class Batchable(Protocol):
    """Anything with the size of its result, and where in the recipe it stands."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        ...

    @property
    def position(self) -> tuple[int, int] | None:
        """Where the checkpoint was taken that it goes on from; None: it starts anew."""
        ...


T = TypeVar("T", bound=Batchable)


class HasCrop(Protocol):
    """A refinement."""

    def crop_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which its part of a result of this size is optimized."""
        ...


def batch_size(shape: tuple[int, int], refine: Sequence[HasCrop] = (), *, at_most: int = BATCH_MAX) -> int:
    """Pictures of this height and width to optimize at once; their largest stage decides."""
    height, width = shape
    crops = [refinement.crop_size(width, height) for refinement in refine]
    return max(1, min(at_most, PIXELS_PER_STEP // max([height * width, *(w * h for w, h in crops)])))


def window(size_px: int) -> int:
    """Pictures to fetch ahead where the longer edge of the largest stage is `size_px`."""
    return max(1, min(WINDOW, WINDOW_PIXELS // size_px**2))


def batches(pictures: Iterable[T], refine: Sequence[HasCrop] = (), *, at_most: int = BATCH_MAX) -> list[list[T]]:
    """Pictures of equal size and position together, at most `batch_size` of them; their order is kept."""
    alike: dict[tuple[tuple[int, int], tuple[int, int] | None], list[T]] = {}
    for picture in pictures:
        alike.setdefault((picture.shape, picture.position), []).append(picture)
    return [
        group[first : first + size]
        for (shape, _), group in alike.items()
        for size in [batch_size(shape, refine, at_most=at_most)]
        for first in range(0, len(group), size)
    ]
