"""The peak of resident memory of a run, by size, each in a process of its own: `python -m benchmarks.memory SIZE`.

A run does all that a worker does with a picture, with the shortest schedule that holds what a long run holds: a quarter
of the size first, until L-BFGS has every pair of its history, then half and the full size, to which the pairs are
carried over. (Enlarged, each is an array of its own; before the first scale all are one array of zeros.)
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.result import Report, Row
from stylefleet import memory
from stylefleet.presets import recipe_for
from stylefleet.recipe import Recipe, Scale

STEPS = 12
"""All pairs of the history, which the first step and a refused one add nothing to."""
STEPS_OF_LARGE = 2
"""Of scales above AFFORDABLE_PX, where a step takes up to a minute: one finds a pair, to which the others come."""
AFFORDABLE_PX = 1024


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
                f"One picture; each size in a process of its own. {STEPS} steps at a quarter, half and all of the size "
                f"({STEPS_OF_LARGE} above {AFFORDABLE_PX} px, with the pairs of L-BFGS from the scales before), a "
                "checkpoint where a worker writes one, and the encoded result.",
                f"Of each peak, about {peaks[0].loaded_bytes / 2**20:.0f} MiB are TensorFlow, the loaded backbone and "
                "its traced programs.",
                "A Job asks for more: for square pictures, float32 where the recipe leaves the precision open, and the "
                "pictures that are decoded meanwhile.",
            ),
        )
    ]


def _row(peak: Peak) -> Row:
    pixels = peak.width * peak.height
    asked = memory.memory_needed(_recipe(max(peak.width, peak.height)))
    return Row(
        what=f"{peak.width} x {peak.height} px",
        measured=f"{peak.peak_bytes / 2**20:,.0f} MiB",
        compared_with=f"a Job asks for {asked / 2**20:,.0f} MiB",
        ratio=f"{(peak.peak_bytes - peak.loaded_bytes) / pixels:,.0f} bytes a pixel above the loaded engine",
    )


def _peak_in_own_process(size_px: int) -> Peak:
    command = [sys.executable, "-m", "benchmarks.memory", str(size_px)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Peak(**json.loads(done.stdout.splitlines()[-1]))


def _recipe(size_px: int) -> Recipe:
    sizes = (size_px // 4, size_px // 2, size_px)
    return recipe_for(
        size_px=size_px,
        scales=[Scale(size_px=s, iterations=STEPS if s <= AFFORDABLE_PX else STEPS_OF_LARGE) for s in sizes],
    )


def _run(size_px: int) -> Peak:
    """In the process of its own: nothing of TensorFlow is loaded before."""
    from benchmarks.problem import STYLE, engine_for, problem_for
    from benchmarks.runs import Timed, timed_iterates
    from stylefleet import pictures
    from stylefleet.checkpoints import CHECKPOINT_PIXELS_MAX

    engine, style = engine_for("auto"), pictures.decode(STYLE.read_bytes())

    def save(timed: Timed) -> None:
        if timed.iterate.raw.shape[1] * timed.iterate.raw.shape[2] <= CHECKPOINT_PIXELS_MAX:
            timed.iterate.checkpoint(0)

    def run(size_px: int) -> tuple[int, int]:
        photo, last = problem_for(size_px).photo, None
        for timed in timed_iterates(engine, photo[None], style, _recipe(size_px)):
            # As in a worker: the end of a scale is held until something of the next is there.
            if last is not None and last.iterate.scale_px < timed.iterate.scale_px:
                save(last)
            last = timed
        assert last is not None
        save(last)
        pictures.encode(last.iterate.pixels[0], format="jpeg", quality=92)
        return photo.shape[1], photo.shape[0]

    run(128)
    loaded = peak_bytes()
    width, height = run(size_px)
    return Peak(width=width, height=height, precision=engine.precision, loaded_bytes=loaded, peak_bytes=peak_bytes())


def peak_bytes() -> int:
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
