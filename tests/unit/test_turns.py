from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stylefleet.turns import URGENT_MAX, WATCHED_MAX, Candidate, turns


def some(count: int, *, urgent: bool, looked_at: int = 0, prefix: str = "run") -> list[Candidate]:
    return [Candidate(name=f"{prefix}-{n}", urgent=urgent, looked_at=looked_at) for n in range(count)]


def test_few_runs_all_have_their_turn_and_the_urgent_ones_come_first() -> None:
    found = turns([*some(2, urgent=False, prefix="calm"), *some(2, urgent=True)])
    assert found.names == ("run-0", "run-1", "calm-0", "calm-1")
    assert not found.newcomers_left


def test_who_waited_longest_comes_first() -> None:
    candidates = [Candidate(name=str(tick), urgent=False, looked_at=tick) for tick in (5, 3, 9, 0)]
    assert turns(candidates).names == ("0", "3", "5", "9")


def test_newcomers_beyond_a_ticks_work_ask_for_the_next_tick_at_once() -> None:
    found = turns(some(URGENT_MAX + 1, urgent=True))
    assert len(found.names) == URGENT_MAX
    assert found.newcomers_left


def test_runs_that_fail_again_and_again_do_not_ask_for_a_tick_at_once() -> None:
    assert not turns(some(URGENT_MAX + 1, urgent=True, looked_at=7)).newcomers_left


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_ticks_work_is_bounded_and_every_run_has_its_turn_before_any_has_two(urgent: int, calm: int) -> None:
    looked_at = {f"u-{n}": 0 for n in range(urgent)} | {f"c-{n}": 0 for n in range(calm)}
    for tick in range(1, 10):
        chosen = turns(Candidate(name=n, urgent=n[0] == "u", looked_at=at) for n, at in looked_at.items()).names
        assert len(chosen) <= URGENT_MAX + WATCHED_MAX
        looked_at |= dict.fromkeys(chosen, tick)
    for kind, most in (("u", URGENT_MAX), ("c", WATCHED_MAX)):
        ticks = [at for name, at in looked_at.items() if name[0] == kind]
        assert not ticks or min(ticks) > 9 - -(-len(ticks) // most) - 1
