"""What a picture costs, predicted from the recipe before anything is computed: for shards and the first ETA. Pure."""

from __future__ import annotations

from stylefleet.recipe import CHANNELS_BY_BLOCK, Recipe, layer_names

PICTURE_ASPECT = 2 / 3
"""Shorter over longer edge of the picture that is assumed: 3:2, as cameras take them."""


def predicted_seconds(recipe: Recipe, *, flops: float) -> float:
    """Accelerator seconds of one picture at `flops` floating point operations a second; 3:2 pictures assumed."""
    width, height = recipe.size_px, max(1, round(recipe.size_px * PICTURE_ASPECT))
    pixel_steps = sum(s.iterations * s.size_px * s.size_px * PICTURE_ASPECT for s in recipe.scales)
    for refinement in recipe.refine:
        crop_width, crop_height = refinement.crop_size(width, height)
        pixel_steps += refinement.iterations * crop_width * crop_height
    return pixel_steps * flop_per_pixel_step(recipe) / flops


def flop_per_pixel_step(recipe: Recipe) -> float:
    """Floating point operations of one optimizer step for one pixel: the network up to the deepest layer that the
    objective looks at, forward and input gradient, and the Gram matrices of the style layers.

    Each multiply-add is two operations, and the gradient costs as much as the way forward: four for each.
    """
    names = layer_names(recipe.backbone)
    network = sum(_convolution(name) for name in names[: names.index(recipe.layers[-1]) + 1])
    grams = sum(_channels(_block(w.layer)) ** 2 / _pixels_per_position(_block(w.layer)) for w in recipe.style_layers)
    return 4.0 * (network + grams)


def _convolution(name: str) -> float:
    """Multiply-adds of a 3 x 3 convolution for each pixel of the picture; pooling has halved both edges before it."""
    block = _block(name)
    incoming = _channels(block - 1 if name.endswith("conv1") else block)
    return 9 * incoming * _channels(block) / _pixels_per_position(block)


def _block(name: str) -> int:
    return int(name.removeprefix("block")[0])


def _channels(block: int) -> int:
    """Of the block's activations; block 0 is the picture."""
    return CHANNELS_BY_BLOCK[block - 1] if block else 3


def _pixels_per_position(block: int) -> int:
    return 1 << 2 * (block - 1)
