"""Pictures that are too large to go through the network at once: loss and gradient in tiles, exactly.

The style term is a function of the whole picture's moments, and moments add up over tiles, so two passes give what one
pass over the whole picture would: the first adds up the moments, the second takes the gradient of

    sum_l <dL/dG_l, G_l(tile)> + <dL/dm_l, m_l(tile)> + content error(tile)

with dL/dG of the *whole* picture held fixed, which by the chain rule is the tile's part of the true gradient. (Galerne,
Raad, Lezama and Morel, Scaling Painting Style Transfer, arXiv:2212.13459, section 3. There a tile's gradient is cut to
its inner part, which needs a margin of twice the reach; here a tile owns positions of the layers, not pixels, and the
gradients of overlapping tiles are added, so a margin of once the reach is enough.) Per-tile statistics, as in other
tools, pull each tile towards the whole style and leave seams.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stylefleet.engine import objective
from stylefleet.engine._tensorflow import keras, tf
from stylefleet.engine.backbone import stride
from stylefleet.engine.evaluation import Problem, Region, compose, moments_by_layer
from stylefleet.engine.objective import Layers, Moments, Terms
from stylefleet.engine.regions import positions_at

ALIGN_PX = 16
"""Pixels between two positions of the deepest block: tiles begin at multiples of it, so that pooling windows agree."""
TILE_PX = 768
"""Edge of the part that a tile owns. With the margin of the default layers a tile is 896 px wide, 1.4 times the work;
its activations take about 2 GB in float32."""


class Tile(NamedTuple):
    """A part of a picture, in pixels."""

    own: tuple[int, int, int, int]
    """Top, bottom, left, right of what it owns: every pixel of the picture is owned once."""
    crop: tuple[int, int, int, int]
    """The same of what it needs to see for that."""


def tiles(height: int, width: int, *, tile_px: int, margin_px: int) -> list[Tile]:
    """A picture of this size in tiles. `margin_px` is the reach of the deepest layer; both become multiples of
    ALIGN_PX."""
    margin = math.ceil(margin_px / ALIGN_PX) * ALIGN_PX
    found = []
    for top, bottom in _spans(height, tile_px):
        for left, right in _spans(width, tile_px):
            crop = max(0, top - margin), min(height, bottom + margin), max(0, left - margin), min(width, right + margin)
            found.append(Tile((top, bottom, left, right), crop))
    return found


def _spans(length: int, tile_px: int) -> Iterator[tuple[int, int]]:
    """As few parts as possible, about equally long, so that the last is no sliver."""
    count = math.ceil(length / tile_px)
    step = math.ceil(length / count / ALIGN_PX) * ALIGN_PX
    for begin in range(0, length, step):
        yield begin, min(begin + step, length)


def share_of(tile: Tile, layer: str, size: tuple[int, int]) -> float:
    """The tile's share of a layer's positions in a picture of this height and width."""
    rows, columns = _positions(layer, tile.own)
    return (rows.stop - rows.start) * (columns.stop - columns.start) / math.prod(positions_at(size, layer))


def _positions(layer: str, span: tuple[int, int, int, int]) -> tuple[slice, slice]:
    """Rows and columns of a layer that belong to top, bottom, left, right in pixels. A span ends at a multiple of the
    stride, or with the picture, where pooling rounds up."""
    step = stride(layer)
    top, bottom, left, right = span
    return slice(top // step, math.ceil(bottom / step)), slice(left // step, math.ceil(right / step))


def _everywhere(layer: str, size: tuple[int, int]) -> Region:
    """The one region of a picture of this height and width."""
    return Region(None, tf.constant([[math.prod(positions_at(size, layer))]], tf.float32))


def of_layer(tile: Tile, layer: str, values: tf.Tensor) -> tf.Tensor:
    """The part of values at a layer of the whole picture [B, h, w, ...] that belongs to what the tile owns."""
    rows, columns = _positions(layer, tile.own)
    return values[:, rows, columns]


def span_in_crop(tile: Tile, layer: str) -> tf.Tensor:
    """First and last row, first and last column of what the tile owns, in the layer's activations of its crop."""
    top, bottom, left, right = tile.own
    crop_top, _, crop_left, _ = tile.crop
    rows, columns = _positions(layer, (top - crop_top, bottom - crop_top, left - crop_left, right - crop_left))
    return tf.constant([rows.start, rows.stop, columns.start, columns.stop])


def _owned(activations: tf.Tensor, span: tf.Tensor) -> tf.Tensor:
    return activations[:, span[0] : span[1], span[2] : span[3]]


class Part(NamedTuple):
    """What a tile is compared with; the tile's part of a `Problem`."""

    spans: dict[str, tf.Tensor]
    """`span_in_crop` by layer."""
    content: dict[str, tf.Tensor]
    """Activations of the contents that it owns."""
    shares: dict[str, tf.Tensor]
    """`share_of` by content layer, scalars."""
    regions: dict[str, Region]
    """By style layer, the weights of the positions that it owns; the sums are those of the whole picture."""


class Tiler:
    """The objective of large pictures for one network and one choice of layers."""

    def __init__(self, model: keras.Model, layers: Layers, *, reach_px: int, tile_px: int = TILE_PX) -> None:
        self._model, self._layers = model, layers
        self._reach_px, self._tile_px = reach_px, tile_px
        # Corner, edge and inner tiles differ in shape and in what they own. All run in one trace, which XLA, that wants
        # to know every size when it compiles, could not give; so it is left out, also on a GPU.
        self._moments = tf.function(self._moments_of_tile, reduce_retracing=True)
        self._gradient = tf.function(self._gradient_of_tile, reduce_retracing=True)
        self._towards_moments = tf.function(self._style_and_gradient, reduce_retracing=True)
        self._tv = tf.function(_tv_and_gradient, reduce_retracing=True)

    def tiles(self, size: tuple[int, int]) -> list[Tile]:
        """Of a picture of this height and width."""
        return tiles(*size, tile_px=self._tile_px, margin_px=self._reach_px)

    def moments(self, pictures: tf.Tensor, problem: Problem | None = None) -> dict[str, Moments]:
        """By style layer, of pictures [B, H, W, 3], over the regions of the problem (None: one, everywhere)."""
        size = tuple(pictures.shape[1:3])
        total: dict[str, Moments] = {}
        for tile in self.tiles(size):
            part = self._part(tile, size, problem)
            found = self._moments(_crop(pictures, tile), part)
            total = {
                n: Moments(total[n].gram + m.gram, total[n].mean + m.mean) if total else m for n, m in found.items()
            }
        return total

    def activations(self, pictures: tf.Tensor, names: Sequence[str]) -> dict[str, tf.Tensor]:
        """Of pictures [B, H, W, 3], by layer, in the network's precision, put together from tiles."""
        size = tuple(pictures.shape[1:3])
        rows: dict[str, list[list[tf.Tensor]]] = {name: [] for name in names}
        for tile in self.tiles(size):
            found = dict(zip(self._layers.outputs, self._model(_crop(pictures, tile), training=False), strict=True))
            for name in names:
                if tile.own[2] == 0:
                    rows[name].append([])
                rows[name][-1].append(_owned(found[name], span_in_crop(tile, name)))
        return {name: tf.concat([tf.concat(row, axis=2) for row in parts], axis=1) for name, parts in rows.items()}

    def evaluate(self, x: tf.Tensor, problem: Problem, loss_scale: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, Terms]:
        """The same as `evaluation.evaluate`, in the memory of one tile and of a few pictures."""
        picture = compose(x, problem.kept)
        size = tuple(picture.shape[1:3])
        style, towards = self._towards_moments(self.moments(picture, problem), problem, loss_scale)
        tv, gradient = self._tv(picture, problem.weights.tv)
        gradient = gradient.numpy()
        content = tf.zeros_like(style)
        for tile in self.tiles(size):
            error, towards_tile = self._gradient(
                _crop(picture, tile),
                self._part(tile, size, problem),
                towards,
                problem.content_norms,
                problem.weights.content * loss_scale,
            )
            content += error
            top, bottom, left, right = tile.crop
            gradient[:, top:bottom, left:right] += towards_tile.numpy() / loss_scale.numpy()[:, None, None, None]
        terms = Terms(style=style, content=content, tv=tv)
        towards_x = tf.constant(gradient) * problem.kept.free if problem.kept else tf.constant(gradient)
        return terms.total(problem.weights), towards_x, terms

    def _part(self, tile: Tile, size: tuple[int, int], problem: Problem | None) -> Part:
        styles, contents = [name for name, _ in self._layers.style], [name for name, _ in self._layers.content]
        if problem and problem.regions:
            regions = {n: Region(of_layer(tile, n, r.weights), r.positions) for n, r in problem.regions.items()}
        else:
            regions = {name: _everywhere(name, size) for name in styles}
        return Part(
            spans={name: span_in_crop(tile, name) for name in self._layers.outputs},
            content={name: of_layer(tile, name, problem.content[name]) for name in contents} if problem else {},
            shares={name: tf.constant(share_of(tile, name, size)) for name in contents},
            regions=regions,
        )

    def _activations_owned(self, pixels: tf.Tensor, part: Part) -> dict[str, tf.Tensor]:
        found = zip(self._layers.outputs, self._model(pixels, training=False), strict=True)
        return {name: _owned(activations, part.spans[name]) for name, activations in found}

    def _moments_of_tile(self, pixels: tf.Tensor, part: Part) -> dict[str, Moments]:
        return moments_by_layer(self._activations_owned(pixels, part), part.regions, self._layers)

    def _style_and_gradient(
        self, found: dict[str, Moments], problem: Problem, loss_scale: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, Moments]]:
        """The style term [B], and the gradient of its scaled, weighted value towards the picture's moments."""
        with tf.GradientTape() as tape:
            tape.watch(found)
            term = objective.style_term(found, problem.styles, problem.shares, self._layers)
            scaled = term * problem.weights.style * loss_scale
        return term, tape.gradient(scaled, found, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def _gradient_of_tile(
        self,
        pixels: tf.Tensor,
        part: Part,
        towards: dict[str, Moments],
        content_norms: dict[str, tf.Tensor],
        content_weight: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The tile's part of the content term [B], and its scaled gradient towards the crop's pixels [B, h, w, 3]."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            activations = self._activations_owned(pixels, part)
            content = tf.add_n(
                [
                    weight
                    * part.shares[name]
                    * objective.content_error(activations[name], part.content[name], content_norms[name])
                    for name, weight in self._layers.content
                ]
            )
            linear = content * content_weight
            for name, found in moments_by_layer(activations, part.regions, self._layers).items():
                linear += tf.reduce_sum(towards[name].gram * found.gram, axis=[1, 2, 3])
                linear += tf.reduce_sum(towards[name].mean * found.mean, axis=[1, 2])
        return content, tape.gradient(linear, pixels)


def _crop(pictures: tf.Tensor, tile: Tile) -> tf.Tensor:
    """What a tile sees of [B, H, W, C]."""
    top, bottom, left, right = tile.crop
    return pictures[:, top:bottom, left:right]


def _tv_and_gradient(picture: tf.Tensor, weight: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The term [B], and the gradient of its weighted value [B, H, W, 3]."""
    with tf.GradientTape() as tape:
        tape.watch(picture)
        term = objective.tv_term(picture)
        weighted = term * weight
    return term, tape.gradient(weighted, picture)
