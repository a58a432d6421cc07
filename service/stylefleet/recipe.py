"""The recipe: every number that shapes pixels, and nothing else.

Two tasks with equal inputs and equal recipe digests have equal results (bit for bit in float32 on one kind of
machine), so the digest is part of a task's identity.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal, get_args

ENGINE_VERSION = "3"
"""Raised whenever the engine computes other pixels from the same recipe: finished tasks are then computed anew."""

Backbone = Literal["vgg16-hed", "vgg19-imagenet"]
Pooling = Literal["max", "average"]
Statistics = Literal["gram", "gram+mean"]
Optimizer = Literal["lbfgs", "adam"]
Start = Literal["content", "noise", "picture"]
Colors = Literal["style", "match", "luminance"]
Preset = Literal["draft", "balanced", "fine", "impressionist", "portrait"]
Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]

BACKBONES: tuple[Backbone, ...] = get_args(Backbone)
PRESETS: tuple[Preset, ...] = get_args(Preset)

SIZE_PX_MIN = 16
SIZE_PX_MAX = 8192
ITERATIONS_MAX = 10_000
WEIGHT_MAX = 1e9
"""Far beyond any look, and far below where a sum of float32 ends."""
LEARNING_RATE_MIN = 0.1
LEARNING_RATE_MAX = 20.0
ZOOM_MAX = 8.0
REFINE_MARGIN = 0.15
"""Margin around a refined box, as a share of its longer edge."""

CONVS_BY_BLOCK: dict[Backbone, tuple[int, ...]] = {
    "vgg16-hed": (2, 2, 3, 3, 3),
    "vgg19-imagenet": (2, 2, 4, 4, 4),
}
CHANNELS_BY_BLOCK = (64, 128, 256, 512, 512)
"""Simonyan and Zisserman, Very Deep Convolutional Networks, arXiv:1409.1556, table 1, columns D and E."""


def layer_names(backbone: Backbone) -> tuple[str, ...]:
    """Every convolution of a backbone, first to last, by its Keras name."""
    return tuple(
        f"block{block}_conv{conv}"
        for block, convs in enumerate(CONVS_BY_BLOCK[backbone], start=1)
        for conv in range(1, convs + 1)
    )


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One image size of the coarse-to-fine sequence."""

    size_px: int
    """Length of the picture's longer edge at this scale."""
    iterations: int
    """Optimizer steps at this scale, at the most."""


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """A box of the result that is optimized once more at a higher resolution, and blended back."""

    box: tuple[float, float, float, float]
    """Left, top, right, bottom as shares of the picture's width and height, 0..1."""
    zoom: float
    """How many times finer than the result."""
    iterations: int
    """Optimizer steps."""

    def crop(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the box in a result of this size, in pixels, with the margin around it in which
        the finer picture fades into the coarser one."""
        left, top, right, bottom = self.box
        margin = REFINE_MARGIN * max((right - left) * width, (bottom - top) * height)
        return (
            max(0, math.floor(left * width - margin)),
            max(0, math.floor(top * height - margin)),
            min(width, math.ceil(right * width + margin)),
            min(height, math.ceil(bottom * height + margin)),
        )

    def crop_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) at which the crop is optimized, for a result of this size."""
        left, top, right, bottom = self.crop(width, height)
        return max(1, round((right - left) * self.zoom)), max(1, round((bottom - top) * self.zoom))


@dataclass(frozen=True, kw_only=True)
class LayerWeight:
    """A layer that the objective looks at, and how much it counts."""

    layer: str
    """Keras name, such as `block4_conv2`."""
    weight: float
    """Factor of this layer's relative error."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every number that shapes pixels. Make one with `presets.recipe_for`; the defaults live there."""

    backbone: Backbone
    """Whose features: `vgg16-hed` (trained for edges, comes with the package) or `vgg19-imagenet`."""
    pooling: Pooling
    """`max` as the network was trained, or `average`, which gives softer strokes."""
    content_layers: tuple[LayerWeight, ...]
    """Where the result must look like the content."""
    style_layers: tuple[LayerWeight, ...]
    """Where the result must have the style's statistics."""
    statistics: Statistics
    """What of a style is matched: its Gram matrices, or these and the mean of every channel."""
    scales: tuple[Scale, ...]
    """Coarse first; the last one is the size of the result."""
    refine: tuple[Refinement, ...]
    """Boxes that are worked out finer at the end, in this order."""
    content_weight: float
    """Strength of the content term; 1e3 is the balanced look."""
    style_weight: float
    """Strength of the style term; 1e-2 is the balanced look."""
    tv_weight: float
    """Strength of total variation: larger is smoother."""
    optimizer: Optimizer
    """`lbfgs` needs the fewest steps; `adam` is the one to choose for noisy or half precision gradients."""
    learning_rate: float
    """Of Adam, in pixel values 0..255 a step; it falls by a tenth every 200 steps. L-BFGS has none."""
    averaging: float
    """Decay of the running mean of iterates that becomes the result, 0..1; 0 takes the last iterate."""
    plateau: float
    """A scale ends for a picture whose loss fell by less than this share over ten steps; 0 never ends early."""
    colors: Colors
    """`style`: the style's colours. `match`: the style is first recoloured like the content. `luminance`: only light
    and dark are painted, the content's colours stay."""
    start: Start
    """What is painted over: the content, noise, or a picture that comes with the task."""
    seed: int
    """Seed of the noise that the optimizer starts with."""
    precision: Precision
    """Arithmetic of the convolutions; `auto` takes what the device computes fastest without loss to the eye."""

    @property
    def size_px(self) -> int:
        """Longer edge of the result."""
        return self.scales[-1].size_px

    @property
    def style_sizes_px(self) -> tuple[int, ...]:
        """Longer edge at which a style is looked at, for each scale and then for each refinement."""
        return (*(s.size_px for s in self.scales), *(round(self.size_px * r.zoom) for r in self.refine))

    @property
    def stage_iterations(self) -> tuple[int, ...]:
        """Optimizer steps of each scale and then of each refinement, at the most."""
        return (*(s.iterations for s in self.scales), *(r.iterations for r in self.refine))

    @property
    def iterations_total(self) -> int:
        """Optimizer steps of the whole recipe, at the most."""
        return sum(self.stage_iterations)

    @property
    def layers(self) -> tuple[str, ...]:
        """Every layer that the objective looks at, in the backbone's order."""
        wanted = {w.layer for w in (*self.content_layers, *self.style_layers)}
        return tuple(name for name in layer_names(self.backbone) if name in wanted)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of every field; kept, since a million tasks ask for it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def recipe_to_json(recipe: Recipe) -> dict[str, object]:
    """The record as plain JSON types."""
    return asdict(recipe)


def recipe_from_json(data: dict[str, Any]) -> Recipe:
    """The inverse of `recipe_to_json`; raises TypeError or KeyError on another shape."""
    return Recipe(
        **{
            **data,
            "scales": tuple(Scale(**s) for s in data["scales"]),
            "refine": tuple(Refinement(**{**r, "box": tuple(r["box"])}) for r in data["refine"]),
            "content_layers": tuple(LayerWeight(**w) for w in data["content_layers"]),
            "style_layers": tuple(LayerWeight(**w) for w in data["style_layers"]),
        }
    )
