"""The objective of a batch at one size: what it compares with, and its value and gradient at a point."""

from __future__ import annotations

from typing import NamedTuple

from stylefleet.engine import objective
from stylefleet.engine._tensorflow import keras, tf
from stylefleet.engine.batchwise import over
from stylefleet.engine.objective import Layers, Moments, Terms


class Region(NamedTuple):
    """How far each position of one style layer belongs to each region."""

    weights: tf.Tensor | None
    """float32 [B, h, w, R], 0..1; None: there is one region, everywhere."""
    positions: tf.Tensor
    """Their sums over the whole picture, float32 [B, R], never 0; of one region everywhere [1, 1]."""


class Kept(NamedTuple):
    """What is left alone: the picture is `pixels + free * x`, so that the optimizer sees what it cannot change."""

    pixels: tf.Tensor
    """What is kept, already weighted with how far it is kept, float32 [B, H, W, 3]."""
    free: tf.Tensor
    """How far the optimizer may paint, float32 [B, H, W, 1], 0..1."""


class Problem(NamedTuple):
    """What the pictures of a batch are compared with. Nothing is shared but the weights and, where its first axis is
    1, a style."""

    weights: Terms
    """Factors of the three terms, float32 scalars."""
    content: dict[str, tf.Tensor]
    """Activations of the contents by content layer [B, h, w, C], in the precision of the network."""
    content_norms: dict[str, tf.Tensor]
    """mean(C^2) of these, float32 [B]."""
    styles: dict[str, Moments]
    """Moments by style layer [B or 1, R, ...]."""
    shares: tf.Tensor
    """Of each region in the picture, float32 [B, R]."""
    regions: dict[str, Region]
    """By style layer; empty where there is one region, everywhere."""
    kept: Kept | tuple[()]
    """Empty where nothing is left alone."""


def compose(x: tf.Tensor, kept: Kept | tuple[()]) -> tf.Tensor:
    """The picture [B, H, W, 3] that the optimizer's variable stands for."""
    return kept.pixels + kept.free * x if kept else x


def everywhere(features: tf.Tensor) -> Region:
    """The one region of a picture whose activations are [B, h, w, C]."""
    shape = tf.shape(features)
    return Region(None, tf.cast(tf.reshape(shape[1] * shape[2], [1, 1]), tf.float32))


def moments_by_layer(
    activations: dict[str, tf.Tensor], regions: dict[str, Region], layers: Layers
) -> dict[str, Moments]:
    """Of activations [B, h, w, C] over each region; a layer that `regions` leaves out has one, everywhere."""
    found = {}
    for name, _ in layers.style:
        region = regions.get(name) or everywhere(activations[name])
        found[name] = objective.moments(activations[name], region.weights, region.positions)
    return found


def content_term(activations: dict[str, tf.Tensor], problem: Problem, layers: Layers) -> tf.Tensor:
    """[B]."""
    return tf.add_n(
        [
            weight * objective.content_error(activations[name], problem.content[name], problem.content_norms[name])
            for name, weight in layers.content
        ]
    )


def evaluate(
    model: keras.Model, layers: Layers, x: tf.Tensor, problem: Problem, loss_scale: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, Terms]:
    """Loss [B], its gradient [B, H, W, 3] and the terms at the optimizer's variable x [B, H, W, 3].

    `loss_scale` [B] multiplies each picture's loss on the way back through the network, and is divided out again:
    gradients that float16 would round to zero then survive.
    """
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(x)
        picture = compose(x, problem.kept)
        activations = dict(zip(layers.outputs, model(picture, training=False), strict=True))
        found = moments_by_layer(activations, problem.regions, layers)
        terms = Terms(
            style=objective.style_term(found, problem.styles, problem.shares, layers),
            content=content_term(activations, problem, layers),
            tv=objective.tv_term(picture),
        )
        loss = terms.total(problem.weights)
        scaled = loss * loss_scale
    # The pictures of a batch do not touch each other, so the gradient of the sum holds each one's own.
    gradient = tape.gradient(scaled, x)
    return loss, gradient / over(loss_scale, gradient), terms
