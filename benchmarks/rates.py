"""How much of the machine's own speed at convolutions is left inside a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import median

import numpy as np

from benchmarks.effort import Effort
from benchmarks.problem import engine_for, problem_for
from benchmarks.result import Report, Row
from benchmarks.roofline import Convolution, convolutions
from benchmarks.runs import timed_iterates, warm_up
from stylefleet.engine._tensorflow import tf
from stylefleet.recipe import Scale

GOAL = 0.8
STEPS_OF_AN_ITERATE = 10
"""The most that the engine does between two iterates."""


def measure(effort: Effort) -> list[Report]:
    """One picture at the full size, and eight at half of it."""
    return [
        Report(
            title="Convolution rate inside a run",
            rows=[_row(effort, size_px=effort.size_px, batch=1), _row(effort, size_px=effort.size_px // 2, batch=8)],
            notes=(
                "Inside a run: operations of a step's convolutions, forward and input gradient, over the whole time of "
                "the step, with everything else that it does (Gram matrices, pooling, total variation, optimizer).",
                "Bare: the same convolutions alone, each as one operation (`tf.nn.conv2d`, `Conv2DBackpropInput`) at "
                f"its shape and in the same precision. Medians of {effort.repeats} interleaved repeats, after a first "
                "one that is left out.",
            ),
        )
    ]


def _row(effort: Effort, *, size_px: int, batch: int) -> Row:
    problem = problem_for(size_px)
    engine = engine_for("auto")
    height, width = problem.photo.shape[:2]
    layers = convolutions(engine.backbone, height, width, deepest=problem.recipe.layers[-1])
    dtype = tf.as_dtype(engine.precision.removeprefix("mixed_"))
    bare = [f for layer in layers for f in (forward(layer, batch, dtype), input_gradient(layer, batch, dtype))]
    steps = _step_seconds(effort, size_px=size_px, batch=batch)
    bare_seconds: list[list[float]] = [[] for _ in bare]
    step_seconds = []
    for _ in range(effort.repeats + 1):
        step_seconds.append(next(steps))
        for function, found in zip(bare, bare_seconds, strict=True):
            found.append(_seconds(function))
    inside = median(step_seconds[1:])
    alone = sum(median(found[1:]) for found in bare_seconds)
    gflop = 2 * batch * sum(layer.flop for layer in layers) / 1e9
    return Row(
        what=f"{batch} x {width} x {height} px, {engine.precision}",
        measured=f"{gflop / inside:.0f} GFLOP/s ({inside * 1000:.0f} ms a step)",
        compared_with=f"bare: {gflop / alone:.0f} GFLOP/s ({alone * 1000:.0f} ms)",
        ratio=f"{alone / inside:.0%} (goal {GOAL:.0%})",
    )


def _step_seconds(effort: Effort, *, size_px: int, batch: int) -> Iterator[float]:
    """Seconds of a step, once for each iterate of a run that is stopped in between as long as the caller likes."""
    problem, engine = problem_for(size_px), engine_for("auto")
    iterations = STEPS_OF_AN_ITERATE * (effort.repeats + 2)
    recipe = replace(problem.recipe, scales=(Scale(size_px=size_px, iterations=iterations),))
    photos = np.stack([problem.photo] * batch)
    warm_up(engine, photos, problem.style, recipe)
    before_seconds, before_iteration = None, 0
    for timed in timed_iterates(engine, photos, problem.style, recipe):
        if before_seconds is not None:  # the first iterate comes with the targets
            yield (timed.seconds - before_seconds) / (timed.iterate.iteration - before_iteration)
        before_seconds, before_iteration = timed.seconds, timed.iterate.iteration


def forward(layer: Convolution, batch: int, dtype: tf.DType) -> Callable[[], tf.Tensor]:
    """The convolution of a layer, alone."""
    kernel = _random([3, 3, layer.channels_in, layer.channels_out], dtype)
    pixels = _random([batch, layer.height, layer.width, layer.channels_in], dtype)
    return _program(lambda pixels: tf.nn.conv2d(pixels, kernel, 1, "SAME"), pixels)


def input_gradient(layer: Convolution, batch: int, dtype: tf.DType) -> Callable[[], tf.Tensor]:
    """The gradient of a layer's convolution in its input, alone."""
    kernel = _random([3, 3, layer.channels_in, layer.channels_out], dtype)
    upstream = _random([batch, layer.height, layer.width, layer.channels_out], dtype)
    sizes = [batch, layer.height, layer.width, layer.channels_in]
    return _program(
        lambda upstream: tf.raw_ops.Conv2DBackpropInput(
            input_sizes=sizes, filter=kernel, out_backprop=upstream, strides=[1, 1, 1, 1], padding="SAME"
        ),
        upstream,
    )


def _program(operation: Callable[[tf.Tensor], tf.Tensor], given: tf.Tensor) -> Callable[[], tf.Tensor]:
    """The operation as a graph of its own, traced."""
    traced = tf.function(operation).get_concrete_function(tf.TensorSpec.from_tensor(given))
    return lambda: traced(given)


def _seconds(function: Callable[[], tf.Tensor]) -> float:
    tf.test.experimental.sync_devices()
    started = time.perf_counter()
    function()
    tf.test.experimental.sync_devices()
    return time.perf_counter() - started


def _random(shape: Sequence[int], dtype: tf.DType) -> tf.Tensor:
    """Like activations: from 0 to 1, so that no number is too small to be fast."""
    return tf.cast(tf.random.stateless_uniform(shape, seed=(0, 0)), dtype)
