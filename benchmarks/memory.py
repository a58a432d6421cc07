"""The peak of resident memory of a run, by size, each in a process of its own: `python -m benchmarks.memory SIZE`."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.result import Report, Row
from stylefleet.recipe import Scale

STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Peak:
    """What a process found about itself."""

    width: int
    height: int
    precision: str
    loaded_bytes: int
    """Peak when the engine was loaded and had seen a tiny picture."""
    peak_bytes: int
    """Peak at the end of the run."""


def measure(effort: Effort) -> list[Report]:
    """A row for each size."""
    peaks = [_peak_in_own_process(size_px) for size_px in effort.memory_sizes_px]
    return [
        Report(
            title=f"Peak of resident memory, {peaks[0].precision}",
            rows=[_row(peak) for peak in peaks],
            notes=(
                f"One picture, {STEPS} steps at one scale, the full size, with its targets; each size in a process of "
                "its own. The picture itself: 3 bytes a pixel.",
                f"Of each peak, about {peaks[0].loaded_bytes / 2**20:.0f} MiB are TensorFlow, the loaded backbone and "
                "its traced programs.",
            ),
        )
    ]


def _row(peak: Peak) -> Row:
    pixels = peak.width * peak.height
    return Row(
        what=f"{peak.width} x {peak.height} px",
        measured=f"{peak.peak_bytes / 2**20:,.0f} MiB",
        compared_with=f"the picture: {3 * pixels / 2**20:.1f} MiB",
        ratio=f"{(peak.peak_bytes - peak.loaded_bytes) / pixels:,.0f} bytes a pixel above the loaded engine",
    )


def _peak_in_own_process(size_px: int) -> Peak:
    command = [sys.executable, "-m", "benchmarks.memory", str(size_px)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Peak(**json.loads(done.stdout.splitlines()[-1]))


def _run(size_px: int) -> Peak:
    """In the process of its own: nothing of TensorFlow is loaded before."""
    from benchmarks.problem import STYLE, engine_for, problem_for
    from benchmarks.runs import timed_iterates
    from stylefleet import pictures

    engine, style = engine_for("auto"), pictures.decode(STYLE.read_bytes())

    def run(size_px: int) -> tuple[int, int]:
        problem = problem_for(size_px)
        recipe = replace(problem.recipe, scales=(Scale(size_px=size_px, iterations=STEPS),))
        for _ in timed_iterates(engine, problem.photo[None], style, recipe):
            pass
        height, width = problem.photo.shape[:2]
        return width, height

    run(32)
    loaded = _peak_bytes()
    width, height = run(size_px)
    return Peak(width=width, height=height, precision=engine.precision, loaded_bytes=loaded, peak_bytes=_peak_bytes())


def _peak_bytes() -> int:
    """Of this process. Linux counts into ru_maxrss what the process that started it held, and tells the own peak
    apart in VmHWM."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found * 1024


if __name__ == "__main__":
    print(json.dumps(asdict(_run(int(sys.argv[1])))))
