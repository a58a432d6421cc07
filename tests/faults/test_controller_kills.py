"""kill -9 of a controller at every outside call: enumerated, not sampled. And a second controller at every call.

The calls are those of the two edges, store and cluster, reading ones included. A controller is killed by an exception
that nothing catches, before the call takes effect or after it did (its answer is lost with the process); a fresh one
goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from stylefleet.controller import Controller
from tests.faults.interrupted import Interrupted, Killed
from tests.faults.scenarios import SCENARIOS, Scenario, check
from tests.world import World

WHEN = ("before", "after")


def die(_world: World) -> None:
    raise Killed


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_killed_at_any_call_a_controller_loses_nothing_and_does_nothing_twice(scenario: Scenario, when: str) -> None:
    points = 0
    while True:
        life = Interrupted(when=when, number=points + 1, interrupt=die)
        life.play(scenario)
        check(life.world, scenario)
        if not life.happened:
            break
        points += 1
    print(f"{points} points: {scenario.name}, killed {when} the call")
    assert points >= 10


@pytest.mark.parametrize("when", WHEN)
def test_killed_twice_in_a_row_a_controller_loses_nothing_and_does_nothing_twice(when: str) -> None:
    scenario, points, first = SCENARIOS[0], 0, 0
    while True:
        first += 1
        second = 0
        while True:
            second += 1
            life = _killed_twice(when, first, second, scenario)
            check(life.world, scenario)
            if not life.happened:
                break
            points += 1
        if second == 1:
            break  # the story has fewer calls than that
    print(f"{points} pairs of points, killed {when} the call")
    assert points >= 50


def _killed_twice(when: str, first: int, second: int, scenario: Scenario) -> Interrupted:
    """At the changing call number `first`, and of the next controller's at number `second`."""
    again = False

    def twice(_world: World) -> None:
        nonlocal again
        if not again:
            again = True
            life.calls, life.happened, life._number = 0, False, second
        raise Killed

    life = Interrupted(when=when, number=first, changing_only=True, interrupt=twice)
    life.play(scenario)
    return life


def _meanwhile(ticks: int) -> Callable[[World], None]:
    """Another controller, fresh or as old as the first, that ticks within a call of it."""

    def happens(world: World) -> None:
        other: Controller = world.new_controller()
        for _ in range(ticks):
            other.tick()

    return happens


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_with_another_controller_at_work_within_any_call_nothing_is_lost_or_done_twice(
    scenario: Scenario, when: str
) -> None:
    """Without any election: what a leader sent before it fell asleep meets the fences only."""
    points = 0
    while True:
        life = Interrupted(when=when, number=points + 1, interrupt=_meanwhile(2))
        life.play(scenario)
        check(life.world, scenario)
        if not life.happened:
            break
        points += 1
    print(f"{points} points: {scenario.name}, another controller {when} the call")
    assert points >= 10


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.name)
def test_a_controller_that_sleeps_in_any_call_until_the_run_is_over_changes_nothing_when_it_wakes(
    scenario: Scenario, when: str
) -> None:
    """As one that SIGSTOP held for longer than its Lease, and without the election that would end it on waking.

    One thing no fence can stop is a Job that is asked for between the last look and the request; it is gone soon.
    """
    points = 0
    while True:
        sleeper = Sleeper(when=when, number=points + 1, scenario=scenario)
        sleeper.play()
        check(sleeper.world, scenario, jobs_too_many=1)
        if not sleeper.slept:
            break
        points += 1
    print(f"{points} points: {scenario.name}, asleep {when} the call")
    assert points >= 10


class Sleeper:
    """A world in which, at call number `number` of the first controller, another one sees the story to its end."""

    def __init__(self, *, when: str, number: int, scenario: Scenario) -> None:
        self.world = World()
        self._number, self._calls = number, 0
        self._steps = list(scenario.steps) + [()] * (scenario.calm_ticks * 2)
        self.slept = False
        for edge in (self.world.store, self.world.cluster):
            setattr(edge, when, self._hook)

    def _hook(self, _method: str, _subject: object) -> None:
        if self.slept:
            return
        self._calls += 1
        if self._calls == self._number:
            self.slept = True
            self._to_the_end(self.world.new_controller())

    def play(self) -> None:
        self._to_the_end(self.world.controller)
        for _ in range(3):
            self.world.tick()

    def _to_the_end(self, controller: Controller) -> None:
        while self._steps:
            hooks = self.slept
            self.slept = True  # what users and pods do are not the controller's calls
            for happens in self._steps.pop(0):
                happens(self.world)
            self.slept = hooks
            self.world.now += timedelta(seconds=10)
            controller.tick()
