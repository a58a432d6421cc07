"""What memory a worker needs at the most, from the recipe, before anything is computed: its Job asks for it. Pure.

A plan knows the size of its pictures and not their shape, so the worst is assumed: square pictures, in float32, from
sources of PIXELS_MAX. docs/memory.md says what of this was measured.
"""

from __future__ import annotations

import re
from decimal import Decimal

from stylefleet.batches import BATCH_MAX, PIXELS_PER_STEP
from stylefleet.picture_files import PIXELS_MAX
from stylefleet.recipe import Recipe

TILED_FROM_PIXELS = 1_800_000
"""Pictures of more pixels go through the network in tiles."""
PIXELS_FOR_FULL_HISTORY = 4_000_000
"""Above this, L-BFGS remembers fewer pairs: ten of 24 megapixels each would be 5.8 GB."""

_LOADED = 780_000_000
"""Python, TensorFlow, the backbone and its traced programs."""
_LOADED_WITH_GPU = 2_500_000_000
"""The same with CUDA and its libraries; not measured."""
_DECODING = 23 * PIXELS_MAX
"""Sources that are decoded while others are optimized: 22 bytes a pixel while one is turned and converted."""
CHECKPOINT_MAX = 2_500_000_000
"""Of the largest stage that is saved; above, none is written."""
_TILE = 2_200_000_000
"""Activations of one tile."""

# Bytes a pixel.
_PICTURE = 12
"""float32, three channels."""
_NETWORK = 2_500
"""Activations that the gradient needs."""
CHECKPOINT = 3 * 23 * _PICTURE
"""The optimizer's memory as arrays, as an archive and as sealed bytes."""
STATE = 23 * _PICTURE
"""L-BFGS with ten pairs: picture, gradient, direction, and two for each pair."""
STATE_OF_LARGE = 11 * _PICTURE
"""With four pairs."""
_STEP = 12 * _PICTURE
"""What a step of the optimizer makes besides."""
_BEFORE = STATE // 4
"""The state of the scale before, half as large, until it is saved."""
_CONTENT = 32
"""Activations of the content that the picture is compared with."""
_HOST = 54
"""The picture in its steps from source to result, outside of TensorFlow."""
_REGION = 16
"""A mask, and the weights that are made of it for each style layer."""
_KEPT = 5 * _PICTURE
"""Where something is left alone: what is kept, how far, and the picture that is put together from it."""
_AVERAGE = 2 * _PICTURE
"""The mean of iterates."""


def memory_needed(recipe: Recipe, *, regions: int = 1, kept: bool = False, gpu: bool = False) -> int:
    """Bytes of host memory for the largest stage of the recipe.

    `regions` is the number of masks with styles of their own, `kept` says whether a part of the picture may be left
    alone. With a GPU, network and optimizer are in the GPU's memory and do not count.
    """
    pixels = pixels_at_a_time(recipe)
    masks = _REGION * regions if regions > 1 or kept else 0
    always = _DECODING + min(CHECKPOINT * pixels, CHECKPOINT_MAX) + (_HOST + masks) * pixels
    if gpu:
        return _LOADED_WITH_GPU + always
    beside = (
        _CONTENT + _BEFORE + masks + (_KEPT if kept or recipe.refine else 0) + (_AVERAGE if recipe.averaging else 0)
    )
    whole = min(pixels, TILED_FROM_PIXELS) * (STATE + _NETWORK + beside)
    state = max(STATE * min(pixels, PIXELS_FOR_FULL_HISTORY), STATE_OF_LARGE * pixels)
    tiled = state + max(_TILE, _STEP * pixels) + beside * pixels
    return _LOADED + always + (max(whole, tiled) if pixels > TILED_FROM_PIXELS else whole)


def pixels_at_a_time(recipe: Recipe) -> int:
    """The most that a stage of this recipe has in all pictures of a batch."""
    size = recipe.size_px
    crops = [width * height for width, height in (r.crop_size(size, size) for r in recipe.refine)]
    largest = max(size * size, *crops) if crops else size * size
    return max(largest, min(BATCH_MAX * largest, PIXELS_PER_STEP))


_FACTORS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
QUANTITY = "a number of bytes with or without one of the units " + ", ".join(filter(None, _FACTORS))


def bytes_of(quantity: str) -> int:
    """Of memory as Kubernetes writes it: `8Gi`, `500M`. Raises ValueError."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMGT]i?|Ki|)", quantity, re.ASCII)
    if not found or found[2] not in _FACTORS:
        raise ValueError(f"found {quantity!r}, allowed is {QUANTITY}")
    return int(Decimal(found[1]) * _FACTORS[found[2]])


def at_least(quantity: str, needed: int) -> str:
    """The quantity, or what is needed where that is more. Raises ValueError."""
    return quantity if bytes_of(quantity) >= needed else f"{-(-needed // 2**20)}Mi"
