from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet.errors import ClusterUnavailable, PreconditionFailed
from stylefleet.leader import (
    LEASE_SECONDS,
    RENEW_DEADLINE_SECONDS,
    RETRY_SECONDS,
    Elector,
    Sighting,
    Verdict,
    claimed,
    judge,
    observe,
    released,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def lease(holder: str = "another", *, version: str = "7", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "stylefleet", "resourceVersion": version},
        "spec": {"holderIdentity": holder, "leaseDurationSeconds": LEASE_SECONDS, **spec},
    }


# --- decisions ----------------------------------------------------------------------------------------------------


def test_a_lease_that_is_not_there_is_taken_at_once() -> None:
    assert judge(None, observe(None, None, 0.0), me="me", leading=False, now=0.0) is Verdict.ACQUIRE


def test_a_lease_that_was_given_up_is_taken_at_once() -> None:
    empty = released(lease(), now=NOW)
    seen = observe(Sighting(version="6", expires_at=15.0), empty, 1.0)
    assert judge(empty, seen, me="me", leading=False, now=1.0) is Verdict.ACQUIRE


def test_a_lease_made_without_spec_is_taken_at_once() -> None:
    bare = {"metadata": {"name": "stylefleet", "resourceVersion": "1"}}
    assert judge(bare, observe(None, bare, 0.0), me="me", leading=False, now=0.0) is Verdict.ACQUIRE
    assert claimed(bare, me="me", now=NOW)["spec"]["holderIdentity"] == "me"


def test_a_lease_of_another_is_taken_only_when_it_stayed_the_same_for_as_long_as_it_promises() -> None:
    seen = observe(None, lease(), 100.0)
    for now, verdict in ((100.0, Verdict.WAIT), (114.9, Verdict.WAIT), (115.0, Verdict.ACQUIRE)):
        seen = observe(seen, lease(), now)
        assert judge(lease(), seen, me="me", leading=False, now=now) is verdict


def test_a_renewal_starts_the_wait_anew() -> None:
    seen = observe(observe(None, lease(), 100.0), lease(version="8"), 114.0)
    assert judge(lease(version="8"), seen, me="me", leading=False, now=128.9) is Verdict.WAIT


@pytest.mark.parametrize("hours", [-1, 1])
def test_times_in_the_lease_decide_nothing(hours: int) -> None:
    far = (NOW + timedelta(hours=hours)).isoformat()
    other = lease(renewTime=far, acquireTime=far)
    assert judge(other, observe(None, other, 5.0), me="me", leading=False, now=5.0) is Verdict.WAIT


def test_the_holder_s_own_promise_counts() -> None:
    other = lease(leaseDurationSeconds=40)
    seen = observe(None, other, 0.0)
    assert judge(other, seen, me="me", leading=False, now=39.0) is Verdict.WAIT


def test_a_lease_that_was_deleted_may_still_have_a_leader() -> None:
    seen = observe(observe(None, lease(), 0.0), None, 1.0)
    assert judge(None, seen, me="me", leading=False, now=1.0) is Verdict.WAIT
    assert judge(None, seen, me="me", leading=False, now=15.0) is Verdict.ACQUIRE


@pytest.mark.parametrize("found", [None, lease("another"), lease("")])
def test_a_leader_that_does_not_find_its_name_has_lost(found: dict[str, Any] | None) -> None:
    assert judge(found, None, me="me", leading=True, now=0.0) is Verdict.LOST


@pytest.mark.parametrize("leading", [True, False])
def test_who_finds_its_own_name_renews_even_where_it_never_heard_that_it_won(leading: bool) -> None:
    assert judge(lease("me"), None, me="me", leading=leading, now=0.0) is Verdict.RENEW


def test_a_claim_counts_the_changes_of_holder_and_keeps_what_others_wrote() -> None:
    found = lease(acquireTime="then", leaseTransitions=4, strategy="later versions know why")
    found["metadata"]["labels"] = {"app.kubernetes.io/name": "stylefleet"}
    taken = claimed(found, me="me", now=NOW)
    assert taken["metadata"] == found["metadata"]
    assert taken["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "acquireTime": "2026-03-01T12:00:00.000000Z",
        "renewTime": "2026-03-01T12:00:00.000000Z",
        "leaseTransitions": 5,
        "strategy": "later versions know why",
    }
    again = claimed(taken, me="me", now=NOW + timedelta(seconds=2))
    assert again["spec"] == {**taken["spec"], "renewTime": "2026-03-01T12:00:02.000000Z"}
    assert claimed(None, me="me", now=NOW)["spec"]["leaseTransitions"] == 0


# --- an elector alone ---------------------------------------------------------------------------------------------


class Left(BaseException):
    """In place of the end of the process."""


@dataclass
class World:
    """True time, and a Lease behind a network that may be slow, deaf or forgetful."""

    seconds: float = 0.0
    lease: dict[str, Any] | None = None
    version: int = 0
    faults: list[str] = field(default_factory=list)
    """Of the next calls: "" for none."""
    delays: list[tuple[float, float]] = field(default_factory=list)
    """Seconds on the way there and back, of the next calls."""
    passing: Callable[[], None] = lambda: None
    """Called whenever time has passed."""

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        self.passing()

    def _call(self, act: Callable[[], Any]) -> Any:
        there, back = self.delays.pop(0) if self.delays else (0.0, 0.0)
        fault = self.faults.pop(0) if self.faults else ""
        self.pass_time(there)
        try:
            if fault == "unheard":
                raise ClusterUnavailable("no answer")
            answer = act()
        finally:
            self.pass_time(back)
        if fault == "answer lost":
            raise ClusterUnavailable("no answer")
        return answer

    def read(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self._call(lambda: self.lease)
        return found

    def write(self, document: dict[str, Any]) -> None:
        def act() -> None:
            current = None if self.lease is None else self.lease["metadata"]["resourceVersion"]
            if document["metadata"].get("resourceVersion") != current:
                raise PreconditionFailed("changed meanwhile")
            self.version += 1
            self.lease = {**document, "metadata": {**document["metadata"], "resourceVersion": str(self.version)}}

        self._call(act)


def leave(why: str) -> NoReturn:
    raise Left(why)


def elector(world: World, me: str = "me", *, rate: float = 1.0, skew: timedelta = timedelta()) -> Elector:
    return Elector(
        world,
        me=me,
        clock=lambda: 1000.0 + rate * world.seconds,
        wall_clock=lambda: NOW + skew + timedelta(seconds=world.seconds),
        leave=leave,
    )


def test_who_never_looked_does_not_lead() -> None:
    one = elector(World())
    assert not one.leading
    with pytest.raises(Left):
        one.confirm()


def test_leading_ends_by_itself_when_nothing_is_renewed() -> None:
    world = World()
    one = elector(world)
    assert one.look()
    world.pass_time(RENEW_DEADLINE_SECONDS - 0.1)
    one.confirm()
    world.pass_time(0.1)
    with pytest.raises(Left, match="in time"):
        one.confirm()


def test_leading_counts_from_the_sending_of_the_claim_not_from_its_answer() -> None:
    world = World(delays=[(0.0, 0.0), (0.0, RENEW_DEADLINE_SECONDS)])
    assert not elector(world).look()


def test_a_claim_whose_answer_was_lost_is_found_at_the_next_look() -> None:
    world = World(faults=["", "answer lost"])
    one = elector(world)
    with pytest.raises(ClusterUnavailable):
        one.look()
    assert not one.leading
    assert one.look()


def test_of_two_that_see_a_free_lease_at_once_one_leads() -> None:
    world = World()
    one, two = elector(world, "one"), elector(world, "two")
    stale = world.read()
    assert two.look()
    one._lease = _Stale(world, stale)
    assert not one.look()
    assert two.leading


@dataclass
class _Stale:
    """Answers with what was read before somebody else wrote."""

    world: World
    read_before: dict[str, Any] | None

    def read(self) -> dict[str, Any] | None:
        return self.read_before

    def write(self, document: dict[str, Any]) -> None:
        self.world.write(document)


def test_a_lease_given_up_is_taken_at_the_next_look() -> None:
    world = World()
    one, two = elector(world, "one"), elector(world, "two")
    assert one.look()
    assert not two.look()
    one.release()
    assert not one.leading
    assert two.look()


def test_giving_up_leaves_the_lease_of_another_alone() -> None:
    world = World()
    one, two = elector(world, "one"), elector(world, "two")
    assert one.look()
    one_s = world.lease
    two.release()
    assert world.lease is one_s


# --- two of them --------------------------------------------------------------------------------------------------

# Few kinds of each, and mostly good weather: so the stories that matter (one falls silent, the other waits) come up.
FAULTS = st.sampled_from([*[("", "")] * 12, ("unheard", ""), ("", "unheard"), ("", "answer lost")])
DELAYS = st.sampled_from(
    [*[((0.0, 0.0), (0.0, 0.0))] * 12]
    + [
        ((a, b), (c, d))
        for a, b, c, d in ((4, 0, 0, 0), (0, 9, 0, 0), (0, 0, 9, 0), (0, 0, 0, 4), (0, 0, 0, 14), (1,) * 4)
    ]
)
PAUSES = st.sampled_from([0.0, 1.0, 2.0, 2.0, 2.0, 5.0, 8.0, 10.0, 12.0, 14.0, 17.0])
RATES = st.sampled_from([0.85, 1.0, 1.25])
SKEWS = st.sampled_from([-3600, 0, 3600])


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one of the two does next, and what the network does to its two requests."""

    who: int
    what: str
    after: float
    faults: tuple[str, str]
    delays: tuple[tuple[float, float], tuple[float, float]]


STEPS = st.builds(
    Step,
    who=st.integers(0, 1),
    what=st.sampled_from([*["look"] * 12, "killed", "ends"]),
    after=PAUSES,
    faults=FAULTS,
    delays=DELAYS,
)


@given(rates=st.tuples(RATES, RATES), skews=st.tuples(SKEWS, SKEWS), story=st.lists(STEPS, min_size=5, max_size=40))
def test_there_are_never_two_leaders_whatever_clocks_and_network_do(
    rates: tuple[float, float], skews: tuple[int, int], story: list[Step]
) -> None:
    world = World()
    names = iter(range(1000))

    def newcomer(which: int) -> Elector:
        # Each has its own name, its own rate, and a wall clock that is up to an hour off.
        return elector(world, f"{which}_{next(names)}", rate=rates[which], skew=timedelta(seconds=skews[which]))

    both = [newcomer(0), newcomer(1)]

    def check() -> None:
        assert not (both[0].leading and both[1].leading), f"two leaders at {world.seconds}: {world.lease}"

    world.passing = check
    for step in story:
        world.pass_time(step.after)
        world.faults, world.delays = list(step.faults), list(step.delays)
        try:
            match step.what:
                case "look":
                    both[step.who].look()
                case "killed":
                    both[step.who] = newcomer(step.who)
                case "ends":
                    both[step.who].release()
                    both[step.who] = newcomer(step.who)
        except ClusterUnavailable:
            pass
        except Left:
            both[step.who] = newcomer(step.who)
        check()


@given(rate=st.floats(0.85, 1.25), offset=st.floats(0, RETRY_SECONDS))
def test_after_a_leader_s_death_the_other_leads_within_the_lease_and_one_retry(rate: float, offset: float) -> None:
    world = World()
    dead, other = elector(world, "dead"), elector(world, "other", rate=rate)
    assert dead.look()
    world.pass_time(offset)
    began = world.seconds
    while not other.look():
        world.pass_time(RETRY_SECONDS / rate)
    assert world.seconds - began <= (LEASE_SECONDS + RETRY_SECONDS) / rate
