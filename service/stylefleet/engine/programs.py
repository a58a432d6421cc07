"""The compiled steps of an engine: traced once for each kind of problem, and then run for every size and batch."""

from __future__ import annotations

from functools import partial
from typing import Any

from stylefleet.engine import descent as descents
from stylefleet.engine import evaluation
from stylefleet.engine._tensorflow import keras, tf
from stylefleet.engine.descent import Descent, Stepper
from stylefleet.engine.evaluation import Problem
from stylefleet.engine.objective import Layers, Terms


class Programs:
    """Kept by an engine; nothing here depends on a picture."""

    def __init__(self, model: keras.Model, layers: Layers, *, xla: bool) -> None:
        self.model = model
        self._evaluate = partial(evaluation.evaluate, model, layers)
        # XLA compiles anew for every shape, and on a CPU its convolutions are slower than oneDNN's: GPU only.
        self.xla = xla
        self.programs: dict[tuple[object, ...], Any] = {}
        """By kind: `advance` or `step`, and what it was traced for."""

    def advance(self, stepper: Stepper, descent: Descent, problem: Problem, iterations: int) -> Descent:
        """So many steps."""
        key = ("advance", stepper, _kind(problem))
        if key not in self.programs:
            self.programs[key] = tf.function(
                lambda d, p, n: descents.advance(stepper, self._evaluate, d, p, n),
                input_signature=[_open(descent), _open_problem(problem), tf.TensorSpec([], tf.int32)],
                jit_compile=self.xla,
            )
        return self.programs[key](descent, problem, tf.constant(iterations))

    def step(self, stepper: Stepper, descent: Descent, loss: tf.Tensor, gradient: tf.Tensor, terms: Terms) -> Descent:
        """One step, where loss and gradient come from tiles."""
        key = ("step", stepper)
        if key not in self.programs:
            self.programs[key] = tf.function(
                stepper.step,
                input_signature=[_open(descent), _open(loss), _open(gradient), _open(terms)],
                jit_compile=self.xla,
            )
        return self.programs[key](descent, loss, gradient, terms)

    @property
    def traces(self) -> int:
        """How often a program was traced; a run of a thousand shapes must not raise it."""
        return sum(program.experimental_get_tracing_count() for program in self.programs.values())


def _kind(problem: Problem) -> tuple[int, bool, bool]:
    """What of a problem a program is traced for."""
    return int(problem.shares.shape[1]), bool(problem.regions), bool(problem.kept)


def _open(structure: Any) -> Any:
    """Signature that leaves every size open but that of the last axis of pictures."""

    def spec(tensor: tf.Tensor) -> tf.TensorSpec:
        rank = tensor.shape.rank
        return tf.TensorSpec([None] * (rank - 1) + [tensor.shape[-1]] if rank > 1 else [None] * rank, tensor.dtype)

    return tf.nest.map_structure(spec, structure)


def _open_problem(problem: Problem) -> Problem:
    """The same for a problem, where regions and channels are fixed."""

    def but_the_first(tensor: tf.Tensor) -> tf.TensorSpec:
        return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)

    return _open(problem)._replace(
        styles=tf.nest.map_structure(but_the_first, problem.styles), shares=but_the_first(problem.shares)
    )
