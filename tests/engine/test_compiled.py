"""What a GPU runs compiled: every kind of program compiles, and gives the numbers that it gives uncompiled.

XLA compiles for a CPU as well. It runs the same graph; only the order of sums and the places where half precision
rounds are others.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from stylefleet.engine import Batch, Engine, load_engine, run, stages
from stylefleet.engine import descent as descents
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.descent import Descent, Stepper
from stylefleet.engine.evaluation import Problem
from stylefleet.engine.precision import compute_dtype
from stylefleet.recipe import Recipe
from tests.engine.pictures import contents, engine_of_a_gpu, looks, painting, photo, recipe, restyled

MASKS = np.zeros((2, 2, 16, 24), np.uint8)
MASKS[:, 0, :, :10], MASKS[:, 1, :, 8:] = 255, 190


class Begun(NamedTuple):
    """Two pictures, ready for their first step."""

    stepper: Stepper
    descent: Descent
    problem: Problem


def begin(engine: Engine, wanted: Recipe, **batch: np.ndarray) -> Begun:
    pictures = np.stack([photo(24, 16), painting(24)[:16]])
    styles = (painting(), painting(seed=4))[: 2 if "masks" in batch else 1]
    made = looks(engine, wanted, *styles, contents=pictures)
    canvas = stages.prepare(Batch(contents=pictures, **batch), made, wanted)
    stage = stages.scale_stage(canvas, 0)
    stepper = descents.stepper_for(wanted, compute_dtype=compute_dtype(engine.precision), pixels=1)
    problem = stages.problem_of(engine, wanted, stage, made[0])
    return Begun(stepper, stepper.first(stages.first_start(canvas, stage)), problem)


def distance(found: tf.Tensor, expected: tf.Tensor) -> float:
    """Of two tensors, relative to the size of the second."""
    a, b = (tf.cast(t, tf.float32).numpy() for t in (found, expected))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


CASES: dict[str, tuple[dict[str, Any], dict[str, np.ndarray]]] = {
    "regions": ({}, {"masks": MASKS}),
    "a part left alone, averaged": ({"averaging": 0.5}, {"protect": MASKS[:, 1]}),
    "regions and a part left alone, in bfloat16": (
        {"precision": "mixed_bfloat16"},
        {"masks": MASKS, "protect": MASKS[:, 0]},
    ),
    "Adam, averaged, in float16": ({"optimizer": "adam", "averaging": 0.5, "precision": "mixed_float16"}, {}),
    "means beside Grams, average pooling": ({"statistics": "gram+mean", "pooling": "average"}, {}),
    "a look for each picture": ({"colors": "match"}, {}),
}

ROUNDING = {"float32": 1e-4, "mixed_float16": 0.05, "mixed_bfloat16": 0.1}
"""How far losses and gradients may be apart: in float32 by sums in another order; one number of float16 is rounded by
up to 0.05 %, one of bfloat16 by 0.4 %, and a gradient has gone through 22 convolutions. (Processors that compute in
float16 by themselves are further from those that do not: 2.6 % were seen.)"""


@pytest.mark.parametrize("case", CASES)
def test_compiled_steps_see_the_same_content_losses_and_gradients_and_paint_the_same(case: str) -> None:
    fields, batch = CASES[case]
    wanted = recipe((24, 1), **fields)
    rounding = ROUNDING[wanted.precision]
    plain, compiled = load_engine(wanted), engine_of_a_gpu(wanted)
    stepper, descent, problem = begin(plain, wanted, **batch)
    for name, features in begin(compiled, wanted, **batch).problem.content.items():
        assert distance(features, problem.content[name]) < rounding

    first, expected = (engine.programs.advance(stepper, descent, problem, 1) for engine in (compiled, plain))
    assert distance(first.state.loss, expected.state.loss) < rounding
    slope = "gradient" if wanted.optimizer == "lbfgs" else "mean"
    assert distance(getattr(first.state, slope), getattr(expected.state, slope)) < rounding

    last, expected = (engine.programs.advance(stepper, descent, problem, 4) for engine in (compiled, plain))
    moved = float(tf.reduce_mean(tf.abs(expected.result - descent.state.x)))
    assert moved > 0.5
    # What rounding has changed, every further step makes a little larger.
    assert float(tf.reduce_mean(tf.abs(last.result - expected.result))) < 4 * rounding * moved


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_a_compiled_run_ends_with_nearly_the_same_picture(precision: str) -> None:
    wanted = recipe((32, 3), precision=precision)
    plain, compiled = (restyled(load(wanted), wanted) for load in (load_engine, engine_of_a_gpu))
    rounding = 0.02 if precision == "float32" else 0.1  # other fusions, so bfloat16 rounds at other places
    assert compiled.losses == pytest.approx(plain.losses, rel=rounding)
    assert np.abs(compiled.values - plain.values).mean() < 100 * rounding


def test_a_picture_in_tiles_takes_compiled_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradient come from tiles, which are not compiled: each shape would be, and they have many."""
    monkeypatch.setattr(stages, "TILED_FROM_PIXELS", 1000)
    wanted = recipe((48, 4))
    pictures = []
    for load in (load_engine, engine_of_a_gpu):
        loaded = load(wanted)
        monkeypatch.setattr(loaded.tiler, "_tile_px", 32)
        batch = Batch(contents=contents(wanted))
        pictures.append(run(loaded, batch, looks(loaded, wanted), wanted).values)
        assert {key[0] for key in loaded.programs.programs} == {"step"}
    assert np.abs(pictures[0] - pictures[1]).max() < 0.5
