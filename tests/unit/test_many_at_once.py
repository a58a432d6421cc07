"""Many manifests in one look at the inbox: what they cost, and that sharing looks hides nothing from them."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from stylefleet.errors import StoreUnavailable
from stylefleet.naming import Ref
from stylefleet.planner import SHARED_MAX
from stylefleet.status import Phase
from stylefleet.turns import URGENT_MAX
from tests.builders import jpeg_bytes
from tests.world import World

MANY = 50
STYLE = Ref("shop", "styles/waves.jpg")


@pytest.fixture
def world() -> World:
    return World()


def names(count: int = MANY) -> list[str]:
    return [f"spring-{number:03d}" for number in range(count)]


def counted(world: World) -> Counter[str]:
    """Requests from now on, by kind and place; runs and statuses of all names are one place."""
    seen: Counter[str] = Counter()

    def see(method: str, subject: object) -> None:
        key = subject.key if isinstance(subject, Ref) else ""
        seen[f"{method} {key.partition('/')[0]}"] += 1

    world.store.before = see
    return seen


def test_each_of_many_manifests_costs_six_requests_and_what_they_share_is_looked_at_once(world: World) -> None:
    for name in names():
        world.submit(name, run={"parallelism": 1})
    seen = counted(world)
    world.tick()
    assert len(world.cluster.created) == MANY
    per_manifest = {
        "get jobs": 1,
        "list runs": 1,  # whether there was a run before
        "put status": 2,  # being planned; running
        "put runs": 2,  # a shard, the plan
    }
    shared = {"list jobs", "list status", "list styles", "get styles", "list catalog", "list restyled", "get cache"}
    shared |= {"get metrics", "put metrics"}
    assert {kind: n for kind, n in seen.items() if kind not in shared} == {k: n * MANY for k, n in per_manifest.items()}
    assert {kind: n for kind, n in seen.items() if kind in shared} == dict.fromkeys(shared, 1)


def test_a_style_that_vanished_or_changed_since_the_last_look_is_seen_by_the_next_one(world: World) -> None:
    for name in ("a", "b"):
        world.submit(name)
    world.tick()
    etag = world.memory.put(STYLE, jpeg_bytes(99))
    world.submit("c")
    world.tick()
    plans = [world.memory.get(Ref("service", k)).data for k in world.keys("service") if k.startswith("runs/c/")]
    assert any(etag.encode() in data for data in plans)
    world.memory.delete(STYLE)
    for name in ("d", "e"):
        world.submit(name)
    world.tick()
    assert {world.status(name).phase for name in ("d", "e")} == {Phase.REJECTED}
    assert "the style is not there" in world.status("d").message


def test_a_picture_that_came_since_the_last_look_is_planned(world: World) -> None:
    world.submit("a")
    world.tick()
    world.picture("new")
    world.submit("b")
    world.tick()
    assert (world.status("a").pictures, world.status("b").pictures) == (3, 4)


def test_a_folder_of_many_pictures_is_planned_whole_by_all_who_name_it(world: World) -> None:
    for number in range(SHARED_MAX):
        world.picture(f"more-{number:04d}")
    for name in ("a", "b"):
        world.submit(name)
    world.tick()
    assert [world.status(name).pictures for name in ("a", "b")] == [SHARED_MAX + 3] * 2


def test_a_look_that_fails_holds_up_those_who_wait_for_it_and_the_next_tick_goes_on(world: World) -> None:
    for name in names(4):
        world.submit(name)

    def away(method: str, subject: object) -> None:
        if (method, subject) == ("get", STYLE):
            raise StoreUnavailable("503")

    world.store.before = away
    world.tick()
    assert world.cluster.created == []
    world.store.before = lambda *_: None
    world.tick()
    assert len(world.cluster.created) == 4


def test_a_tick_takes_up_so_many_and_says_that_others_wait(world: World) -> None:
    for name in names(URGENT_MAX + 1):
        world.submit(name)
    assert world.controller.tick()
    assert len(world.cluster.created) == URGENT_MAX
    assert not world.controller.tick()
    assert len(world.cluster.created) == URGENT_MAX + 1


def test_a_manifest_that_changed_after_it_was_read_ahead_is_read_again(world: World) -> None:
    for name in names(URGENT_MAX + 2):
        world.submit(name)
    world.controller.tick()
    (late,) = set(names(URGENT_MAX + 2)[-1:])
    world.submit(late, output={"prefix": "s3://shop/newer/"})
    world.tick()
    assert world.status(late).output_prefix == "s3://shop/newer/"


def test_the_inbox_is_looked_at_after_the_jobs_so_that_new_manifests_do_not_wait_for_their_listing(
    world: World,
) -> None:
    def submit_once(method: str, _subject: object) -> None:
        if method == "list_jobs" and not world.cluster.created:
            world.submit()

    world.cluster.before = submit_once
    world.tick()
    assert len(world.cluster.created) == 1


def test_many_manifests_that_are_deleted_at_once_are_ended_side_by_side_and_each_is_told(world: World) -> None:
    for name in names():
        world.submit(name)
    world.tick()
    for name in names():
        world.remove(f"{name}.yaml")
    both_there = threading.Barrier(2)
    world.cluster.before = lambda method, _: both_there.wait(60) and None if method == "delete_job" else None
    world.tick(4)
    assert {world.status(name).phase for name in names()} == {Phase.CANCELLED}
    assert world.cluster.jobs == {}
