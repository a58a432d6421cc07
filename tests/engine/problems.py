"""Standard problems for optimizers: losses of points [B, n], from simple to hard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stylefleet.engine._tensorflow import tf

Loss = Callable[[tf.Tensor], tf.Tensor]
"""[B, n] -> [B]."""


def quadratic(condition: float, size: int = 30) -> Loss:
    scales = tf.constant(np.geomspace(1.0, condition, size), tf.float32)
    return lambda x: 0.5 * tf.reduce_sum(scales * tf.square(x - 1.0), axis=1)


def rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1.0 - x[:, :-1]) ** 2, axis=1)


def quartic(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(tf.square(x)) - x, axis=1) + tf.reduce_sum(tf.square(x[:, 1:] - x[:, :-1]), axis=1)


def tilted_cosh(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.math.log(tf.cosh(x)) - 0.3 * x, axis=1)


def evaluate(loss: Loss, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Loss [B] and gradient [B, n]."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
        total = tf.reduce_sum(value)
    return value, tape.gradient(total, x)


STARTS = np.random.default_rng(3).normal(size=(3, 30)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A loss, three starts, and how far each optimizer must get."""

    loss: Loss
    starts: np.ndarray
    evaluations: int
    """That L-BFGS may take, ours and SciPy's."""
    adam_rate: float
    """Learning rate that suits the problem's scale."""
    adam_evaluations: int


PROBLEMS = {
    "a round bowl": Problem(loss=quadratic(1.0), starts=STARTS, evaluations=20, adam_rate=0.1, adam_evaluations=200),
    "a narrow valley": Problem(
        loss=quadratic(100.0), starts=STARTS, evaluations=60, adam_rate=0.1, adam_evaluations=300
    ),
    "a very narrow valley": Problem(
        loss=quadratic(10_000.0), starts=STARTS, evaluations=150, adam_rate=0.1, adam_evaluations=300
    ),
    "Rosenbrock in 2 dimensions": Problem(
        loss=rosenbrock,
        starts=np.array([[-1.2, 1.0], [0.0, 0.0], [2.0, -1.0]]),
        evaluations=80,
        adam_rate=0.1,
        adam_evaluations=1500,
    ),
    "Rosenbrock in 10 dimensions": Problem(
        loss=rosenbrock, starts=0.3 * STARTS[:, :10], evaluations=150, adam_rate=0.1, adam_evaluations=1500
    ),
    "log cosh": Problem(loss=tilted_cosh, starts=3 * STARTS, evaluations=40, adam_rate=0.3, adam_evaluations=300),
    "a chain of quartics": Problem(
        loss=quartic, starts=3 * STARTS, evaluations=40, adam_rate=0.1, adam_evaluations=300
    ),
}
