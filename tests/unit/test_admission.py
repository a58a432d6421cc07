"""Who gets workers where not all can have them at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet import gate as gates
from stylefleet.fields import Priority
from stylefleet.gate import Gate
from stylefleet.policies.admission import Limits, Request, Turn, admit, in_order
from tests.builders import NOW


def ask(name: str, tenant: str = "", *, priority: Priority = "normal", minute: int = 0, **facts: Any) -> Request:
    facts = {"wanted": 8} | facts
    return Request(name=name, tenant=tenant, priority=priority, submitted_at=NOW + timedelta(minutes=minute), **facts)


def limits(total: int | None = None, weights: dict[str, float] | None = None, **by_tenant: int) -> Limits:
    return Limits(total=total, by_tenant=by_tenant, weights=weights or {})


def names(requests: list[Request], live: dict[str, int] | None = None, **weights: float) -> list[str]:
    return [request.name for request in in_order(requests, live or {}, weights)]


# --- the order ------------------------------------------------------------------------------------------------------


def test_priority_comes_before_all_else() -> None:
    requests = [
        ask("low", priority="low"),
        ask("late", priority="high", tenant="rich", minute=9),
        ask("normal", minute=1),
    ]
    assert names(requests, {"rich": 1000}) == ["late", "normal", "low"]


def test_of_one_tenant_the_oldest_comes_first() -> None:
    assert names([ask("c", minute=3), ask("a", minute=5), ask("b", minute=1)]) == ["b", "c", "a"]


def test_the_tenant_with_the_fewest_workers_for_its_weight_comes_first() -> None:
    requests = [ask("one", "art", minute=1), ask("two", "toys", minute=2)]
    assert names(requests, {"art": 10, "toys": 9}) == ["two", "one"]
    assert names(requests, {"art": 10, "toys": 9}, art=2.0) == ["one", "two"]
    assert names(requests, {"art": 10, "toys": 10}) == ["one", "two"], "and among equals who asked first"


def test_tenants_take_turns_however_many_runs_one_of_them_has() -> None:
    crowd = [ask(f"art-{n}", "art", minute=n) for n in range(4)]
    few = [ask(f"toys-{n}", "toys", minute=100 + n) for n in range(2)]
    assert names([*crowd, *few]) == ["art-0", "toys-0", "art-1", "toys-1", "art-2", "art-3"]


def test_a_tenant_of_twice_the_weight_gets_two_turns_for_one() -> None:
    requests = [ask(f"{t}-{n}", t, minute=n) for t in ("art", "toys") for n in range(6)]
    first = names(requests, art=2.0)[:9]
    assert Counter(name.partition("-")[0] for name in first) == {"art": 6, "toys": 3}


# --- caps -----------------------------------------------------------------------------------------------------------


def test_without_caps_everybody_gets_what_it_wants() -> None:
    turns = admit([ask("a"), ask("b", wanted=1000)], {}, limits())
    assert {name: turn.workers for name, turn in turns.items()} == {"a": 8, "b": 1000}


def test_a_run_gets_what_is_left_of_its_tenants_cap_and_the_next_waits() -> None:
    requests = [ask("big", "art", wanted=50), ask("small", "art", wanted=1, minute=1), ask("other", "toys", minute=2)]
    turns = admit(requests, {"art": 20}, limits(art=30))
    assert {name: turn.workers for name, turn in turns.items()} == {"other": 8, "big": 10, "small": 0}
    assert turns["small"].waiting_because == "CapReached: tenant art uses 30 of its 30 workers"


def test_what_is_left_of_the_cap_of_all_is_for_who_comes_first() -> None:
    requests = [ask("a", "art"), ask("b", "toys"), ask("c", "art", minute=1)]
    turns = admit(requests, {"toys": 1}, limits(total=12))
    assert {name: turn.workers for name, turn in turns.items()} == {"a": 8, "b": 3, "c": 0}
    assert turns["c"].waiting_because == "CapReached: 12 of 12 workers are in use"


def test_who_waits_is_told_how_many_are_before_it() -> None:
    requests = [ask(f"run-{n}", "art", minute=n) for n in range(4)]
    turns = admit(requests, {"art": 50}, limits(art=50))
    assert [turn.waiting_because for turn in turns.values()] == [
        "CapReached: tenant art uses 50 of its 50 workers",
        "CapReached: tenant art uses 50 of its 50 workers; 1 run is before it",
        "CapReached: tenant art uses 50 of its 50 workers; 2 runs are before it",
        "CapReached: tenant art uses 50 of its 50 workers; 3 runs are before it",
    ]


def test_nobody_passes_a_run_that_needs_more_than_is_left_at_the_same_cap() -> None:
    whole = ask("whole", "art", wanted=20, fewest=20)
    requests = [whole, ask("small", "art", wanted=1, minute=1), ask("other", "toys", wanted=1, minute=2)]
    turns = admit(requests, {"art": 5}, limits(art=20))
    assert turns["whole"].waiting_because == (
        "CapReached: tenant art uses 5 of its 20 workers, and this run begins with 20"
    )
    assert turns["small"].workers == 0
    assert turns["other"].workers == 1, "it is at another cap"
    turns = admit(requests, {"art": 5}, limits(total=20))
    assert turns["other"].workers == 1, "its tenant has fewer workers, so it came first"
    assert turns["small"].workers == 0
    assert admit(requests, {}, limits(art=20))["whole"].workers == 20


def test_a_run_that_needs_more_than_there_will_ever_be_begins_with_all_there_is() -> None:
    assert admit([ask("whole", "art", wanted=80, fewest=80)], {}, limits(art=20))["whole"].workers == 20
    assert admit([ask("whole", wanted=80, fewest=80)], {}, limits(total=30))["whole"].workers == 30


def test_a_job_that_began_with_few_workers_grows_before_younger_runs_begin() -> None:
    requests = [ask("old", "art", wanted=8, has=2), ask("new", "art", minute=1), ask("urgent", "art", priority="high")]
    turns = admit(requests, {"art": 2}, limits(art=12))
    assert {name: turn.workers for name, turn in turns.items()} == {"urgent": 8, "old": 4, "new": 0}
    assert turns["new"].waiting_because.endswith("12 of its 12 workers"), "who grows is not before it in the queue"


REQUESTS = st.lists(
    st.builds(
        ask,
        st.text("abcdef", min_size=1, max_size=4),
        st.sampled_from(["", "art", "toys"]),
        priority=st.sampled_from(["low", "normal", "high"]),
        minute=st.integers(0, 5),
        wanted=st.integers(1, 60),
        fewest=st.integers(1, 60),
    ),
    unique_by=lambda r: r.name,
    max_size=12,
)
LIVE = st.dictionaries(st.sampled_from(["", "art", "toys"]), st.integers(0, 40))
LIMITS = st.builds(
    limits,
    st.none() | st.integers(1, 100),
    art=st.integers(1, 50),
    weights=st.just({"toys": 3.0}),
)


@given(REQUESTS, LIVE, LIMITS)
def test_no_cap_is_ever_passed_and_whoever_waits_is_told_why(
    requests: list[Request], live: dict[str, int], caps: Limits
) -> None:
    turns = admit(requests, live, caps)
    assert set(turns) == {r.name for r in requests}
    given_to: Counter[str] = Counter()
    for request in requests:
        turn = turns[request.name]
        assert 0 <= turn.workers <= request.wanted
        assert bool(turn.workers) != bool(turn.waiting_because)
        given_to[request.tenant] += turn.workers
    for tenant, cap in caps.by_tenant.items():
        assert live.get(tenant, 0) + given_to[tenant] <= max(cap, live.get(tenant, 0))
    if caps.total is not None:
        assert sum(live.values()) + given_to.total() <= max(caps.total, sum(live.values()))


@given(REQUESTS, LIMITS)
def test_everybody_is_served_in_the_end(requests: list[Request], caps: Limits) -> None:
    waiting, rounds = list(requests), 0
    while waiting:
        turns = admit(waiting, {}, caps)
        served = [r for r in waiting if turns[r.name].workers]
        first = next(iter(in_order(waiting, {}, caps.weights)))
        assert first in served, "with nobody at work the first in the order begins"
        waiting = [r for r in waiting if r not in served]
        rounds += 1
    assert rounds <= len(requests)


# --- the gate -------------------------------------------------------------------------------------------------------


def begun(gate: Gate, live: dict[str, int] | None = None, *growing: Request) -> dict[str, int]:
    return gate.begin(live or {}, growing, still_waits=lambda _: True)


def test_the_gate_remembers_who_waits_and_lets_the_first_of_them_in_when_there_is_room() -> None:
    gate = Gate(limits(total=8))
    begun(gate)
    assert gate.ask(ask("a")).workers == 8
    assert gate.ask(ask("b", minute=2)).workers == 0
    assert gate.ask(ask("c", minute=1)).waiting_because == "CapReached: 8 of 8 workers are in use"
    begun(gate, {"": 8})
    assert gate.ask(ask("b", minute=2)).waiting_because.endswith("; 1 run is before it")
    assert (gate.holds("b"), gate.is_next("b")) == (True, False)
    begun(gate)
    assert (gate.is_next("c"), gate.holds("b")) == (True, True)
    assert gate.ask(ask("b", minute=2)).workers == 0, "it is not its turn, although it is asked about first"
    assert gate.ask(ask("c", minute=1)).workers == 8


def test_a_run_that_wants_no_job_any_more_keeps_nobody_waiting() -> None:
    gate = Gate(limits(total=8))
    begun(gate, {"": 8})
    for name in ("cancelled", "deleted", "third"):
        gate.ask(ask(name))
    gate.withdraw("cancelled")
    gate.begin({}, [], still_waits=lambda name: name != "deleted")
    assert gate.is_next("third")


def test_what_grows_is_taken_from_what_is_left() -> None:
    gate = Gate(limits(total=8))
    begun(gate, {"": 6})
    gate.ask(ask("new", wanted=9, fewest=9, minute=1))
    assert begun(gate, {"": 6}, ask("old", wanted=8, has=6)) == {"old": 8}
    assert gate.live == {"": 8}
    assert gate.holds("new")


def test_without_caps_the_gate_is_open_and_changes_no_job() -> None:
    gate = Gate(limits())
    assert begun(gate, {"": 6}, ask("old", wanted=8, has=6)) == {}, "a hand may have made it smaller"
    assert gate.ask(ask("a", wanted=700)).workers == 700


def test_a_newcomer_that_comes_before_who_waits_takes_its_turn() -> None:
    gate = Gate(limits(total=8))
    begun(gate, {"": 8})
    gate.ask(ask("waits"))
    begun(gate)
    assert gate.is_next("waits")
    assert gate.ask(ask("urgent", priority="high")).workers == 8
    assert gate.holds("waits")
    assert gate.ask(ask("waits")).workers == 0


@pytest.mark.parametrize("crowd", ["art", "toys"])
def test_a_long_queue_is_ordered_once_a_tick_and_not_once_a_question(
    crowd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def counted(requests: Iterable[Request], *facts: Any) -> dict[str, Turn]:
        known = list(requests)
        sizes.append(len(known))
        return admit(known, *facts)

    monkeypatch.setattr(gates, "admit", counted)
    gate = Gate(limits(art=1))
    begun(gate, {"art": 1})
    many = [ask(f"{n:04d}", "art", minute=n) for n in range(1000)]
    for request in many:
        gate.ask(request)
    begun(gate, {"art": 1})
    sizes.clear()
    for request in many:
        assert gate.holds(request.name)
        gate.ask(request)
    for n in range(100):
        gate.ask(ask(f"new-{n}", crowd))
    assert max(sizes) <= 100, "those that wait at a full cap are not looked at again"
