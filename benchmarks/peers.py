"""Plain methods from published descriptions, for the same objective, backbone and weights as the engine's.

The code is our own; what is taken over is the way of going about it. Every method is given the same targets,
starts from the photo as its description says, runs as one TensorFlow graph per
evaluation, in float32 and at the full size, and is warmed up before its clock starts.

The objective is written out here a second time, on a plain Keras network, so that nothing of the engine decides how
good the engine's pictures are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from scipy.optimize import fmin_l_bfgs_b

from benchmarks.clock import Clock
from benchmarks.problem import Problem
from stylefleet.engine._tensorflow import keras, tf
from stylefleet.engine.backbone import build, layers_up_to
from stylefleet.engine.objective import term_weights
from stylefleet.engine.weights import read_weights
from stylefleet.recipe import Backbone, Recipe

SAMPLES_OF_A_RUN = 20
"""How often a run's objective is looked at."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """How far a run has come."""

    seconds: float
    """Since its start, without the measuring."""
    evaluations: int
    """Of loss and gradient."""
    objective: float
    """Of the picture so far, measured in float32 at the full size."""


Progress = Callable[[Sample], None]
Evaluation = Callable[..., tuple[tf.Tensor, tf.Tensor]]
"""(picture, ...), float32 [1, H, W, 3] each -> loss and its gradient in the picture."""


class Targets(NamedTuple):
    """What a picture is compared with."""

    contents: dict[str, tf.Tensor]
    """Activations of the content by content layer [1, h, w, C]."""
    grams: dict[str, tf.Tensor]
    """Gram matrices of the style by style layer [C, C]."""


def network(recipe: Recipe) -> keras.Model:
    """The recipe's backbone in float32, of Keras' own layers: pixels [B, H, W, 3] -> activations by layer."""
    return _network(recipe.backbone, recipe.layers)


@cache
def _network(backbone: Backbone, layers: tuple[str, ...]) -> keras.Model:
    weights = read_weights(backbone, layers_up_to(backbone, layers[-1]))
    model = build(backbone, weights, outputs=layers, precision="float32")
    return keras.Model(model.inputs, dict(zip(layers, model.outputs, strict=True)))


def gram(features: tf.Tensor) -> tf.Tensor:
    """[1, h, w, C] -> [C, C], divided by the number of positions."""
    flat = tf.reshape(features, [-1, features.shape[3]])
    return tf.matmul(flat, flat, transpose_a=True) / tf.cast(tf.shape(flat)[0], tf.float32)


def targets_from(recipe: Recipe, content: dict[str, tf.Tensor], style: dict[str, tf.Tensor]) -> Targets:
    """From the activations of the content and of the style, by layer."""
    return Targets(
        contents={entry.layer: content[entry.layer] for entry in recipe.content_layers},
        grams={entry.layer: gram(style[entry.layer]) for entry in recipe.style_layers},
    )


def objective(recipe: Recipe, picture: tf.Tensor, found: dict[str, tf.Tensor], targets: Targets) -> tf.Tensor:
    """Of a picture [1, H, W, 3] and its activations by layer: a scalar."""
    factors = term_weights(recipe)
    style = tf.add_n(
        [w.weight * _relative_error(gram(found[w.layer]), targets.grams[w.layer]) for w in recipe.style_layers]
    )
    content = tf.add_n(
        [w.weight * _relative_error(found[w.layer], targets.contents[w.layer]) for w in recipe.content_layers]
    )
    rows, columns = picture[:, 1:] - picture[:, :-1], picture[:, :, 1:] - picture[:, :, :-1]
    tv = (tf.reduce_mean(tf.square(rows)) + tf.reduce_mean(tf.square(columns))) / 255.0**2
    return factors.style * style + factors.content * content + factors.tv * tv


def _relative_error(found: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.square(found - wanted)) / tf.reduce_mean(tf.square(wanted))


class Judge:
    """Measures pictures: the objective at the full size in float32, of pixels clipped to 0..255 as they would be
    written. Its time is nobody's."""

    def __init__(self, problem: Problem) -> None:
        model, recipe = network(problem.recipe), problem.recipe
        targets = targets_from(recipe, model(_tensor(problem.content)), model(_tensor(problem.style)))

        @tf.function
        def measured(picture: tf.Tensor) -> tf.Tensor:
            return objective(recipe, picture, model(picture), targets)

        self._measured = measured

    def __call__(self, pixels: np.ndarray) -> float:
        """[H, W, 3], of the result's size."""
        return float(self._measured(tf.clip_by_value(_tensor(pixels), 0.0, 255.0)))


class Run:
    """The record of a method that is running: counts its evaluations, and measures now and then."""

    def __init__(self, judge: Judge, *, evaluations: int, progress: Progress) -> None:
        self._judge = judge
        self._evaluations = evaluations
        self._progress = progress
        self._done = 0
        self._clock = Clock()
        self.samples: list[Sample] = []

    @property
    def finished(self) -> bool:
        return self._done >= self._evaluations

    def evaluated(self, pixels: Callable[[], np.ndarray]) -> None:
        """One evaluation more; `pixels` [H, W, 3] is asked for only if it is to be measured."""
        self._done += 1
        if not self.finished and self._done % max(1, self._evaluations // SAMPLES_OF_A_RUN):
            return
        seconds = self._clock.seconds
        with self._clock.pause():
            sample = Sample(seconds=seconds, evaluations=self._done, objective=self._judge(pixels()))
            self.samples.append(sample)
            self._progress(sample)


class _Enough(Exception):
    """SciPy counts evaluations only between two line searches; this ends it exactly."""


def seed_loop(problem: Problem, judge: Judge, *, evaluations: int, progress: Progress) -> list[Sample]:
    """The seed article's loop: SciPy's L-BFGS-B asks for loss and gradient of the picture as float64 numbers, and each
    time content, style and picture go through the network.

    The optimizer is called once, so that it keeps its history. What counts is the best picture so far, even if SciPy
    is in the middle of a line search.
    """
    loss_and_gradient = seed_evaluation(problem)
    content, style = _tensor(problem.content), _tensor(problem.style)
    start = problem.photo.astype(np.float64)
    loss_and_gradient(_tensor(start), content, style)
    run = Run(judge, evaluations=evaluations, progress=progress)
    best_loss, best = np.inf, start.ravel()

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best_loss, best
        loss, gradient = loss_and_gradient(_tensor(flat.reshape(start.shape)), content, style)
        answer = float(loss), gradient.numpy().astype(np.float64).ravel()
        if answer[0] < best_loss:
            best_loss, best = answer[0], flat.copy()
        run.evaluated(lambda: best.reshape(start.shape))
        if run.finished:
            raise _Enough
        return answer

    with contextlib.suppress(_Enough):
        fmin_l_bfgs_b(evaluate, start.ravel(), maxfun=evaluations + 1, maxiter=evaluations + 1)
    return run.samples


def seed_evaluation(problem: Problem) -> Evaluation:
    """Of (picture, content, style): three pictures go through the network, and one gradient comes back."""
    model, recipe = network(problem.recipe), problem.recipe
    return _with_gradient(
        lambda picture, content, style: objective(
            recipe, picture, model(picture), targets_from(recipe, model(content), model(style))
        )
    )


FIRST_MOVE = 5.0
"""Of the pixel that the first step of gradient descent moves most, in 0..255. The example's own rate of 100 belongs to
its own loss, whose terms are sums; ours are relative."""


def keras_example(problem: Problem, judge: Judge, *, evaluations: int, progress: Progress) -> list[Sample]:
    """The way of the neural style transfer example on keras.io: content, style and picture as one batch of three,
    plain gradient descent whose rate falls by 4 % every 100 steps."""
    loss_and_gradient = batch_evaluation(problem)
    content, style = _tensor(problem.content), _tensor(problem.style)
    picture = tf.Variable(_tensor(problem.photo))
    _, gradient = loss_and_gradient(picture, content, style)
    rate = keras.optimizers.schedules.ExponentialDecay(
        FIRST_MOVE / float(tf.reduce_max(tf.abs(gradient))), decay_steps=100, decay_rate=0.96
    )
    optimizer = keras.optimizers.SGD(rate)
    optimizer.build([picture])
    run = Run(judge, evaluations=evaluations, progress=progress)
    while not run.finished:
        _, gradient = loss_and_gradient(picture, content, style)
        optimizer.apply_gradients([(gradient, picture)])
        run.evaluated(lambda: picture.numpy()[0])
    return run.samples


def batch_evaluation(problem: Problem) -> Evaluation:
    """Of (picture, content, style): three pictures go through the network as one, and three gradients come back, of
    which one is used."""
    model, recipe = network(problem.recipe), problem.recipe

    def loss(picture: tf.Tensor, content: tf.Tensor, style: tf.Tensor) -> tf.Tensor:
        found = model(tf.concat([content, style, picture], axis=0))
        of_content, of_style, of_picture = ({name: f[i : i + 1] for name, f in found.items()} for i in range(3))
        return objective(recipe, picture, of_picture, targets_from(recipe, of_content, of_style))

    return _with_gradient(loss)


def plain_adam(problem: Problem, judge: Judge, *, evaluations: int, progress: Progress) -> list[Sample]:
    """Adam on the pixels, targets computed once; the rate of 1 of 255 falls by a tenth every 200 steps."""
    loss_and_gradient = cached_evaluation(problem)
    picture = tf.Variable(_tensor(problem.photo))
    rate = keras.optimizers.schedules.ExponentialDecay(1.0, decay_steps=200, decay_rate=0.9, staircase=True)
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build([picture])
    loss_and_gradient(picture)
    run = Run(judge, evaluations=evaluations, progress=progress)
    while not run.finished:
        _, gradient = loss_and_gradient(picture)
        optimizer.apply_gradients([(gradient, picture)])
        run.evaluated(lambda: picture.numpy()[0])
    return run.samples


def cached_evaluation(problem: Problem) -> Evaluation:
    """Of the picture alone; the targets were computed before."""
    model, recipe = network(problem.recipe), problem.recipe
    targets = targets_from(recipe, model(_tensor(problem.content)), model(_tensor(problem.style)))
    return _with_gradient(lambda picture: objective(recipe, picture, model(picture), targets))


def _with_gradient(loss: Callable[..., tf.Tensor]) -> Evaluation:
    """The loss and its gradient in its first argument, as one graph."""

    @tf.function
    def loss_and_gradient(picture: tf.Tensor, *others: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        picture = tf.convert_to_tensor(picture)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(picture)
            value = loss(picture, *others)
        return value, tape.gradient(value, picture)

    return loss_and_gradient


def _tensor(pixels: np.ndarray) -> tf.Tensor:
    """[H, W, 3] of any type -> float32 [1, H, W, 3]."""
    return tf.constant(pixels[None], tf.float32)
