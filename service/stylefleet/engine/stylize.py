"""The algorithm: coarse to fine, one optimization per scale, all pictures of a batch at once.

content in the style's colours
for each scale:  content and style at this size  ->  start from the scale before  ->  L-BFGS  ->  iterates
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stylefleet import pictures
from stylefleet.engine import optimizers
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.colors import match_colors
from stylefleet.engine.engine import Engine
from stylefleet.engine.objective import CONTENT_LAYER, STYLE_LAYERS, Terms, term_weights
from stylefleet.engine.targets import PIXELS_LAYER, StyleTarget
from stylefleet.recipe import Recipe

NOISE = 8.0
"""Standard deviation of the noise on the start, in 0..255. A flat sky has no gradient that tells strokes apart; with
a little noise it has."""
DETAIL = 0.8
"""Share of the content's new detail that a scale starts with."""
ITERATE_PIXELS = 2**20
"""About one iterate per so many pixels of work, at most every ITERATE_ITERATIONS: often enough to stop or report,
rarely enough that a small picture stays inside the graph."""
ITERATE_ITERATIONS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Iterate:
    """The pictures after some optimizer iterations."""

    scale_px: int
    """Longer edge at this scale."""
    iteration: int
    """Iterations done, over all scales."""
    iterations_total: int
    """Iterations of the whole recipe."""
    losses: np.ndarray
    """Weighted loss of each picture, float32 [B]; not finite if a picture cannot be optimized."""
    terms: dict[str, np.ndarray]
    """The relative terms `style`, `content` and `tv` of each picture, unweighted, float32 [B]."""
    raw: tf.Tensor
    """The pictures as the optimizer holds them: float32 [B, H, W, 3], not clipped."""

    @cached_property
    def pixels(self) -> np.ndarray:
        """uint8 [B, H, W, 3], clipped and rounded; made when first asked for."""
        return np.rint(np.clip(self.raw.numpy(), 0.0, 255.0)).astype(np.uint8)


def stylize(
    engine: Engine, contents: np.ndarray, targets: tuple[StyleTarget, ...], recipe: Recipe
) -> Iterator[Iterate]:
    """Iterates of the pictures uint8 [B, H, W, 3], which have the result's size; `targets` has one per scale.

    The last iterate is the result. The caller may stop at any; nothing else is held.
    """
    _check(engine, contents, targets, recipe)
    height, width = contents.shape[1:3]
    colors = targets[-1].layers[PIXELS_LAYER]
    contents = np.stack([match_colors(content, mean=colors.mean, gram=colors.gram) for content in contents])
    weights = term_weights(recipe)
    weights_tensors = Terms(*(tf.constant(w, tf.float32) for w in (weights.style, weights.content, weights.tv)))
    iterations_total = sum(scale.iterations for scale in recipe.scales)
    iteration = 0
    x = content_before = None
    for scale, target in zip(recipe.scales, targets, strict=True):
        factor = scale.size_px / recipe.size_px
        size = max(1, round(width * factor)), max(1, round(height * factor))
        content = tf.constant(np.stack([pictures.resize(c, *size) for c in contents]), tf.float32)
        x = _first_start(content, recipe.seed) if x is None else _next_start(x, content_before, content)
        features = engine.activations(content)[CONTENT_LAYER]
        grams = tuple(tf.constant(target.layers[name].gram) for name in STYLE_LAYERS)
        state = optimizers.init(x)
        terms = Terms(*(tf.fill([len(contents)], float("inf")) for _ in Terms._fields))
        chunk = min(ITERATE_ITERATIONS, max(1, ITERATE_PIXELS // (len(contents) * size[0] * size[1])))
        for begin in range(0, scale.iterations, chunk):
            count = min(chunk, scale.iterations - begin)
            state, terms = engine.advance(state, terms, features, grams, weights_tensors, tf.constant(count))
            iteration += count
            yield Iterate(
                scale_px=scale.size_px,
                iteration=iteration,
                iterations_total=iterations_total,
                losses=state.loss.numpy(),
                terms={name: term.numpy() for name, term in terms._asdict().items()},
                raw=state.x,
            )
        x, content_before = state.x, content


def run(engine: Engine, contents: np.ndarray, targets: tuple[StyleTarget, ...], recipe: Recipe) -> Iterate:
    """The last iterate of `stylize`."""
    last = None
    for last in stylize(engine, contents, targets, recipe):  # noqa: B007 - the last one is what is wanted
        pass
    assert last is not None
    return last


def _first_start(content: tf.Tensor, seed: int) -> tf.Tensor:
    """The content with noise. One noise for all pictures, so that a picture's result does not depend on its batch."""
    noise = np.random.default_rng(seed).normal(0.0, NOISE, size=(1, *content.shape[1:]))
    return content + tf.constant(noise, tf.float32)


def _next_start(x: tf.Tensor, content_before: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """The picture of the scale before, enlarged, with the detail of the content that this scale sees first.

    A Laplacian pyramid's step (Burt and Adelson 1983). Without it the fine edges of the content have to be found
    again by the optimizer, and the few iterations at the full size end in a blur.
    """
    size = content.shape[1:3]
    detail = content - tf.image.resize(content_before, size, "bicubic")
    return tf.image.resize(x, size, "bicubic") + DETAIL * detail


def _check(engine: Engine, contents: np.ndarray, targets: tuple[StyleTarget, ...], recipe: Recipe) -> None:
    if contents.dtype != np.uint8 or contents.ndim != 4 or contents.shape[3] != 3:
        raise ValueError(f"Contents are uint8 [B, H, W, 3], found {contents.dtype} {contents.shape}.")
    if max(contents.shape[1:3]) != recipe.size_px:
        raise ValueError(f"Contents have the result's size {recipe.size_px}, found {contents.shape[1:3]}.")
    sizes = [target.size_px for target in targets]
    if sizes != [scale.size_px for scale in recipe.scales]:
        raise ValueError(f"One style target per scale is needed, {[s.size_px for s in recipe.scales]}; found {sizes}.")
    if any(target.weights_sha256 != engine.weights_sha256 for target in targets):
        raise ValueError("A style target was made by another backbone than the engine's.")
