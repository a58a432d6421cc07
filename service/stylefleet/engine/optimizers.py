"""L-BFGS over a batch of independent problems, as `init`, `trial`, `update`; the caller owns the loop.

Nocedal and Wright, Numerical Optimization, 2nd edition, algorithms 7.4 (two-loop recursion) and 7.5, with equation
7.20 for the initial Hessian, and these departures:
* One evaluation per iteration. There is no line search: the unit step is tried, and taken if it satisfies Armijo's
  condition (3.4). If not, the point stays, the pair that was just measured still enters the history (it is exactly
  the curvature that the direction lacked), and the next trial is shorter.
* Every picture of a batch decides for itself; a non-finite loss or gradient is a refused step of that picture only.
* Inner products are float32 elementwise reductions: matmul may round its inputs (TF32), and L-BFGS breaks.
"""

from __future__ import annotations

from typing import NamedTuple

from stylefleet.engine._tensorflow import tf

HISTORY = 10
FIRST_MOVE = 5.0
"""How far the first step moves the coordinate that moves most; in 0..255 for pixels."""
ARMIJO = 1e-4
LOSS_ROUNDING = 1e-6
"""A loss this much larger, relatively, is the same loss in float32."""
CURVATURE_MIN = 1e-8
"""Pairs with s.y below this times |s||y| are left out: they would make the Hessian indefinite."""
REFUSALS_MAX = 5
"""Refused steps in a row after which the history is forgotten."""


class State(NamedTuple):
    """Where each of B problems stands; nothing is shared between them. Of `s`, `y`, `rho` the oldest is first."""

    x: tf.Tensor
    """The best point so far, float32 [B, ...]."""
    loss: tf.Tensor
    """Loss at x [B]; +inf until something finite was seen."""
    gradient: tf.Tensor
    """Gradient at x [B, ...]."""
    direction: tf.Tensor
    """Search direction from x [B, ...]."""
    step: tf.Tensor
    """Length of the next trial along the direction [B]."""
    refusals: tf.Tensor
    """Trials refused since x was reached, int32 [B]."""
    s: tuple[tf.Tensor, ...]
    """Moves, HISTORY times [B, ...]."""
    y: tuple[tf.Tensor, ...]
    """Changes of the gradient over these moves, HISTORY times [B, ...]."""
    rho: tuple[tf.Tensor, ...]
    """1 / s.y, HISTORY times [B]; 0 marks a pair that does not count."""
    gamma: tf.Tensor
    """s.y / y.y of the newest pair that counts [B]."""


def init(x: tf.Tensor) -> State:
    """The state before the first evaluation; the first trial is `x` itself, float32 [B, ...]."""
    zeros, per_problem = tf.zeros_like(x), tf.zeros(tf.shape(x)[:1])
    return State(
        x=x,
        loss=tf.fill(tf.shape(x)[:1], tf.constant(float("inf"))),
        gradient=zeros,
        direction=zeros,
        step=per_problem,
        refusals=tf.zeros(tf.shape(x)[:1], tf.int32),
        s=(zeros,) * HISTORY,
        y=(zeros,) * HISTORY,
        rho=(per_problem,) * HISTORY,
        gamma=per_problem,
    )


def trial(state: State) -> tf.Tensor:
    """Where the loss and its gradient are wanted next [B, ...]."""
    return state.x + _over(state.step, state.x) * state.direction


def update(state: State, loss: tf.Tensor, gradient: tf.Tensor) -> tuple[State, tf.Tensor]:
    """(next state, bool [B]: was the trial accepted) from the loss [B] and gradient [B, ...] at `trial(state)`."""
    # Everything below chooses per picture between old and new; nothing is multiplied by a mask, so no NaN gets through.
    finite = tf.math.is_finite(loss) & tf.reduce_all(tf.math.is_finite(gradient), axis=_inner(gradient))
    first = tf.math.is_inf(state.loss)
    promised = ARMIJO * state.step * _dot(state.gradient, state.direction)
    accepted = finite & (first | (loss <= state.loss + promised + LOSS_ROUNDING * tf.abs(state.loss)))

    pair_s, pair_y = _over(state.step, state.x) * state.direction, gradient - state.gradient
    sy, ss, yy = _dot(pair_s, pair_y), _dot(pair_s, pair_s), _dot(pair_y, pair_y)
    counts = finite & ~first & (sy > CURVATURE_MIN * tf.sqrt(ss * yy)) & (sy > 0)
    refusals = tf.where(accepted, 0, state.refusals + 1)
    forget = refusals >= REFUSALS_MAX

    rho = (*state.rho[1:], tf.where(counts, tf.math.divide_no_nan(1.0, sy), 0.0))
    next_state = State(
        x=_where(accepted, state.x + pair_s, state.x),
        loss=tf.where(accepted, loss, state.loss),
        gradient=_where(accepted, gradient, state.gradient),
        direction=state.direction,
        step=0.5 ** tf.cast(tf.maximum(refusals - 1, 0), tf.float32),
        refusals=refusals,
        s=(*state.s[1:], _where(counts, pair_s, tf.zeros_like(pair_s))),
        y=(*state.y[1:], _where(counts, pair_y, tf.zeros_like(pair_y))),
        rho=tuple(tf.where(forget, 0.0, r) for r in rho),
        gamma=tf.where(counts, tf.math.divide_no_nan(sy, yy), state.gamma),
    )
    return next_state._replace(direction=_direction(next_state)), accepted


def _direction(state: State) -> tf.Tensor:
    """-H g by the two-loop recursion (algorithm 7.4), or a scaled -g where there is no pair or no descent [B, ...]."""
    q = state.gradient
    alphas = []
    for s, y, rho in reversed(list(zip(state.s, state.y, state.rho, strict=True))):
        alpha = rho * _dot(s, q)
        q -= _over(alpha, y) * y
        alphas.append(alpha)
    r = _over(state.gamma, q) * q
    for s, y, rho, alpha in zip(state.s, state.y, state.rho, reversed(alphas), strict=True):
        beta = rho * _dot(y, r)
        r += _over(alpha - beta, s) * s
    largest = tf.reduce_max(tf.abs(state.gradient), axis=_inner(state.gradient))
    steepest = _over(tf.math.divide_no_nan(-FIRST_MOVE, largest), state.gradient) * state.gradient
    usable = (tf.add_n(list(state.rho)) > 0) & (_dot(state.gradient, r) > 0)
    return _where(usable, -r, steepest)


def _inner(x: tf.Tensor) -> list[int]:
    """Every axis but the batch."""
    return list(range(1, x.shape.rank))


def _dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """[B, ...], [B, ...] -> [B]."""
    return tf.reduce_sum(a * b, axis=_inner(a))


def _over(per_problem: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """[B] -> [B, 1, ...], with the rank of `like`."""
    return tf.reshape(per_problem, [-1] + [1] * (like.shape.rank - 1))


def _where(condition: tf.Tensor, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Per problem [B] choose [B, ...] from a or b."""
    return tf.where(_over(condition, a), a, b)
