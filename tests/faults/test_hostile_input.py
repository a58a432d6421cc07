"""Damaged and hostile manifests and pictures: refused with their own error, and in nobody's way."""

from __future__ import annotations

import pytest

from stylefleet.inbox_reader import RANGE_OBJECTS
from stylefleet.naming import Ref
from stylefleet.status import Phase
from stylefleet.turns import URGENT_MAX
from tests.builders import manifest_bytes
from tests.faults import fuzz
from tests.world import World

CASES = {"manifests": 6000, "pictures": 6000}
MALFORMED = 10_000


@pytest.mark.parametrize("subject", fuzz.SUBJECTS)
@pytest.mark.filterwarnings("ignore")  # Pillow warns of damage that it bears
def test_whatever_is_damaged_is_read_or_refused_and_nothing_else(subject: str) -> None:
    outcomes = fuzz.run(subject, CASES[subject], seed=20260301)
    print(f"{subject}: {outcomes.total()} cases: {dict(outcomes)}")
    assert outcomes["refused"] > CASES[subject] // 10
    assert outcomes["read"] > 10


@pytest.mark.parametrize("data", fuzz.HOSTILE_MANIFESTS, ids=range(len(fuzz.HOSTILE_MANIFESTS)))
def test_a_hostile_manifest_is_refused(data: bytes) -> None:
    assert fuzz.read_manifest(data) == "refused"


def test_ten_thousand_malformed_manifests_are_each_refused_once_and_a_good_one_among_them_is_carried_out() -> None:
    world = World()
    for number in range(MALFORMED):
        world.put(f"bad-{number:05d}.yaml", b"kind: [" + str(number).encode())
    world.submit("good")
    ticks = 0
    while world.controller.tick():
        ticks += 1
    assert ticks <= (MALFORMED + 1) // URGENT_MAX + 1
    assert world.status("good").phase is Phase.RUNNING
    rejected = [key for key in world.keys("service") if key.startswith("status/bad-")]
    assert len(rejected) == MALFORMED
    assert world.status("bad-00007").phase is Phase.REJECTED
    world.work_to_the_end("good")
    assert world.status("good").phase is Phase.SUCCEEDED
    calls: list[str] = []
    world.store.before = lambda method, _: calls.append(method)
    world.tick()
    assert set(calls) == {"list"}
    assert len(calls) <= MALFORMED // RANGE_OBJECTS + 1


def test_names_that_are_shortened_alike_and_put_in_one_second_are_two_runs_with_two_jobs() -> None:
    world = World()
    names = [f"{'spring-catalog-of-the-shop-in-the-market-square-by-the-river'[:60]}-{n}" for n in (1, 2)]
    for name in names:
        world.memory.put(Ref("service", f"jobs/{name}.yaml"), manifest_bytes(name))
    world.tick()
    assert len(set(world.cluster.created)) == 2
    for name in names:
        world.cluster.work(name=name)
        world.cluster.finish(name=name)
    world.tick(2)
    assert [world.status(name).phase for name in names] == [Phase.SUCCEEDED] * 2
    assert len({world.status(name).output_prefix for name in names}) == 2
