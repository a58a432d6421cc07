"""What a benchmark ran on, without which its numbers say nothing."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import psutil

from benchmarks.problem import engine_for
from stylefleet.recipe import ENGINE_VERSION


def machine() -> tuple[str, ...]:
    """A line each: processor, memory, software, the precision that `auto` takes and why."""
    engine = engine_for("auto")
    python = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return (
        f"{processor()}, {_cores()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB of memory",
        f"{python}, TensorFlow {engine.tensorflow_version} on {engine.device}, engine {ENGINE_VERSION}",
        f"precision `auto` is {engine.precision}: {engine.precision_reason}",
    )


def processor() -> str:
    """The processor's own name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
