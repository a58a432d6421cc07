"""How long the engine may be silent before its worker is taken for hung. Pure.

Generous: a worker that is ended by mistake is ended in every attempt, one that hangs costs its time once.
"""

from __future__ import annotations

from stylefleet.cost import flop_per_pixel_step
from stylefleet.memory import pixels_at_a_time
from stylefleet.recipe import Recipe

SECONDS_MIN = 1800.0
"""Whatever is computed: a graphics driver may compile its programs first, and a machine may be busy."""
FLOPS_MIN = 5e9
"""Floating point operations a second of the slowest machine: a tenth of one core of a laptop."""
TIMES_LONGEST = 50


def limit_seconds(recipe: Recipe, *, evaluations: int = 1, longest_seconds: float = 0.0) -> float:
    """For so many evaluations of the objective at the recipe's largest stage, where the longest answer of the engine
    so far took `longest_seconds`."""
    slowest = evaluations * pixels_at_a_time(recipe) * flop_per_pixel_step(recipe) / FLOPS_MIN
    return max(SECONDS_MIN, slowest, TIMES_LONGEST * longest_seconds)
