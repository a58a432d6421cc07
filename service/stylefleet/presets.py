"""Presets: what a recipe says where the user says nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from stylefleet.recipe import (
    Backbone,
    Colors,
    LayerWeight,
    Optimizer,
    Pooling,
    Precision,
    Preset,
    Recipe,
    Refinement,
    Scale,
    Start,
    Statistics,
)
from stylefleet.recipe_rules import Fault, RecipeInvalid, check


@dataclass(frozen=True, kw_only=True)
class PresetNumbers:
    """What a preset decides where the user says nothing."""

    iterations: tuple[int, ...]
    """Optimizer steps from the coarsest scale to the full size; each scale doubles the one before."""
    content_weight: float = 1e3
    tv_weight: float = 1.0
    content_layers: Mapping[str, float] = field(default_factory=lambda: {"block4_conv2": 1.0})


_BALANCED = (100, 100, 100, 100, 100, 100, 60, 30)

PRESET_NUMBERS: dict[Preset, PresetNumbers] = {
    "draft": PresetNumbers(iterations=(24, 24, 24, 24, 24, 30, 50, 14)),
    "balanced": PresetNumbers(iterations=_BALANCED),
    "fine": PresetNumbers(iterations=(200, 200, 200, 200, 200, 200, 120, 220)),
    # The seed article's own variant: half the content weight, so that strokes may run over edges.
    "impressionist": PresetNumbers(iterations=_BALANCED, content_weight=5e2),
    # Faces: a shallower content layer beside the usual one sees eyes and mouths, and flat skin stays smooth.
    "portrait": PresetNumbers(
        iterations=_BALANCED,
        content_weight=1.5e3,
        tv_weight=3.0,
        content_layers={"block3_conv3": 0.5, "block4_conv2": 1.0},
    ),
}

STYLE_LAYERS = {f"block{block}_conv1": 0.2 for block in range(1, 6)}
"""Of every preset: relu1_1 to relu5_1 of the papers, in equal parts."""

SCALE_PX_MIN = 96
"""Below this the content layer has so few positions that faces dissolve; coarser scales are left out."""


def scales_for(*, preset: Preset, size_px: int) -> tuple[Scale, ...]:
    """The preset's coarse-to-fine sequence that ends at `size_px`; at least one scale, whatever the size.

    The coarsest scale lays the picture out, so it always gets the preset's largest count, even as the only one.
    """
    iterations = PRESET_NUMBERS[preset].iterations
    sizes = [size_px // 2**halvings for halvings in reversed(range(len(iterations)))]
    counts = [(s, n) for s, n in zip(sizes, iterations, strict=True) if s >= SCALE_PX_MIN] or [(size_px, 0)]
    counts[0] = (counts[0][0], max(iterations))
    return tuple(Scale(size_px=s, iterations=n) for s, n in counts)


def recipe_for(
    *,
    preset: Preset = "balanced",
    size_px: int = 512,
    scales: Sequence[Scale] | None = None,
    refine: Sequence[Refinement] = (),
    content_weight: float | None = None,
    style_weight: float = 1e-2,
    tv_weight: float | None = None,
    content_layers: Mapping[str, float] | None = None,
    style_layers: Mapping[str, float] | None = None,
    statistics: Statistics = "gram",
    pooling: Pooling = "max",
    optimizer: Optimizer = "lbfgs",
    learning_rate: float = 1.0,
    averaging: float = 0.0,
    plateau: float = 0.0,
    colors: Colors = "style",
    start: Start = "content",
    seed: int = 0,
    backbone: Backbone = "vgg16-hed",
    precision: Precision = "auto",
) -> Recipe:
    """A recipe from a preset and the numbers a user changed. Raises RecipeInvalid, which names what cannot be meant.

    `scales` replaces the preset's sequence; its last size must then be `size_px`.
    """
    numbers = PRESET_NUMBERS[preset]
    recipe = Recipe(
        backbone=backbone,
        pooling=pooling,
        content_layers=_layers(numbers.content_layers if content_layers is None else content_layers),
        style_layers=_layers(STYLE_LAYERS if style_layers is None else style_layers),
        statistics=statistics,
        scales=tuple(scales or scales_for(preset=preset, size_px=size_px)),
        refine=tuple(refine),
        content_weight=float(numbers.content_weight if content_weight is None else content_weight),
        style_weight=float(style_weight),
        tv_weight=float(numbers.tv_weight if tv_weight is None else tv_weight),
        optimizer=optimizer,
        learning_rate=float(learning_rate),
        averaging=float(averaging),
        plateau=float(plateau),
        colors=colors,
        start=start,
        seed=seed,
        precision=precision,
    )
    check(recipe)
    if recipe.size_px != size_px:
        last = ("scales", len(recipe.scales) - 1, "size")
        message = "the last scale is not of the result's size"
        raise RecipeInvalid([Fault(path=last, message=message, found=str(recipe.size_px), allowed=str(size_px))])
    return recipe


def _layers(weights: Mapping[str, float]) -> tuple[LayerWeight, ...]:
    """In the order of the network, so that the order in a manifest changes no digest."""
    return tuple(LayerWeight(layer=name, weight=float(weights[name])) for name in sorted(weights))
