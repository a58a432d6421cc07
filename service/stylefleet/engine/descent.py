"""Steps of a batch: optimizer, loss scale and iterate averaging together, inside one graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from stylefleet.engine import adam, lbfgs, loss_scale
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.adam import Adam
from stylefleet.engine.batchwise import inner, over, where
from stylefleet.engine.evaluation import Problem
from stylefleet.engine.lbfgs import Lbfgs
from stylefleet.engine.loss_scale import LossScale
from stylefleet.engine.objective import Terms
from stylefleet.memory import PIXELS_FOR_FULL_HISTORY
from stylefleet.recipe import Recipe

HISTORY_OF_LARGE = 4
"""Pairs of L-BFGS where ten would take too much memory."""
OPTIMIZER_SCOPE = "optimizer"
"""Of the names of operations in a graph."""


class Optimizer(Protocol):
    """What L-BFGS and Adam have in common; each has a state of its own with, at least, `x` and `loss`."""

    def init(self, x: tf.Tensor) -> Any:
        """The state before the first evaluation, at x [B, ...]."""

    def trial(self, state: Any) -> tf.Tensor:
        """Where the next evaluation is wanted [B, ...]."""

    def update(self, state: Any, loss: tf.Tensor, gradient: tf.Tensor) -> tuple[Any, tf.Tensor]:
        """(next state, bool [B]: was the trial accepted)."""

    def enlarge(self, state: Any, x: tf.Tensor) -> Any:
        """The state before the first evaluation at x, pictures of another size [B, H, W, C]."""


Evaluate = Callable[[tf.Tensor, Problem, tf.Tensor], tuple[tf.Tensor, tf.Tensor, Terms]]
"""(x [B, H, W, 3], problem, loss scale [B]) -> (loss [B], gradient [B, H, W, 3], terms)."""


class Average(NamedTuple):
    """The running mean of accepted iterates. Polyak and Juditsky 1992; decaying, corrected for its start at zero."""

    total: tf.Tensor
    """float32 [B, H, W, 3]."""
    weight: tf.Tensor
    """float32 [B]; 0 where no iterate was accepted yet."""


class Descent(NamedTuple):
    """Everything that a batch carries from step to step; its first axis is the picture everywhere."""

    state: lbfgs.State | adam.State
    terms: Terms
    """At `state.x`."""
    scale: LossScale
    average: Average | tuple[()]
    """Empty without averaging."""

    @property
    def result(self) -> tf.Tensor:
        """The pictures that the recipe asks for: the last iterates, or their means [B, H, W, 3]."""
        if not self.average:
            return self.state.x
        seen = self.average.weight > 0
        mean = self.average.total / over(tf.where(seen, self.average.weight, 1.0), self.average.total)
        return where(seen, mean, self.state.x)


@dataclass(frozen=True, kw_only=True)
class Stepper:
    """How a recipe takes its steps; the static part, for which a program is traced."""

    optimizer: Optimizer
    averaging: float
    """Decay of the running mean; 0 keeps none."""
    scales_loss: bool
    """Whether the network computes in float16."""

    def first(self, x: tf.Tensor) -> Descent:
        """Before the first evaluation at x [B, H, W, 3]."""
        return self._around(self.optimizer.init(x))

    def enlarged(self, before: Descent, x: tf.Tensor) -> Descent:
        """Before the first evaluation at x, pictures of the next scale; what was learned about curvature goes along."""
        after = self._around(self.optimizer.enlarge(before.state, x))
        return after._replace(scale=before.scale)

    def step(self, descent: Descent, loss: tf.Tensor, gradient: tf.Tensor, tried: Terms) -> Descent:
        """After loss [B], gradient [B, H, W, 3] and terms at `trial` were found."""
        state, accepted = self.optimizer.update(descent.state, loss, gradient)
        terms = Terms(*(tf.where(accepted, a, b) for a, b in zip(tried, descent.terms, strict=True)))
        scale, average = descent.scale, descent.average
        if self.scales_loss:
            finite = tf.reduce_all(tf.math.is_finite(gradient), axis=inner(gradient))
            scale = loss_scale.adjusted(scale, finite)
        if average:
            mixed = self.averaging * average.total + (1 - self.averaging) * state.x
            average = Average(
                where(accepted, mixed, average.total),
                tf.where(accepted, self.averaging * average.weight + 1 - self.averaging, average.weight),
            )
        return Descent(state, terms, scale, average)

    def trial(self, descent: Descent) -> tf.Tensor:
        """Where the next evaluation is wanted [B, H, W, 3]."""
        return self.optimizer.trial(descent.state)

    def _around(self, state: Any) -> Descent:
        batch = tf.shape(state.x)[0]
        infinite = tf.fill([batch], float("inf"))
        return Descent(
            state=state,
            terms=Terms(infinite, infinite, infinite),
            scale=loss_scale.first(batch) if self.scales_loss else loss_scale.none(batch),
            average=Average(tf.zeros_like(state.x), tf.zeros([batch])) if self.averaging else (),
        )


def stepper_for(recipe: Recipe, *, compute_dtype: str, pixels: int) -> Stepper:
    """`pixels` is the size of the batch at this scale."""
    if recipe.optimizer == "adam":
        optimizer: Optimizer = Adam(learning_rate=recipe.learning_rate)
    else:
        large = pixels > PIXELS_FOR_FULL_HISTORY
        optimizer = Lbfgs(history=HISTORY_OF_LARGE if large else lbfgs.HISTORY)
    return Stepper(optimizer=optimizer, averaging=recipe.averaging, scales_loss=compute_dtype == "float16")


def advance(stepper: Stepper, evaluate: Evaluate, descent: Descent, problem: Problem, iterations: tf.Tensor) -> Descent:
    """So many steps, as one loop of the graph. A profile shows the optimizer's operations by their scope."""

    def body(i: tf.Tensor, descent: Descent) -> tuple[tf.Tensor, Descent]:
        with tf.name_scope(OPTIMIZER_SCOPE):
            trial = stepper.trial(descent)
        found = evaluate(trial, problem, descent.scale.scale)
        with tf.name_scope(OPTIMIZER_SCOPE):
            return i + 1, stepper.step(descent, *found)

    return tf.while_loop(lambda i, _: i < iterations, body, (0, descent))[1]
