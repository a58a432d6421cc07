"""The stages of a run: what is compared with what, where painting starts, and how a stage's picture becomes a result.

Scales come first, coarse to fine, and then refinements: a refinement is one more stage, on a crop at a higher
resolution, in which everything but the box is kept as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stylefleet import pictures
from stylefleet.engine import objective, regions
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.batch import Batch
from stylefleet.engine.colors import gray, match_colors, with_colors_of
from stylefleet.engine.engine import Engine
from stylefleet.engine.evaluation import Kept, Problem, Region
from stylefleet.engine.objective import Moments, Terms
from stylefleet.engine.targets import PIXELS_LAYER, LayerStatistics, Looks, StyleTarget
from stylefleet.memory import TILED_FROM_PIXELS
from stylefleet.recipe import Recipe, Refinement

NOISE = 8.0
"""Standard deviation of the noise on the start, in 0..255. A flat sky has no gradient that tells strokes apart; with
a little noise it has."""
NOISE_ALONE = 60.0
"""The same where painting starts from noise around middle gray, and from nothing else."""
ROUNDING_OF_MASKS = 4
"""Of 255: masks that together lack no more than this cover a pixel."""
DETAIL = 0.8
"""Share of the content's new detail that a scale starts with."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Canvas:
    """A batch, made ready once for all stages; all arrays have the result's size."""

    recipe: Recipe
    originals: np.ndarray
    """The contents as they came, uint8 [B, H, W, 3]."""
    contents: np.ndarray
    """The contents in the colours that are optimized, uint8 [B, H, W, 3]."""
    beneath: np.ndarray | None
    """What is painted over, in the same colours; None for noise alone."""
    masks: np.ndarray | None
    """uint8 [B, R, H, W]."""
    asked: np.ndarray | None
    """uint8 [B, H, W], what is to be left alone by its own mask."""
    protect: np.ndarray | None
    """uint8 [B, H, W], what is left alone: the same, and what no region covers."""
    details: tuple[np.ndarray, ...]
    """Contents of the refinements' crops in the colours that are optimized."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the result."""
        return self.originals.shape[2], self.originals.shape[1]

    def result(self, painted: np.ndarray) -> np.ndarray:
        """Optimized pictures [B, H, W, 3] -> results float32 [B, H, W, 3] within 0..255."""
        if self.recipe.colors == "luminance":
            painted = with_colors_of(self.originals, painted)
        return np.clip(painted, 0.0, 255.0).astype(np.float32, copy=False)


def prepare(batch: Batch, looks: Looks, recipe: Recipe) -> Canvas:
    """The batch in the colours that are optimized."""
    palettes = [look.layers[PIXELS_LAYER] for look in looks[len(recipe.scales) - 1]]
    shape = batch.contents.shape
    protect = _left_alone(batch)

    def prepared(pixels: np.ndarray, masks: np.ndarray | None, protect: np.ndarray | None) -> np.ndarray:
        """Of uint8 [B, H, W, 3], the contents or a part of them, with their masks uint8 [B, R, H, W]."""
        plain = gray(pixels) if recipe.colors == "luminance" else pixels
        if recipe.colors != "style":
            return plain
        # By the map of the whole picture, also for a part of it: a box of nothing but sky must not become a palette.
        painted = [
            np.stack(
                [
                    match_colors(one, mean=palette.mean, gram=palette.gram, like=whole)
                    for one, whole in zip(pixels, batch.contents, strict=True)
                ]
            )
            for palette in palettes
        ]
        mixed = painted[0] if masks is None else _mixed(pixels, painted, masks)
        return mixed if protect is None else _mixed(mixed, [plain], protect[:, None])

    contents = prepared(batch.contents, batch.masks, protect)
    beneath = {"content": contents, "noise": None, "picture": batch.starts}[recipe.start]
    if batch.starts is not None and recipe.colors == "luminance":
        beneath = gray(batch.starts)
    details = tuple(
        prepared(
            detail,
            None if batch.masks is None else _crop_masks(batch.masks, refinement, shape),
            None if protect is None else _crop_masks(protect[:, None], refinement, shape)[:, 0],
        )
        for detail, refinement in zip(batch.details, recipe.refine, strict=True)
    )
    return Canvas(
        recipe=recipe,
        originals=batch.contents,
        contents=contents,
        beneath=beneath,
        masks=batch.masks,
        asked=batch.protect,
        protect=protect,
        details=details,
    )


def _left_alone(batch: Batch) -> np.ndarray | None:
    """uint8 [B, H, W]: what is protected, and what no region's mask covers; None where that is nothing."""
    if batch.masks is None:
        return batch.protect
    uncovered = np.clip(255 - batch.masks.sum(axis=1, dtype=np.int32), 0, 255).astype(np.uint8)
    uncovered[uncovered <= ROUNDING_OF_MASKS] = 0
    if batch.protect is not None:
        return np.maximum(uncovered, batch.protect)
    return uncovered if uncovered.any() else None


@dataclass(frozen=True, kw_only=True, eq=False)
class Stage:
    """One optimization: a scale, or a refinement."""

    size_px: int
    """Longer edge of the whole picture at this stage's resolution."""
    iterations: int
    contents: np.ndarray
    """uint8 [B, h, w, 3]."""
    beneath: np.ndarray | None
    """What is painted over, uint8 or float32 [B, h, w, 3]."""
    masks: np.ndarray | None
    """uint8 [B, R, h', w'], of the contents' place but of any resolution."""
    kept: tuple[np.ndarray, np.ndarray] | None
    """Pictures [B, h, w, 3] and how far they are kept [B, h, w], 0..1."""
    counted: np.ndarray | None
    """How far a pixel counts for its region's style [B, h, w], 0..1; None: everywhere."""
    refinement: Refinement | None
    """None for a scale."""

    @property
    def tiled(self) -> bool:
        """Whether it is too large to go through the network at once."""
        return self.contents.shape[1] * self.contents.shape[2] > TILED_FROM_PIXELS


def scale_stage(canvas: Canvas, index: int) -> Stage:
    """The stage of the recipe's scale with this index."""
    scale = canvas.recipe.scales[index]
    factor = scale.size_px / canvas.recipe.size_px
    size = max(1, round(canvas.size[0] * factor)), max(1, round(canvas.size[1] * factor))
    contents = _resized(canvas.contents, size)
    kept = None
    if canvas.protect is not None:
        protect = regions.masks_at(canvas.protect[:, None], (size[1], size[0])).numpy()[..., 0]
        kept = contents, protect
    counted = None
    if canvas.asked is not None:
        counted = 1.0 - regions.masks_at(canvas.asked[:, None], (size[1], size[0])).numpy()[..., 0]
    return Stage(
        size_px=scale.size_px,
        iterations=scale.iterations,
        contents=contents,
        beneath=None if canvas.beneath is None else _resized(canvas.beneath, size),
        masks=canvas.masks,
        kept=kept,
        counted=counted,
        refinement=None,
    )


def refinement_stage(canvas: Canvas, index: int, painted: np.ndarray) -> Stage:
    """The stage of a refinement; `painted` are the optimized pictures so far, float32 [B, H, W, 3]."""
    refinement = canvas.recipe.refine[index]
    left, top, right, bottom = refinement.crop(*canvas.size)
    width, height = refinement.crop_size(*canvas.size)
    beneath = tf.image.resize(painted[:, top:bottom, left:right], (height, width), "bicubic").numpy()
    # The detail that the finer content has and the coarser one had not; see `next_start`.
    coarse = tf.image.resize(canvas.contents[:, top:bottom, left:right], (height, width), "bicubic").numpy()
    keep = 1.0 - np.broadcast_to(_window(refinement, canvas.size, (width, height)), (len(painted), height, width))
    counted = 1.0 - keep
    if canvas.protect is not None:
        protect = regions.masks_at(canvas.protect[:, None, top:bottom, left:right], (height, width)).numpy()[..., 0]
        keep = np.maximum(keep, protect)
    if canvas.asked is not None:
        asked = regions.masks_at(canvas.asked[:, None, top:bottom, left:right], (height, width)).numpy()[..., 0]
        counted = np.minimum(counted, 1.0 - asked)
    return Stage(
        size_px=canvas.recipe.style_sizes_px[len(canvas.recipe.scales) + index],
        iterations=refinement.iterations,
        contents=canvas.details[index],
        beneath=beneath + DETAIL * (canvas.details[index] - coarse),
        masks=None if canvas.masks is None else canvas.masks[:, :, top:bottom, left:right],
        kept=(beneath, keep.astype(np.float32)),
        counted=counted.astype(np.float32),
        refinement=refinement,
    )


def blended_back(canvas: Canvas, painted: np.ndarray, crops: np.ndarray, refinement: Refinement) -> np.ndarray:
    """The optimized pictures [B, H, W, 3] with a refinement's crops [B, h, w, 3] in their place."""
    height, width = painted.shape[1:3]
    left, top, right, bottom = refinement.crop(width, height)
    smaller = tf.image.resize(crops, (bottom - top, right - left), "lanczos3", antialias=True).numpy()
    window = _window(refinement, (width, height), (right - left, bottom - top))[None, ..., None]
    if canvas.protect is not None:  # enlarged and made smaller again, it would not be left alone
        window = window * (1.0 - canvas.protect[:, top:bottom, left:right, None] / np.float32(255.0))
    result = painted.copy()
    result[:, top:bottom, left:right] += window * (smaller - painted[:, top:bottom, left:right])
    return result


def problem_of(engine: Engine, recipe: Recipe, stage: Stage, looks: Sequence[StyleTarget]) -> Problem:
    """What the pictures of a stage are compared with; `looks` has one style target for each region."""
    contents = tf.constant(stage.contents, tf.float32)
    names = [name for name, _ in engine.layers.content]
    if stage.tiled:
        features = engine.tiler.activations(contents, names)
    else:
        activations = engine.activations(contents)
        features = {name: activations[name] for name in names}
    height, width = stage.contents.shape[1:3]
    count = len(stage.contents)
    kept: Kept | tuple[()] = ()
    masks = None if stage.masks is None else regions.masks_at(stage.masks, (height, width))
    if stage.kept is not None:
        keep = tf.constant(stage.kept[1][..., None], tf.float32)
        kept = Kept(tf.constant(stage.kept[0], tf.float32) * keep, 1.0 - keep)
    # What is left alone is no one's style: otherwise the rest would have to make up for it.
    counted = None if stage.counted is None else tf.constant(stage.counted[..., None], tf.float32)
    if masks is None and counted is not None:
        masks = tf.ones_like(counted)
    found: dict[str, Region] = {}
    if masks is None:
        shares = tf.ones([count, 1])
    else:
        found, shares = regions.regions_at(masks, engine.layers, engine.backbone, counted)
    weights = objective.term_weights(recipe)
    return Problem(
        weights=Terms(*(tf.constant(weight, tf.float32) for weight in weights)),
        content=features,
        content_norms={name: objective.content_norm(f) for name, f in features.items()},
        styles={name: _moments([look.layers[name] for look in looks]) for name, _ in engine.layers.style},
        shares=shares,
        regions=found,
        kept=kept,
    )


def first_start(canvas: Canvas, stage: Stage) -> tf.Tensor:
    """Where the coarsest scale begins, float32 [B, h, w, 3]. One noise for all pictures, so that a picture's result
    does not depend on its batch."""
    rng = np.random.default_rng(canvas.recipe.seed)
    shape = (1, *stage.contents.shape[1:])
    if stage.beneath is None:
        return tf.constant(np.repeat(127.5 + rng.normal(0.0, NOISE_ALONE, shape), len(stage.contents), 0), tf.float32)
    return tf.constant(stage.beneath + rng.normal(0.0, NOISE, shape), tf.float32)


def next_start(painted: tf.Tensor, before: Stage, stage: Stage) -> tf.Tensor:
    """The pictures of the scale before, enlarged, with the detail of what is painted over that this scale sees first.

    A Laplacian pyramid's step (Burt and Adelson 1983). Without it the fine edges of the content have to be found
    again by the optimizer, and the few iterations at the full size end in a blur.
    """
    size = stage.contents.shape[1:3]
    enlarged = tf.image.resize(painted, size, "bicubic")
    if stage.beneath is None or before.beneath is None:
        return enlarged
    detail = tf.constant(stage.beneath, tf.float32) - tf.image.resize(before.beneath, size, "bicubic")
    return enlarged + DETAIL * detail


def _moments(looks: Sequence[LayerStatistics]) -> Moments:
    """One layer's statistics of each region -> [B or 1, R, ...]."""
    grams, means = [look.gram for look in looks], [look.mean for look in looks]
    one_for_all = grams[0].ndim == 2
    axis = 0 if one_for_all else 1
    gram, mean = np.stack(grams, axis), np.stack(means, axis)
    return Moments(tf.constant(gram[None] if one_for_all else gram), tf.constant(mean[None] if one_for_all else mean))


def _resized(batch: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 [B, H, W, 3] -> uint8 [B, size[1], size[0], 3]."""
    return np.stack([pictures.resize(one, *size) for one in batch])


def _mixed(base: np.ndarray, layers: Sequence[np.ndarray], masks: np.ndarray) -> np.ndarray:
    """uint8 [B, H, W, 3] with each layer where its mask, uint8 [B, R, H, W], says so, and the base elsewhere."""
    shares = masks.astype(np.float32) / 255.0
    shares /= np.maximum(shares.sum(axis=1, keepdims=True), 1.0)
    mixed = base + sum(shares[:, r, ..., None] * (layer.astype(np.float32) - base) for r, layer in enumerate(layers))
    return np.rint(np.clip(mixed, 0, 255)).astype(np.uint8)


def _crop_masks(masks: np.ndarray, refinement: Refinement, shape: tuple[int, ...]) -> np.ndarray:
    """Masks uint8 [B, R, H, W] of the whole picture -> of a refinement's crop, at the size that it is optimized at."""
    left, top, right, bottom = refinement.crop(shape[2], shape[1])
    width, height = refinement.crop_size(shape[2], shape[1])
    resized = regions.masks_at(masks[:, :, top:bottom, left:right], (height, width)).numpy()
    return np.rint(resized * 255).astype(np.uint8).transpose(0, 3, 1, 2)


def _window(refinement: Refinement, size: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """How far the finer picture counts: 1 within the box, falling smoothly to 0 at the crop's border, unless that is
    the picture's; float32 [h, w] for a crop of `shape` (width, height) in a result of `size`."""
    left, top, right, bottom = refinement.crop(*size)
    box_left, box_top, box_right, box_bottom = (share * size[i % 2] for i, share in enumerate(refinement.box))
    columns = _rise(left, right, box_left, box_right, shape[0], size[0])
    rows = _rise(top, bottom, box_top, box_bottom, shape[1], size[1])
    return (rows[:, None] * columns).astype(np.float32)


def _rise(begin: int, end: int, box_begin: float, box_end: float, count: int, length: int) -> np.ndarray:
    """The window along one axis, at the centres of `count` pixels from begin to end."""
    centres = begin + (np.arange(count) + 0.5) * (end - begin) / count
    up = np.ones(count) if begin == 0 else np.clip((centres - begin) / max(box_begin - begin, 1e-9), 0, 1)
    down = np.ones(count) if end == length else np.clip((end - centres) / max(end - box_end, 1e-9), 0, 1)
    share = np.minimum(up, down)
    return share * share * (3 - 2 * share)
