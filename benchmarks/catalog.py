"""A catalog in one process against the same pictures one by one."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np

from benchmarks.clock import Clock
from benchmarks.effort import Effort
from benchmarks.problem import SAMPLES, engine_for, filled, problem_for
from benchmarks.result import Report, Row, times
from benchmarks.runs import warm_up
from stylefleet import engine as engines
from stylefleet import pictures
from stylefleet.batches import batches
from stylefleet.engine import targets
from stylefleet.presets import recipe_for
from stylefleet.recipe import Precision, Preset

PRESET: Preset = "draft"
PRECISION: Precision = "auto"


@dataclass(frozen=True, kw_only=True, eq=False)
class Photo:
    """A picture of the catalog, as `batches` wants it."""

    pixels: np.ndarray
    """uint8 [H, W, 3]."""

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def position(self) -> None:
        """None of them was interrupted."""
        return


def measure(effort: Effort) -> list[Report]:
    """At a quarter of the size. Each batch is followed by its pictures one by one, so that a machine that drifts
    drifts for both."""
    problem = problem_for(effort.size_px // 4)
    height, width = problem.photo.shape[:2]
    photos = [Photo(pixels=p) for p in catalog(effort.catalog_pictures, width, height)]
    recipe = recipe_for(preset=PRESET, size_px=effort.size_px // 4, precision=PRECISION)
    engine = engine_for(PRECISION)
    style = [[(problem.style, 1.0)]]
    groups = batches(photos)
    for batch in (groups[0], groups[-1], groups[0][:1]):
        warm_up(engine, np.stack([p.pixels for p in batch]), problem.style, recipe)

    with patch.object(targets, "style_target", wraps=targets.style_target) as computed:
        clock = Clock()
        looks = engines.looks_for(engine, style, recipe)
        together = clock.seconds
        once = computed.call_count
        alone = 0.0
        for batch in groups:
            clock = Clock()
            engines.run(engine, engines.Batch(contents=np.stack([p.pixels for p in batch])), looks, recipe).pixels  # noqa: B018
            together += clock.seconds
            for photo in batch:
                clock = Clock()
                own = engines.looks_for(engine, style, recipe)
                engines.run(engine, engines.Batch(contents=photo.pixels[None]), own, recipe).pixels  # noqa: B018
                alone += clock.seconds
        every_time = computed.call_count - once
    count = len(photos)
    return [
        Report(
            title=f"{count} pictures with one style, {width} x {height} px, `{PRESET}`, {engine.precision}",
            rows=[
                Row(
                    what="a picture",
                    measured=f"{together / count:.2f} s, in batches of {len(groups[0])}",
                    compared_with=f"alone: {alone / count:.2f} s",
                    ratio=times(alone, together),
                ),
                Row(
                    what="style targets computed, one for each scale",
                    measured=f"{once}",
                    compared_with=f"alone: {every_time}",
                    ratio=f"{every_time / once:.0f} x fewer",
                ),
                Row(
                    what="start of a process, until the engine is loaded; in neither number above",
                    measured="once",
                    compared_with=f"alone: {start_seconds():.1f} s, {count} times",
                    ratio="",
                ),
            ],
            notes=("Batches as the worker makes them. Both sides are warmed up; files are neither read nor written.",),
        )
    ]


def catalog(count: int, width: int, height: int) -> list[np.ndarray]:
    """So many different pictures, uint8 [height, width, 3]: the sample photos, mirrored in every way."""
    photos = [
        filled(pictures.decode(path.read_bytes()), width, height)
        for path in sorted((SAMPLES / "photos").iterdir())
        if path.suffix in (".jpg", ".png")
    ]
    mirrored = [p[::rows, ::columns] for rows in (1, -1) for columns in (1, -1) for p in photos]
    return [np.ascontiguousarray(mirrored[i % len(mirrored)]) for i in range(count)]


def start_seconds() -> float:
    """From the start of a Python process until it has loaded the engine."""
    code = f"from benchmarks.problem import engine_for; engine_for({PRECISION!r})"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started
