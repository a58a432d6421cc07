"""On what terms a run is carried out: how urgent it is, and what ends it before its work is done. Pure."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Its models take long to make, and commands that only read statuses need none of them.
    from stylefleet.fields import Priority
    from stylefleet.manifest import RunSpec


_SECONDS_BY_UNIT = {"m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The part of a manifest's `run` that policies look at, in their units."""

    priority: Priority = "normal"
    parallelism_min: int | None = None
    """Workers that are enough to begin with; None: left to the queue, or to what there is."""
    deadline_seconds: int | None = None
    """How long after its submission the run is ended; None: never."""
    failures_max: int | None = None
    """Failed pictures that the run bears; one more ends it. None: any number."""


def terms_of(run: RunSpec, *, tasks: int) -> Terms:
    """The terms of a run that computes so many pictures."""
    deadline, failures = run.deadline, run.max_failures
    return Terms(
        priority=run.priority,
        parallelism_min=run.min_parallelism,
        deadline_seconds=None if deadline is None else int(deadline[:-1]) * _SECONDS_BY_UNIT[deadline[-1]],
        # Exact: 29 % of 100 are 29.
        failures_max=math.floor(Fraction(failures[:-1]) * tasks / 100) if isinstance(failures, str) else failures,
    )


def terms_to_json(terms: Terms) -> dict[str, Any]:
    return asdict(terms)


def terms_from_json(data: dict[str, Any]) -> Terms:
    """The inverse of `terms_to_json`. Raises TypeError or ValueError on another shape."""
    for name in ("parallelism_min", "deadline_seconds", "failures_max"):
        value = data.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise ValueError(f"{name}: {value!r}")
    return Terms(**data)
