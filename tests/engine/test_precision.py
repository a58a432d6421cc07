"""Half precision where the device computes it natively, float32 elsewhere; losses, gradients and pictures agree."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stylefleet.engine import (
    Batch,
    Device,
    Engine,
    choose_precision,
    load_engine,
    loss_scale,
    probe_device,
    stages,
)
from stylefleet.engine import descent as descents
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.evaluation import evaluate
from stylefleet.recipe import Recipe
from tests.engine.pictures import contents, engine_of_a_gpu, looks, painting, photo, recipe, restyled


def cpu(*flags: str) -> Device:
    return Device(kind="cpu", name="a CPU", cpu_flags=frozenset(flags))


def gpu(capability: tuple[int, int] | None) -> Device:
    return Device(kind="gpu", name="a GPU", compute_capability=capability)


CASES = {
    "AVX2 only": ("auto", cpu("avx2", "fma"), "float32", "none of amx_bf16, avx512_bf16"),
    "AVX-512 without bfloat16": ("auto", cpu("avx512f", "avx512_vnni"), "float32", "none of"),
    "AVX-512 with bfloat16": ("auto", cpu("avx512f", "avx512_bf16"), "mixed_bfloat16", "avx512_bf16"),
    "AMX": ("auto", cpu("amx_bf16", "amx_tile"), "mixed_bfloat16", "amx_bf16"),
    "no flags at all, as on macOS": ("auto", cpu(), "float32", "none of"),
    "Pascal": ("auto", gpu((6, 1)), "float32", "6.1 is below 7.0"),
    "Volta": ("auto", gpu((7, 0)), "mixed_float16", "7.0 has float16 tensor cores"),
    "Turing": ("auto", gpu((7, 5)), "mixed_float16", "7.5 has float16 tensor cores"),
    "Ampere": ("auto", gpu((8, 0)), "mixed_bfloat16", "8.0"),
    "Hopper": ("auto", gpu((9, 0)), "mixed_bfloat16", "9.0"),
    "a GPU that does not say": ("auto", gpu(None), "float32", "unknown"),
    "asked for, though slow": ("mixed_bfloat16", cpu("avx2"), "mixed_bfloat16", "recipe"),
    "asked for, though AMX": ("float32", cpu("amx_bf16"), "float32", "recipe"),
}


@pytest.mark.parametrize("case", CASES)
def test_the_precision_fits_the_device(case: str) -> None:
    requested, device, expected, why = CASES[case]
    precision, reason = choose_precision(requested, device)  # type: ignore[arg-type]
    assert precision == expected
    assert why in reason


def test_the_probe_reads_flags_and_name(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx512_bf16\n\nprocessor\t: 1\n")
    found = probe_device(cpuinfo)
    assert found.name == "Some CPU"
    assert found.cpu_flags == {"fpu", "avx512_bf16"}
    assert probe_device(tmp_path / "absent").cpu_flags == frozenset()


@pytest.fixture(scope="module", params=["mixed_bfloat16", "mixed_float16"])
def half(request: pytest.FixtureRequest) -> Engine:
    return load_engine(recipe((32, 1), precision=request.param))


def at_a_point(engine: Engine, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray, tf.Tensor]:
    """Loss, gradient and activations of one picture."""
    wanted = recipe((32, 1), precision=engine.precision)
    made = looks(engine, wanted)
    stage = stages.scale_stage(stages.prepare(Batch(contents=contents(wanted)), made, wanted), 0)
    x = tf.constant(contents(wanted, painting(48)[:32]), tf.float32)
    loss, gradient, _ = evaluate(
        engine.programs.model, engine.layers, x, stages.problem_of(engine, wanted, stage, made[0]), tf.constant([scale])
    )
    return loss.numpy(), gradient.numpy(), engine.activations(x)


def test_half_precision_gives_nearly_the_same_loss_gradient_and_picture(engine: Engine, half: Engine) -> None:
    loss, gradient, _ = at_a_point(engine)
    half_loss, half_gradient, activations = at_a_point(half, 1.0 if "bfloat" in half.precision else loss_scale.FIRST)
    assert {a.dtype.name for a in activations.values()} == {half.precision.removeprefix("mixed_")}
    assert half_loss.dtype == half_gradient.dtype == np.float32
    assert half_loss == pytest.approx(loss, rel=0.03)
    cosine = (gradient * half_gradient).sum() / np.linalg.norm(gradient) / np.linalg.norm(half_gradient)
    assert cosine > 0.98
    results = [restyled(e, recipe((32, 4), precision=e.precision)) for e in (engine, half)]
    assert results[1].raw.dtype.name == "float32"
    assert results[1].losses == pytest.approx(results[0].losses, rel=0.15)
    assert np.abs(results[0].values - results[1].values).mean() < 6


def test_small_gradients_survive_float16_through_the_loss_scale() -> None:
    float16 = load_engine(recipe((32, 1), precision="mixed_float16"))
    exact = at_a_point(load_engine(recipe((32, 1))))[1]
    # As small as those of a picture a hundred times larger.
    errors = [
        np.linalg.norm(at_a_point(float16, scale)[1] - exact) / np.linalg.norm(exact)
        for scale in (1e-4, loss_scale.FIRST)
    ]
    assert errors[1] < 0.1 < errors[0]


@pytest.mark.parametrize("load", [load_engine, engine_of_a_gpu], ids=["as it is", "compiled"])
def test_an_overflow_is_masked_for_its_picture_alone(load: Callable[[Recipe], Engine]) -> None:
    """Planted: a loss scale at which one picture's gradient overflows. That picture waits, the other goes on."""
    wanted = recipe((32, 1), precision="mixed_float16")
    float16 = load(wanted)
    batch = Batch(contents=contents(wanted, photo(), painting(48)[:32]))
    made = looks(float16, wanted)
    stage = stages.scale_stage(stages.prepare(batch, made, wanted), 0)
    problem = stages.problem_of(float16, wanted, stage, made[0])
    stepper = descents.stepper_for(wanted, compute_dtype="float16", pixels=1)
    before = stepper.first(stages.first_start(stages.prepare(batch, made, wanted), stage))
    before = float16.programs.advance(stepper, before, problem, 3)
    poisoned = before._replace(scale=before.scale._replace(scale=tf.constant([2.0**30, loss_scale.FIRST])))
    after = float16.programs.advance(stepper, poisoned, problem, 1)
    assert np.array_equal(after.state.x.numpy()[0], before.state.x.numpy()[0])
    assert after.scale.scale.numpy().tolist() == [2.0**29, loss_scale.FIRST]
    assert np.isfinite(after.state.gradient.numpy()).all()
    assert after.state.loss.numpy()[1] < before.state.loss.numpy()[1]
    # The scale is halved until it fits, and then the picture goes on.
    recovered = float16.programs.advance(stepper, after, problem, 25)
    assert recovered.state.loss.numpy()[0] < before.state.loss.numpy()[0]


def test_a_loss_scale_halves_at_an_overflow_and_doubles_after_a_while() -> None:
    scale = loss_scale.first(tf.constant(2))
    scale = loss_scale.adjusted(scale, tf.constant([True, False]))
    assert scale.scale.numpy().tolist() == [loss_scale.FIRST, loss_scale.FIRST / 2]
    for _ in range(loss_scale.GROWTH_STEPS - 1):
        scale = loss_scale.adjusted(scale, tf.constant([True, True]))
    assert scale.scale.numpy().tolist() == [2 * loss_scale.FIRST, loss_scale.FIRST / 2]
    for _ in range(20 * loss_scale.GROWTH_STEPS):
        scale = loss_scale.adjusted(scale, tf.constant([True, True]))
    assert scale.scale.numpy().tolist() == [loss_scale.LARGEST] * 2
    for _ in range(100):
        scale = loss_scale.adjusted(scale, tf.constant([False, False]))
    assert scale.scale.numpy().tolist() == [1.0, 1.0]


def onednn_primitives(precision: str) -> str:
    """What a run computes, as oneDNN itself tells it."""
    code = (
        "from tests.engine.pictures import *; from stylefleet.engine import load_engine;"
        f"r = recipe((32, 2), precision={precision!r}); restyled(load_engine(r), r)"
    )
    environment = os.environ | {"ONEDNN_VERBOSE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300, env=environment
    )
    return done.stdout


def test_no_gradient_of_a_weight_is_computed() -> None:
    """By profile: the library that computes the convolutions names each one that it runs."""
    profile = onednn_primitives("float32")
    convolutions = [line for line in profile.splitlines() if ",convolution," in line]
    assert len(convolutions) >= 2 * 22
    assert not [line for line in convolutions if "backward_weights" in line]


def test_loading_says_nothing_on_stderr() -> None:
    """In a process of its own, with threads set, as the worker does it."""
    code = (
        "from stylefleet.engine import load_engine; from stylefleet.presets import recipe_for;"
        "print(load_engine(recipe_for(), threads=1).precision)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stderr == ""
    assert done.stdout.strip() in {"float32", "mixed_bfloat16"}
