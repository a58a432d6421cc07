"""How much a benchmark does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Sizes and counts of a run."""

    size_px: int
    """Longer edge of the picture."""
    evaluations: int
    """Evaluations that the peers get, before our time to their objective is taken."""
    long_evaluations: int
    """Evaluations of the one long run of a peer."""
    repeats: int
    """Interleaved repeats of which the median counts."""
    catalog_pictures: int
    """Pictures of the catalog."""
    memory_sizes_px: tuple[int, ...]
    """Sizes at which the peak of memory is taken."""
    planning_pictures: int
    """Pictures of the catalog that is planned."""
    controller_runs: int
    """Live runs that a controller has before it."""


FULL = Effort(
    size_px=512,
    evaluations=200,
    long_evaluations=3000,
    repeats=5,
    catalog_pictures=32,
    memory_sizes_px=(512, 1024, 2048, 4096),
    planning_pictures=1_000_000,
    controller_runs=1000,
)
QUICK = Effort(
    size_px=128,
    evaluations=20,
    long_evaluations=60,
    repeats=2,
    catalog_pictures=4,
    memory_sizes_px=(128, 256),
    planning_pictures=10_000,
    controller_runs=20,
)
"""To see that everything runs; its numbers mean nothing."""
