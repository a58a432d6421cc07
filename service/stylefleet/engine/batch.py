"""What comes in: pictures of one size that are optimized together, with what belongs to each of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stylefleet import recipe_rules
from stylefleet.engine.engine import Engine, serves
from stylefleet.engine.targets import Looks
from stylefleet.recipe import Recipe


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Pictures of one size."""

    contents: np.ndarray
    """uint8 [B, H, W, 3], of the result's size."""
    masks: np.ndarray | None = None
    """uint8 [B, R, H, W], 255 where the style of region r applies; what no region covers is left alone. None: one
    region, everywhere."""
    protect: np.ndarray | None = None
    """uint8 [B, H, W], 255 where the content is left alone."""
    starts: np.ndarray | None = None
    """uint8 [B, H, W, 3], what is painted over; for recipes that start from a picture."""
    details: tuple[np.ndarray, ...] = ()
    """For each refinement of the recipe, uint8 [B, h, w, 3]: `Refinement.crop` of the original picture at
    `Refinement.crop_size`, so that there is more to see than in `contents`."""


def check(engine: Engine, batch: Batch, looks: Looks, recipe: Recipe) -> None:
    """Raises ValueError that says what does not fit together, and what would; of the recipe alone RecipeInvalid."""
    recipe_rules.check(recipe)
    contents = batch.contents
    if contents.dtype != np.uint8 or contents.ndim != 4 or contents.shape[3] != 3 or 0 in contents.shape:
        raise ValueError(
            f"Contents are uint8 [B, H, W, 3] with at least one picture and one pixel, found {contents.dtype} "
            f"{list(contents.shape)}; decode float pixels with numpy.clip, numpy.rint and astype(uint8)."
        )
    count, height, width = contents.shape[:3]
    if max(height, width) != recipe.size_px:
        raise ValueError(f"Contents have the result's size {recipe.size_px}, found {width} x {height}: resize them.")
    if not serves(engine, recipe):
        raise ValueError("The engine was loaded for another backbone, pooling, layers or precision than the recipe's.")
    _check_looks(engine, batch, looks, recipe)
    _check_shape("protect", batch.protect, (count, height, width))
    _check_shape("starts", batch.starts, (count, height, width, 3))
    if (batch.starts is None) == (recipe.start == "picture"):
        raise ValueError("Give `starts` with a recipe that starts from a picture, and with no other.")
    sizes = [(count, *reversed(r.crop_size(width, height)), 3) for r in recipe.refine]
    if [d.shape for d in batch.details] != sizes:
        raise ValueError(
            f"One detail for each refinement is needed, of shapes {sizes}; found {[d.shape for d in batch.details]}."
        )


def _check_looks(engine: Engine, batch: Batch, looks: Looks, recipe: Recipe) -> None:
    count, height, width = batch.contents.shape[:3]
    found = [look[0].size_px for look in looks if look]
    if found != list(recipe.style_sizes_px):
        raise ValueError(
            f"One style target for each scale and refinement is needed, {list(recipe.style_sizes_px)}; found {found}."
        )
    regions = {len(look) for look in looks}
    masks = 1 if batch.masks is None else batch.masks.shape[1] if batch.masks.ndim == 4 else 0
    if regions != {masks}:
        raise ValueError(f"Every mask needs one look: found {masks} masks and {sorted(regions)} looks.")
    if batch.masks is not None:
        _check_shape("masks", batch.masks, (count, masks, height, width))
    for target in (target for look in looks for target in look):
        if target.weights_sha256 != engine.weights_sha256:
            raise ValueError("A style target was made by another backbone than the engine's.")
        missing = {name for name, _ in engine.layers.style} - set(target.layers)
        if missing:
            raise ValueError(f"A style target lacks the layers {sorted(missing)}: make it with this engine.")
        if not target.finite:
            raise ValueError("A style target is not finite: its picture or the precision is at fault; use float32.")


def _check_shape(name: str, array: np.ndarray | None, shape: tuple[int, ...]) -> None:
    if array is not None and (array.dtype != np.uint8 or array.shape != shape):
        raise ValueError(f"`{name}` is uint8 {list(shape)}, found {array.dtype} {list(array.shape)}.")
