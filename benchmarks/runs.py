"""Runs of the engine, timed iterate by iterate."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from statistics import median

import numpy as np

from benchmarks.clock import Clock
from benchmarks.peers import Judge, Sample
from benchmarks.problem import engine_for, once_per_scale, problem_for
from benchmarks.progress import progress_of
from stylefleet import engine as engines
from stylefleet.presets import recipe_for
from stylefleet.recipe import Precision, Preset, Recipe, Scale


@dataclass(frozen=True, kw_only=True)
class Timed:
    """An iterate and when it was there."""

    seconds: float
    """Since the run's start; what the caller did with earlier iterates does not count."""
    iterate: engines.Iterate


def timed_iterates(engine: engines.Engine, photos: np.ndarray, style: np.ndarray, recipe: Recipe) -> Iterator[Timed]:
    """The iterates of photos uint8 [B, H, W, 3], with the time for style targets counted in."""
    clock = Clock()
    looks = engines.looks_for(engine, [[(style, 1.0)]], recipe)
    for iterate in engines.optimize(engine, engines.Batch(contents=photos), looks, recipe):
        assert np.isfinite(iterate.losses).all()  # to have the losses means that the device is done
        seconds = clock.seconds
        with clock.pause():
            yield Timed(seconds=seconds, iterate=iterate)


def warm_up(engine: engines.Engine, photos: np.ndarray, style: np.ndarray, recipe: Recipe) -> None:
    """Traces and runs everything once, one step at each scale."""
    for _ in timed_iterates(engine, photos, style, once_per_scale(recipe)):
        pass


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A whole run of a preset on one picture."""

    recipe: Recipe
    precision: str
    """What was computed in, where the recipe says `auto`."""
    seconds_by_iteration: dict[int, float]
    """When each iterate was there: steps done, over all scales -> seconds since the start."""
    samples: tuple[Sample, ...]
    """How good the picture was: the last iterate of each coarser scale, enlarged, and every one of the full size."""

    def seconds_of_scale(self, index: int) -> float:
        """From the end of the scale before to the end of this one."""
        ends = [0, *itertools.accumulate(scale.iterations for scale in self.recipe.scales)]
        before = self.seconds_by_iteration[ends[index]] if index else 0.0
        return self.seconds_by_iteration[ends[index + 1]] - before

    @property
    def step_seconds(self) -> float:
        """Of one step at the full size, the median over iterates; without the first, which comes with the content's
        features."""
        first = self.recipe.iterations_total - self.recipe.scales[-1].iterations
        at_full_size = [(i, s) for i, s in self.seconds_by_iteration.items() if i > first]
        return median((s1 - s0) / (i1 - i0) for (i0, s0), (i1, s1) in itertools.pairwise(at_full_size))


@cache
def judge_for(size_px: int) -> Judge:
    """Measures pictures of the problem of this size."""
    return Judge(problem_for(size_px))


@cache
def finished(preset: Preset, size_px: int, precision: Precision, steps: tuple[int, ...] = ()) -> Finished:
    """A warmed-up run. Kept, as several benchmarks look at the same ones. `steps` replaces the preset's schedule: so
    many at sizes that double up to the full one."""
    problem, judge, progress = problem_for(size_px), judge_for(size_px), progress_of(f"{preset}, {precision}")
    scales = [Scale(size_px=size_px // 2**i, iterations=n) for i, n in enumerate(reversed(steps))][::-1]
    recipe = recipe_for(preset=preset, size_px=size_px, precision=precision, scales=scales)
    engine, photos = engine_for(precision), problem.photo[None]
    warm_up(engine, photos, problem.style, recipe)
    ends = set(itertools.accumulate(scale.iterations for scale in recipe.scales))
    seconds_by_iteration, samples = {}, []
    for timed in timed_iterates(engine, photos, problem.style, recipe):
        iterate = timed.iterate
        seconds_by_iteration[iterate.iteration] = timed.seconds
        if iterate.scale_px == size_px or iterate.iteration in ends:
            objective = judge(iterate.values[0])
            samples.append(Sample(seconds=timed.seconds, evaluations=iterate.iteration, objective=objective))
            progress(samples[-1])
    return Finished(
        recipe=recipe,
        precision=engine.precision,
        seconds_by_iteration=seconds_by_iteration,
        samples=tuple(samples),
    )
