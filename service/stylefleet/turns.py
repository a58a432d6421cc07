"""Whose turn it is: a tick's work has an upper bound, whatever the number of runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

URGENT_MAX = 200
"""Runs that a tick takes up because something is to be done about them."""
WATCHED_MAX = 64
"""Runs that a tick looks at only to see how far they are."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A manifest whose run is not final."""

    name: str
    urgent: bool
    """Whether more is to be done than to watch: it is new or changed, cancelled, without Job, or its Job has ended."""
    looked_at: int
    """The tick that looked at it last; 0 where none has."""
    rank: int = 0
    """Among those that wait equally long, the smallest comes first."""


@dataclass(frozen=True, kw_only=True)
class Turns:
    """What a tick does, in this order."""

    names: tuple[str, ...]
    newcomers_left: bool
    """Whether manifests that no tick has looked at must wait for the next, which should then come at once."""


def turns(candidates: Iterable[Candidate]) -> Turns:
    """Who waited longest comes first; of each kind so many, so that neither starves the other."""
    in_order = sorted(candidates, key=lambda c: (c.looked_at, c.rank))
    urgent = [c for c in in_order if c.urgent]
    watched = [c for c in in_order if not c.urgent]
    names = tuple(c.name for c in urgent[:URGENT_MAX] + watched[:WATCHED_MAX])
    return Turns(names=names, newcomers_left=any(c.looked_at == 0 for c in urgent[URGENT_MAX:]))
