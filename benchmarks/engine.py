"""The engine: what an optimizer step costs beside its bare convolutions, and what a batch gives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.result import Row
from stylefleet import engine as engines
from stylefleet.recipe import Recipe, Scale, recipe_for

SIZE_PX = 192
STEPS = 10
REPEATS = 3


def measure() -> list[Row]:
    """Medians of interleaved repeats, so that a machine that drifts drifts for both sides."""
    engine = engines.load_engine(backbone="vgg16-hed")
    recipe = _one_scale(recipe_for(size_px=SIZE_PX), STEPS)
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (8, SIZE_PX * 2 // 3, SIZE_PX, 3), dtype=np.uint8)
    targets = (engines.style_target(engine, pictures[0], SIZE_PX),)
    bare = _bare_step(engine, pictures[:1].astype("float32"))

    def steps(batch: int) -> Callable[[], Any]:
        return lambda: engines.run(engine, pictures[:batch], targets, recipe)

    seconds = _medians({"one": steps(1), "eight": steps(8), "bare": lambda: [bare() for _ in range(STEPS)]})
    return [
        Row(
            what=f"a step at {SIZE_PX} px, one picture",
            measured=f"{seconds['one'] / STEPS * 1000:.0f} ms",
            compared_with=f"network forward and back only: {seconds['bare'] / STEPS * 1000:.0f} ms",
            ratio=f"{seconds['bare'] / seconds['one']:.0%} of a step is the network",
        ),
        Row(
            what="a step of eight pictures, each",
            measured=f"{seconds['eight'] / STEPS / 8 * 1000:.0f} ms",
            compared_with=f"alone: {seconds['one'] / STEPS * 1000:.0f} ms",
            ratio=f"{seconds['one'] * 8 / seconds['eight']:.2f} x faster in a batch",
        ),
    ]


def _one_scale(recipe: Recipe, iterations: int) -> Recipe:
    return replace(recipe, scales=(Scale(size_px=recipe.size_px, iterations=iterations),))


def _bare_step(engine: engines.Engine, pixels: np.ndarray) -> Callable[[], Any]:
    """Forward and input gradient of the sum of all activations: the convolutions and hardly anything else."""
    images = tf.constant(pixels)

    @tf.function
    def step() -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(images)
            activations = engine.activations(images)
            total = tf.add_n([tf.reduce_sum(tf.cast(a, tf.float32)) for a in activations.values()])
        return tape.gradient(total, images)

    return lambda: step().numpy()


def _medians(functions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    for function in functions.values():
        function()  # trace and warm up
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(REPEATS):
        for name, function in functions.items():
            started = time.perf_counter()
            function()
            times[name].append(time.perf_counter() - started)
    return {name: median(values) for name, values in times.items()}
