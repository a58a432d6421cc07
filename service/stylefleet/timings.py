"""What pictures took, as finished runs found: the next plan cuts its shards by that. Pure.

An assumed speed may be wrong by a factor of ten, and a prediction by operations knows neither the pictures' shapes nor
how well a device computes small ones. Receipts know all of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from stylefleet.cost import predicted_seconds
from stylefleet.errors import RecordUnreadable
from stylefleet.plan import Plan
from stylefleet.recipe import Recipe
from stylefleet.tally import Sums

ENOUGH_PICTURES = 16
"""A run of fewer says more about how a worker starts than about pictures: it counts only where no other is known."""
KEPT = 50
"""Recipes that are remembered, the newest first."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What a picture took in one run."""

    recipe: str
    """Digest of the recipe."""
    precision: str
    """Asked for by the recipe."""
    flop: float
    """Predicted floating point operations of one picture."""
    seconds: float
    """Of a worker for one picture, the engine's and the styles' share; the rest goes on meanwhile."""
    pictures: int
    device: str
    """What computed, as the receipts say; several are separated by commas."""
    run: str
    """NAME/RUN."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What a picture will take."""

    seconds: float
    """Of a worker, for one picture."""
    source: str
    """How that is known, for people."""


def predict(recipe: Recipe, known: Sequence[Timing], *, flops: float) -> Prediction:
    """From a run with this recipe; else from the recipe that is nearest in operations, of the same precision; else from
    the assumed speed `flops`, in floating point operations a second."""
    flop = flop_of(recipe)
    same = next((t for t in known if t.recipe == recipe.digest), None)
    if same is not None:
        return Prediction(seconds=same.seconds, source=f"measured: {_words(same)}, this recipe")
    alike = [t for t in known if t.precision == recipe.precision]
    if alike:
        nearest = min(alike, key=lambda t: abs(math.log(t.flop / flop)))
        return Prediction(seconds=nearest.seconds * flop / nearest.flop, source=f"by operations from {_words(nearest)}")
    return Prediction(seconds=flop / flops, source=f"by operations at an assumed {flops / 1e9:,g} GFLOP/s")


def _words(timing: Timing) -> str:
    return f"{timing.pictures:,} pictures of {timing.run} on {timing.device}"


def flop_of(recipe: Recipe) -> float:
    """Predicted floating point operations of one picture."""
    return predicted_seconds(recipe, flops=1.0)


def timing_of(plan: Plan, sums: Sums) -> Timing | None:
    """What the run's receipts say; None where no picture was done."""
    seconds = sums.stage_seconds["optimize"] + sums.stage_seconds["style_target"]
    if not sums.done or seconds <= 0:
        return None
    return Timing(
        recipe=plan.recipe.digest,
        precision=plan.recipe.precision,
        flop=flop_of(plan.recipe),
        seconds=seconds / sums.done,
        pictures=sums.done,
        device=", ".join(sorted({e.device for e in sums.engines})),
        run=f"{plan.name}/{plan.run}",
    )


def with_new(known: Sequence[Timing], new: Timing) -> tuple[Timing, ...]:
    """What is known after one more run, newest first. What another device took is forgotten."""
    trusted = [t for t in known if t.pictures >= ENOUGH_PICTURES]
    if trusted and new.pictures < ENOUGH_PICTURES:
        return tuple(known)
    return (new, *(t for t in trusted if t.device == new.device and t.recipe != new.recipe))[:KEPT]


def to_json(known: Sequence[Timing]) -> bytes:
    """The object of what is known."""
    return (json.dumps({"timings": [asdict(t) for t in known]}, indent=1, ensure_ascii=False) + "\n").encode()


_NAMES = {f.name for f in fields(Timing)}


def from_json(data: bytes) -> tuple[Timing, ...]:
    """The inverse of `to_json`; unknown fields of a newer version are left out. Raises RecordUnreadable."""
    try:
        return tuple(_timing(each) for each in json.loads(data)["timings"])
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"the timings cannot be read: {error!r}") from error


def _timing(data: dict[str, Any]) -> Timing:
    timing = Timing(**{k: v for k, v in data.items() if k in _NAMES})
    for number in (timing.flop, timing.seconds, timing.pictures):
        if not 1e-6 <= number <= 1e30:
            raise ValueError(f"found {number}, allowed is 1e-6 to 1e30")
    return timing
