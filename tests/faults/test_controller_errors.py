"""Every outside call of a controller fails once, and for a while: enumerated, before it took effect and after."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stylefleet.errors import AccessDenied, ClusterUnavailable, CredentialsExpired, StoreUnavailable, StylefleetError
from tests.faults.interrupted import Interrupted
from tests.faults.scenarios import SCENARIOS, Scenario, check
from tests.world import World

FAULTS: tuple[tuple[str, StylefleetError], ...] = (
    ("store", StoreUnavailable("503 SlowDown")),
    ("store", CredentialsExpired("ExpiredToken")),
    ("store", AccessDenied("403")),
    ("cluster", ClusterUnavailable("429 TooManyRequests")),
    ("cluster", AccessDenied("403 Forbidden")),
)
ONCE, FOR_A_WHILE = 1, 25
"""Calls that fail; a tick has fewer than 25."""


def failing(error: StylefleetError) -> Callable[[World], None]:
    def interrupt(_world: World) -> None:
        raise error

    return interrupt


PASSING = (StoreUnavailable, ClusterUnavailable)
"""Faults that befall every story, once and for a while; the others befall the first stories once."""
CASES = [
    (scenario, edge, error, lasting)
    for edge, error in FAULTS
    for scenario in (SCENARIOS if type(error) in PASSING else SCENARIOS[:3])
    for lasting in ((ONCE, FOR_A_WHILE) if type(error) in PASSING else (ONCE,))
]


def _named(value: object) -> str:
    if isinstance(value, Scenario):
        return value.name
    if isinstance(value, StylefleetError):
        return type(value).__name__
    return {ONCE: "once", FOR_A_WHILE: "for a while"}.get(value, str(value)) if isinstance(value, int) else str(value)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("scenario", "edge", "error", "lasting"), CASES, ids=_named)
def test_a_fault_at_any_call_passes_and_leaves_no_trace(
    scenario: Scenario, edge: str, error: StylefleetError, when: str, lasting: int
) -> None:
    points = 0
    while True:
        life = Interrupted(when=when, number=points + 1, interrupt=failing(error), edges=(edge,), lasting=lasting)
        life.play(scenario)
        life.calm_down()
        check(life.world, scenario)
        if not life.happened:
            break
        points += 1
    print(f"{points} points: {type(error).__name__} of the {edge} {when} the call, {scenario.name}")
    assert points >= 3
