"""What half precision gives and costs, and which scale of a run takes how long."""

from __future__ import annotations

from benchmarks.effort import Effort
from benchmarks.problem import engine_for, problem_for
from benchmarks.result import Report, Row, times
from benchmarks.runs import Finished, finished
from stylefleet.recipe import Preset

PRESET: Preset = "balanced"


def measure(effort: Effort) -> list[Report]:
    """Both from whole runs at the full size."""
    auto = finished(PRESET, effort.size_px, "auto")
    full = finished(PRESET, effort.size_px, "float32")
    half = auto if auto.precision == "mixed_bfloat16" else finished(PRESET, effort.size_px, "mixed_bfloat16")
    height, width = problem_for(effort.size_px).photo.shape[:2]
    return [_precisions(full, half, f"{width} x {height} px"), _scales(auto, f"{width} x {height} px")]


def _precisions(full: Finished, half: Finished, size: str) -> Report:
    full_end, half_end = full.samples[-1], half.samples[-1]
    return Report(
        title=f"{full.precision} and {half.precision}, `{PRESET}`, {size}",
        rows=[
            Row(
                what="one step at the full size",
                measured=f"{half.precision}: {half.step_seconds * 1000:.0f} ms",
                compared_with=f"{full.precision}: {full.step_seconds * 1000:.0f} ms",
                ratio=times(full.step_seconds, half.step_seconds),
            ),
            Row(
                what="the whole run",
                measured=f"{half.precision}: {half_end.seconds:.1f} s",
                compared_with=f"{full.precision}: {full_end.seconds:.1f} s",
                ratio=times(full_end.seconds, half_end.seconds),
            ),
            Row(
                what="objective at the end, measured in float32",
                measured=f"{half.precision}: {half_end.objective:.2f}",
                compared_with=f"{full.precision}: {full_end.objective:.2f}",
                ratio=f"{half_end.objective / full_end.objective - 1:+.1%}",
            ),
        ],
        notes=(f"`auto` takes {engine_for('auto').precision} here: {engine_for('auto').precision_reason}.",),
    )


def _scales(run: Finished, size: str) -> Report:
    total = run.samples[-1].seconds
    rows = []
    for index, scale in enumerate(run.recipe.scales):
        seconds = run.seconds_of_scale(index)
        rows.append(
            Row(
                what=f"{scale.size_px} px, {scale.iterations} steps",
                measured=f"{seconds:.2f} s ({seconds / scale.iterations * 1000:.0f} ms a step)",
                compared_with=f"whole run: {total:.2f} s",
                ratio=f"{seconds / total:.0%}",
            )
        )
    return Report(
        title=f"Scales of `{PRESET}`, {size}, {run.precision}",
        rows=rows,
        notes=(
            "Style targets of every scale are computed before the first and counted there; from the cache they cost "
            "nothing. Each scale counts its content features.",
        ),
    )
