"""What a step costs in floating point operations, and how long that would take on GPUs: arithmetic, not measurement.

Pure functions on the layer table; `python -m benchmarks --write-roofline` writes them out as docs/roofline.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from stylefleet.presets import recipe_for
from stylefleet.recipe import BACKBONES, CHANNELS_BY_BLOCK, CONVS_BY_BLOCK, PRESETS, Backbone, Recipe

PEAK_TFLOPS: Mapping[str, float] = MappingProxyType({"T4": 65.0, "V100": 125.0, "A100": 312.0, "H100": 989.0})
"""Published peak of dense half precision matrix products, in 10^12 operations a second (H100: the SXM board)."""

SHARES_OF_PEAK = (0.2, 0.4)
"""What convolutions of this kind are expected to reach of the peak; an expectation, not a measurement."""

SIZES_PX = (256, 512, 1024, 2048, 4096)
PRESETS_AT_PX = 512


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """One 3x3 convolution of stride 1, as a backbone does it on a picture of some size."""

    layer: str
    """Keras name."""
    height: int
    """Rows of its input and of its output."""
    width: int
    """Columns."""
    channels_in: int
    channels_out: int

    @property
    def flop(self) -> int:
        """Multiplications and additions of the forward pass for one picture; the input gradient takes as many."""
        return 2 * 9 * self.channels_in * self.channels_out * self.height * self.width


def convolutions(backbone: Backbone, height: int, width: int, *, deepest: str) -> tuple[Convolution, ...]:
    """Every convolution from the picture [height, width] to `deepest`, first to last."""
    found = []
    channels_in = 3
    for block, (convs, channels) in enumerate(zip(CONVS_BY_BLOCK[backbone], CHANNELS_BY_BLOCK, strict=True), start=1):
        for conv in range(1, convs + 1):
            layer = f"block{block}_conv{conv}"
            found.append(
                Convolution(layer=layer, height=height, width=width, channels_in=channels_in, channels_out=channels)
            )
            if layer == deepest:
                return tuple(found)
            channels_in = channels
        # Pooling keeps the last row of an odd size.
        height, width = math.ceil(height / 2), math.ceil(width / 2)
    raise ValueError(f"{backbone} has no layer {deepest!r}; it ends at {found[-1].layer}")


def gram_flop(layer: Convolution) -> int:
    """F^T F of a layer's activations F [h w, C]; its gradient takes as many."""
    return 2 * layer.height * layer.width * layer.channels_out**2


@dataclass(frozen=True, kw_only=True)
class StepFlop:
    """Operations of one optimizer step on one picture."""

    forward: int
    """Convolutions, picture to features."""
    input_gradient: int
    """Convolutions, back to the picture; there are no weight gradients."""
    gram: int
    """Gram matrices and their gradients."""

    @property
    def total(self) -> int:
        return self.forward + self.input_gradient + self.gram


def step_flop(recipe: Recipe, height: int, width: int) -> StepFlop:
    """One step of a picture [height, width] with the recipe's backbone and layers.

    Left out, because together they are below one percent: biases, ReLU, pooling, total variation, the optimizer.
    """
    layers = convolutions(recipe.backbone, height, width, deepest=recipe.layers[-1])
    forward = sum(layer.flop for layer in layers)
    styles = {entry.layer for entry in recipe.style_layers}
    gram = sum(gram_flop(layer) for layer in layers if layer.layer in styles)
    return StepFlop(forward=forward, input_gradient=forward, gram=2 * gram)


def recipe_flop(recipe: Recipe) -> int:
    """All steps of a recipe for a square picture."""
    return sum(scale.iterations * step_flop(recipe, scale.size_px, scale.size_px).total for scale in recipe.scales)


def expected_seconds(flop: float, gpu: str, *, share_of_peak: float) -> float:
    """Seconds that so many operations take at a share of a GPU's published peak."""
    return flop / (PEAK_TFLOPS[gpu] * 1e12 * share_of_peak)


def markdown() -> str:
    """docs/roofline.md."""
    return "\n".join([_HEAD, *_steps(), "", *_presets(), "", _SEED, ""])


_HEAD = """# Roofline

**Everything on this page is arithmetic. Nothing here was measured on a GPU.** Written by
`python -m benchmarks --write-roofline` from the layer table; what was measured is in [benchmarks.md](benchmarks.md).

Pictures are taken to be square; one of 3:2 has two thirds of the pixels and takes two thirds of the operations. A
multiplication and an addition are two operations. Counted: convolutions from the picture to the deepest layer of the
default recipe and back to the picture, and the Gram matrices with their gradients.
"""

_SEED = """## The seed article beside it

The seed article claims less than 2 minutes for one picture of 512 px on a V100. That is a claim about another loop with
another number of steps, and stands here as a yardstick; nothing of ours was measured against it."""


def _steps() -> list[str]:
    lines = ["## Operations of one step, in GFLOP", ""]
    lines += _row("backbone", "size, px", "forward", "input gradient", "Gram", "together", "a pixel, MFLOP")
    lines += _rule(text=1, numbers=6)
    for backbone in BACKBONES:
        for size in SIZES_PX:
            flop = step_flop(recipe_for(backbone=backbone), size, size)
            parts = (flop.forward, flop.input_gradient, flop.gram, flop.total)
            numbers = (f"{part / 1e9:,.1f}" for part in parts)
            lines += _row(f"`{backbone}`", f"{size}", *numbers, f"{flop.total / size**2 / 1e6:.2f}")
    return lines


def _presets() -> list[str]:
    low, high = SHARES_OF_PEAK
    lines = [f"## Seconds a picture at {PRESETS_AT_PX} px, expected at {low:.0%} and {high:.0%} of the peak", ""]
    lines += ["Published peak figures, dense half precision. A batch that fills the GPU is assumed.", ""]
    lines += _row("backbone", "preset", "TFLOP", *(f"{gpu}, {peak:.0f} TFLOP/s" for gpu, peak in PEAK_TFLOPS.items()))
    lines += _rule(text=2, numbers=1 + len(PEAK_TFLOPS))
    for backbone in BACKBONES:
        for preset in PRESETS:
            flop = recipe_flop(recipe_for(preset=preset, size_px=PRESETS_AT_PX, backbone=backbone))
            bands = (
                "{:.2f} to {:.2f}".format(*(expected_seconds(flop, gpu, share_of_peak=s) for s in (high, low)))
                for gpu in PEAK_TFLOPS
            )
            lines += _row(f"`{backbone}`", f"`{preset}`", f"{flop / 1e12:.1f}", *bands)
    return lines


def _row(*cells: str) -> list[str]:
    return [f"| {' | '.join(cells)} |"]


def _rule(*, text: int, numbers: int) -> list[str]:
    return [f"|{'---|' * text}{'---:|' * numbers}"]
