"""Arithmetic on batches of independent problems: [B] beside [B, ...]."""

from __future__ import annotations

from stylefleet.engine._tensorflow import tf


def inner(x: tf.Tensor) -> list[int]:
    """Every axis but the batch."""
    return list(range(1, x.shape.rank))


def dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """[B, ...], [B, ...] -> [B]."""
    return tf.reduce_sum(a * b, axis=inner(a))


def mean_square(x: tf.Tensor) -> tf.Tensor:
    """[B, ...] -> [B]."""
    return tf.reduce_mean(tf.square(x), axis=inner(x))


def over(per_problem: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """[B] -> [B, 1, ...], with the rank of `like`."""
    return tf.reshape(per_problem, [-1] + [1] * (like.shape.rank - 1))


def where(condition: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Per problem [B] choose [B, ...] from a or b."""
    return tf.where(over(condition, a), a, b)


def resize(pictures: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """[B, h, w, C] -> [B, H, W, C], the height and width of `like`; bicubic."""
    return tf.image.resize(pictures, tf.shape(like)[1:3], "bicubic")
