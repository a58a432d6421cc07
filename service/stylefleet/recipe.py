"""The recipe: every number that shapes pixels, and nothing else.

Two tasks with equal inputs and equal recipe digests have equal results (bit for bit in float32 on one kind of
machine), so the digest is part of a task's identity.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal, get_args

ENGINE_VERSION = "1"
"""Raised whenever the engine computes other pixels from the same recipe: finished tasks are then computed anew."""

Backbone = Literal["vgg16-hed", "vgg19-imagenet"]
Preset = Literal["draft", "balanced", "fine"]
Precision = Literal["auto", "float32", "mixed_bfloat16"]

BACKBONES: tuple[Backbone, ...] = get_args(Backbone)
PRESETS: tuple[Preset, ...] = get_args(Preset)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

SIZE_PX_MIN = 16
SIZE_PX_MAX = 4096


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One image size of the coarse-to-fine sequence."""

    size_px: int
    """Length of the picture's longer edge at this scale."""
    iterations: int
    """Optimizer steps at this scale."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Every number that shapes pixels. Make one with `recipe_for`; the defaults live there."""

    backbone: Backbone
    """Whose features: `vgg16-hed` (trained for edges, comes with the package) or `vgg19-imagenet`."""
    scales: tuple[Scale, ...]
    """Coarse first; the last one is the size of the result."""
    content_weight: float
    """Strength of the content term; 1e3 is the balanced look."""
    style_weight: float
    """Strength of the style term; 1e-2 is the balanced look."""
    tv_weight: float
    """Strength of total variation: larger is smoother."""
    seed: int
    """Seed of the little noise that the optimizer starts with."""
    precision: Precision
    """Arithmetic of the convolutions; `auto` takes bfloat16 where the device computes it natively."""

    @property
    def size_px(self) -> int:
        """Longer edge of the result."""
        return self.scales[-1].size_px

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the canonical JSON of every field."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


ITERATIONS_BY_PRESET: dict[Preset, tuple[int, ...]] = {
    "draft": (24, 24, 24, 24, 30, 50, 14),
    "balanced": (100, 100, 100, 100, 100, 60, 30),
    "fine": (200, 200, 200, 200, 250, 150, 60),
}
"""Optimizer steps from the coarsest scale to the full size; each scale doubles the one before."""

SCALE_PX_MIN = 96
"""Below this the content layer has so few positions that faces dissolve; coarser scales are left out."""


def scales_for(*, preset: Preset, size_px: int) -> tuple[Scale, ...]:
    """The preset's coarse-to-fine sequence that ends at `size_px`; at least one scale, whatever the size.

    The coarsest scale lays the picture out, so it always gets the preset's largest count, even as the only one.
    """
    iterations = ITERATIONS_BY_PRESET[preset]
    sizes = [size_px // 2**halvings for halvings in reversed(range(len(iterations)))]
    counts = [(s, n) for s, n in zip(sizes, iterations, strict=True) if s >= SCALE_PX_MIN] or [(size_px, 0)]
    counts[0] = (counts[0][0], max(iterations))
    return tuple(Scale(size_px=s, iterations=n) for s, n in counts)


def recipe_for(
    *,
    preset: Preset = "balanced",
    size_px: int = 512,
    content_weight: float = 1e3,
    style_weight: float = 1e-2,
    tv_weight: float = 1.0,
    seed: int = 0,
    backbone: Backbone = "vgg16-hed",
    precision: Precision = "auto",
) -> Recipe:
    """A recipe from a preset and the numbers a user changed."""
    return Recipe(
        backbone=backbone,
        scales=scales_for(preset=preset, size_px=size_px),
        content_weight=float(content_weight),
        style_weight=float(style_weight),
        tv_weight=float(tv_weight),
        seed=seed,
        precision=precision,
    )


def recipe_to_json(recipe: Recipe) -> dict[str, object]:
    """The record as plain JSON types."""
    return asdict(recipe)


def recipe_from_json(data: dict[str, object]) -> Recipe:
    """The inverse of `recipe_to_json`; raises TypeError or KeyError on another shape."""
    scales = tuple(Scale(**s) for s in data["scales"])  # type: ignore[attr-defined]
    return Recipe(**{**data, "scales": scales})  # type: ignore[arg-type]
