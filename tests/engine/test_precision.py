"""bfloat16 where the device computes it natively, float32 elsewhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stylefleet.engine import Device, Engine, choose_precision, load_engine, probe_device, run
from tests.engine.pictures import contents, recipe, targets


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
    "Turing": ("auto", gpu((7, 5)), "float32", "7.5 is below 8.0"),
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


def test_bfloat16_gives_nearly_the_same_picture(engine: Engine) -> None:
    half = load_engine(backbone="vgg16-hed", precision="mixed_bfloat16")
    wanted = recipe((32, 4))
    activations = half.activations(contents(wanted).astype(np.float32))
    assert {a.dtype.name for a in activations.values()} == {"bfloat16"}
    results = [run(e, contents(wanted), targets(e, wanted), wanted) for e in (engine, half)]
    assert results[1].raw.dtype.name == "float32"
    assert results[1].losses == pytest.approx(results[0].losses, rel=0.1)
    assert np.abs(results[0].pixels.astype(int) - results[1].pixels).mean() < 6


def test_loading_says_nothing_on_stderr() -> None:
    """In a process of its own, with threads set, as the worker does it."""
    code = "from stylefleet.engine import load_engine; print(load_engine(backbone='vgg16-hed', threads=1).precision)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stderr == ""
    assert done.stdout.strip() in {"float32", "mixed_bfloat16"}
