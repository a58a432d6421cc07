"""A loss scale for each picture, for float16: large enough that small gradients do not round to zero, halved when one
overflows. (Keras' LossScaleOptimizer has one scale for all, so that one picture's overflow would stop every other.)

Micikevicius et al., Mixed Precision Training, arXiv:1710.03740, section 3.2, with a growth interval that fits runs of
hundreds of steps.
"""

from __future__ import annotations

from typing import NamedTuple

from stylefleet.engine._tensorflow import tf

FIRST = 2.0**12
LARGEST = 2.0**20
GROWTH_STEPS = 50


class LossScale(NamedTuple):
    """Of each picture of a batch."""

    scale: tf.Tensor
    """float32 [B]."""
    good: tf.Tensor
    """Steps without an overflow since the scale last changed, int32 [B]."""


def none(batch: tf.Tensor) -> LossScale:
    """Scale 1 for precisions with the range of float32; it never changes, as only `adjusted` changes it."""
    return LossScale(tf.ones([batch]), tf.zeros([batch], tf.int32))


def first(batch: tf.Tensor) -> LossScale:
    """The start for float16."""
    return LossScale(tf.fill([batch], FIRST), tf.zeros([batch], tf.int32))


def adjusted(before: LossScale, finite: tf.Tensor) -> LossScale:
    """After a step whose gradients were finite or not, bool [B]."""
    good = tf.where(finite, before.good + 1, 0)
    grows = good >= GROWTH_STEPS
    scale = tf.where(grows, tf.minimum(before.scale * 2, LARGEST), before.scale)
    return LossScale(tf.where(finite, scale, tf.maximum(before.scale / 2, 1.0)), tf.where(grows, 0, good))
