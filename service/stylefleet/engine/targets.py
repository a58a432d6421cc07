"""Style targets: what a style looks like to the backbone, at one size. Computed once, cached, blended."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stylefleet import pictures
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.colors import color_moments, style_for
from stylefleet.engine.engine import Engine
from stylefleet.engine.sealed import opened, seal
from stylefleet.errors import PermanentError
from stylefleet.recipe import Recipe

PIXELS_LAYER = "pixels"
"""The picture itself, as a layer of three channels, RGB 0..255."""

_MAGIC = b"stylefleet style target 1\n"


class StyleTargetCorrupt(PermanentError):
    """Bytes of a cached style target are not what was written: the cache computes it anew."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerStatistics:
    """First two raw moments of a style's activations at one layer. Raw moments blend linearly, covariances do not."""

    mean: np.ndarray
    """Mean activation, float32 [C], or [B, C] where a batch has a look for each picture."""
    gram: np.ndarray
    """F^T F / (h w), float32 [C, C], or [B, C, C]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StyleTarget:
    """The style statistics of one style, or of a blend, at one scale."""

    size_px: int
    """Longer edge of the style picture when it was looked at."""
    weights_sha256: str
    """Weights file of the backbone that looked."""
    layers: Mapping[str, LayerStatistics]
    """Layer name -> statistics: the style layers, and `pixels`."""

    @property
    def finite(self) -> bool:
        """Whether all numbers are; in float16 they may not be."""
        return all(np.isfinite(array).all() for s in self.layers.values() for array in (s.mean, s.gram))


def style_target(engine: Engine, pixels: np.ndarray, size_px: int) -> StyleTarget:
    """The target of a style picture uint8 [H, W, 3], resized so that its longer edge is `size_px`.

    A style is never enlarged: beyond its own size it has no finer strokes to show, and matching a blur makes a blur.
    """
    resized = _at_size(pixels, size_px)
    mean, second_moment = color_moments(resized)
    layers = {PIXELS_LAYER: LayerStatistics(mean=mean, gram=second_moment)}
    # In tiles at any size that does not fit; one tile where it does.
    for name, found in engine.tiler.moments(tf.constant(resized[None], tf.float32)).items():
        layers[name] = LayerStatistics(mean=found.mean[0, 0].numpy(), gram=found.gram[0, 0].numpy())
    return StyleTarget(size_px=size_px, weights_sha256=engine.weights_sha256, layers=layers)


def blend(weighted: Sequence[tuple[StyleTarget, float]]) -> StyleTarget:
    """The weighted mean of targets of one size and backbone; the weights need not sum to 1. Raises ValueError."""
    if not weighted:
        raise ValueError("No style was given; give at least one.")
    first = weighted[0][0]
    if any((t.size_px, t.weights_sha256) != (first.size_px, first.weights_sha256) for t, _ in weighted):
        raise ValueError("Only style targets of one size and one backbone blend.")
    total = sum(weight for _, weight in weighted)
    if not 0 < total < math.inf or any(weight < 0 for _, weight in weighted):
        raise ValueError(
            f"Weights of styles are finite numbers of at least 0 with a sum above 0; found {[w for _, w in weighted]}."
        )
    return _combined(
        [target for target, _ in weighted],
        lambda arrays: np.average(np.stack(arrays), axis=0, weights=[w for _, w in weighted]).astype(np.float32),
    )


def stack(targets: Sequence[StyleTarget]) -> StyleTarget:
    """One target for each picture of a batch: every array gets a leading axis."""
    return _combined(targets, np.stack)


def _combined(targets: Sequence[StyleTarget], combine: Callable[[list[np.ndarray]], np.ndarray]) -> StyleTarget:
    first = targets[0]
    return replace(
        first,
        layers={
            name: LayerStatistics(**{p: combine([getattr(t.layers[name], p) for t in targets]) for p in _PARTS})
            for name in first.layers
        },
    )


Looks = tuple[tuple[StyleTarget, ...], ...]
"""By stage (the recipe's scales, then its refinements) and region."""


def looks_for(
    engine: Engine,
    groups: Sequence[Sequence[tuple[np.ndarray, float]]],
    recipe: Recipe,
    contents: np.ndarray | None = None,
) -> Looks:
    """What each region is to look like at each stage.

    `groups` has, for each region, its style pictures uint8 [H, W, 3] and their shares. With the recipe's colours
    `style`, looks are the same for all contents and may be kept; with others they are made for `contents`, uint8
    [B, H, W, 3], one look a picture. Raises ValueError for styles and weights that make no look.
    """
    _check_groups(groups)
    if recipe.colors == "style":
        return tuple(
            tuple(blend([(style_target(engine, style, size), weight) for style, weight in group]) for group in groups)
            for size in recipe.style_sizes_px
        )
    if contents is None:
        raise ValueError(f"With the colours {recipe.colors!r} a look is made for its contents; give them.")
    made_for = contents

    def look(group: Sequence[tuple[np.ndarray, float]], size: int) -> StyleTarget:
        # Smaller before it is recoloured once for each picture: a map of colours does not mind.
        smaller = [(_at_size(style, size), weight) for style, weight in group]
        return stack(
            [
                blend(
                    [
                        (style_target(engine, style_for(recipe.colors, s, content), size), weight)
                        for s, weight in smaller
                    ]
                )
                for content in made_for
            ]
        )

    return tuple(tuple(look(group, size) for group in groups) for size in recipe.style_sizes_px)


def _check_groups(groups: Sequence[Sequence[tuple[np.ndarray, float]]]) -> None:
    for region, group in enumerate(groups):
        for number, entry in enumerate(group):
            place = f"style {number} of region {region}"
            if not isinstance(entry, tuple) or len(entry) != 2:
                raise ValueError(f"Every style comes with its weight, as (pixels, weight); {place} has none.")
            pixels = entry[0]
            if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
                raise ValueError(
                    f"Styles are uint8 [H, W, 3] with at least one pixel; {place} is {pixels.dtype} "
                    f"{list(pixels.shape)}: decode float pixels with numpy.clip, numpy.rint and astype(uint8)."
                )


def _at_size(style: np.ndarray, size_px: int) -> np.ndarray:
    """A style uint8 [H, W, 3] as it is looked at: its longer edge is `size_px`, or its own where that is less."""
    height, width = style.shape[:2]
    return pictures.resize(style, *pictures.result_size(width, height, min(size_px, max(width, height))))


def to_bytes(target: StyleTarget) -> bytes:
    """A line that names the format, the SHA-256 of the rest, and a NumPy archive; equal targets give equal bytes."""
    arrays = {f"{name}.{part}": getattr(layer, part) for name, layer in target.layers.items() for part in _PARTS}
    return seal(_MAGIC, size_px=target.size_px, weights_sha256=target.weights_sha256, **arrays)


def from_bytes(data: bytes) -> StyleTarget:
    """The inverse of `to_bytes`. Raises StyleTargetCorrupt."""
    with opened(data, _MAGIC, noun="style target", corrupt=StyleTargetCorrupt) as arrays:
        names = [key.removesuffix(".gram") for key in arrays.files if key.endswith(".gram")]
        return StyleTarget(
            size_px=int(arrays["size_px"]),
            weights_sha256=str(arrays["weights_sha256"]),
            layers={n: LayerStatistics(**{part: arrays[f"{n}.{part}"] for part in _PARTS}) for n in names},
        )


_PARTS = ("mean", "gram")
