"""Adam over a batch of independent problems, with the same `init`, `trial`, `update` as L-BFGS.

Kingma and Ba, arXiv:1412.6980, algorithm 1, with the second decay of crowsonkb/style-transfer-pytorch (0.99: a run has
hundreds of steps, not the thousands that 0.999 is made for), a learning rate that falls by a tenth every 200 steps, and
pixels kept within 0..255. Every picture counts its own steps; a non-finite loss or gradient leaves it where it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from stylefleet.engine._tensorflow import tf
from stylefleet.engine.batchwise import inner, over, resize, where

BETA_1 = 0.9
BETA_2 = 0.99
EPSILON = 1e-12
"""Far below any gradient: the relative losses have gradients of 1e-6 and less for one pixel of a large picture."""
DECAY = 0.9
DECAY_STEPS = 200


class State(NamedTuple):
    """Where each of B problems stands; nothing is shared between them."""

    x: tf.Tensor
    """The point that was evaluated last, float32 [B, ...]."""
    loss: tf.Tensor
    """Loss at x [B]; +inf until something finite was seen."""
    ahead: tf.Tensor
    """The point to evaluate next [B, ...]."""
    mean: tf.Tensor
    """Decaying mean of the gradients [B, ...]."""
    square: tf.Tensor
    """Decaying mean of their squares [B, ...]."""
    steps: tf.Tensor
    """Steps taken, over all scales, int32 [B]."""


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adaptive moment estimation."""

    learning_rate: float
    """Step of a pixel in 0..255, before the decay."""
    low: float = 0.0
    high: float = 255.0

    def init(self, x: tf.Tensor) -> State:
        """The state before the first evaluation; the first trial is `x` itself, float32 [B, ...]."""
        zeros = tf.zeros_like(x)
        return State(
            x=x,
            loss=tf.fill(tf.shape(x)[:1], tf.constant(float("inf"))),
            ahead=x,
            mean=zeros,
            square=zeros,
            steps=tf.zeros(tf.shape(x)[:1], tf.int32),
        )

    def trial(self, state: State) -> tf.Tensor:
        """Where the loss and its gradient are wanted next [B, ...]."""
        return state.ahead

    def update(self, state: State, loss: tf.Tensor, gradient: tf.Tensor) -> tuple[State, tf.Tensor]:
        """(next state, bool [B]: was the trial usable) from loss [B] and gradient [B, ...] at `trial(state)`."""
        finite = tf.math.is_finite(loss) & tf.reduce_all(tf.math.is_finite(gradient), axis=inner(gradient))
        steps = state.steps + 1
        count = tf.cast(steps, tf.float32)
        mean = BETA_1 * state.mean + (1 - BETA_1) * gradient
        square = BETA_2 * state.square + (1 - BETA_2) * tf.square(gradient)
        rate = self.learning_rate * DECAY ** tf.cast(state.steps // DECAY_STEPS, tf.float32)
        # Algorithm 1, with both corrections for the zeros that the means started from drawn into the rate.
        correction = tf.sqrt(1 - BETA_2**count) / (1 - BETA_1**count)
        move = over(rate * correction, mean) * mean / (tf.sqrt(square) + EPSILON)
        moved = State(
            x=state.ahead,
            loss=loss,
            ahead=tf.clip_by_value(state.ahead - move, self.low, self.high),
            mean=mean,
            square=square,
            steps=steps,
        )
        return State(*(where(finite, new, old) for new, old in zip(moved, state, strict=True))), finite

    def enlarge(self, state: State, x: tf.Tensor) -> State:
        """The state before the first evaluation at `x`, pictures of another size [B, H, W, C], with the means carried
        over. The gradient of a mean over positions falls at least with the number of pixels; with its power of 1.5 the
        first steps at the new size are as long as they should be (measured: lower losses than with 1, and than anew).
        """
        area = tf.cast(tf.reduce_prod(tf.shape(state.x)[1:3]) / tf.reduce_prod(tf.shape(x)[1:3]), tf.float32)
        mean = resize(state.mean, x) * area**1.5
        square = tf.image.resize(state.square, tf.shape(x)[1:3]) * area**3
        # Where interpolation has made the mean larger than the mean square allows, the first step would be a leap.
        return self.init(x)._replace(mean=mean, square=tf.maximum(square, tf.square(mean)), steps=state.steps)
