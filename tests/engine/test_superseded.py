"""A worker whose run is superseded while it is at work: its results would overwrite newer ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from stylefleet import naming, succession
from stylefleet.errors import Superseded
from stylefleet.naming import Ref
from tests.builders import RUN
from tests.engine.scripted import World, scripted

NEWER = "f" * 16


@pytest.fixture
def world() -> Iterator[World]:
    with scripted(World()) as world:
        world.picture(10, 20)
        yield world


def supersede(world: World) -> None:
    succession.hand_over(world.memory, "service", "spring", NEWER, confirm=lambda: None)


def keys(world: World, bucket: str, prefix: str) -> list[str]:
    return [listed.ref.key for listed in world.memory.list(Ref(bucket, prefix))]


def test_it_stores_no_result_and_no_receipt_and_ends_with_the_newer_runs_name(world: World) -> None:
    world.at_step = lambda step: supersede(world) if step == 3 else None
    with pytest.raises(Superseded, match=NEWER):
        world.run()
    assert keys(world, "shop", "restyled/") == []
    assert world.receipts() == {}
    assert keys(world, "service", naming.ATTEMPTS_PREFIX) == [], "it did not die over its pictures"


def test_what_it_has_stored_before_has_its_receipt(world: World) -> None:
    superseded = threading.Event()

    def stored(method: str, ref: object) -> None:
        if (method, ref) == ("put", world.tasks[10].output):
            supersede(world)
            superseded.set()

    world.finishes = {10: 2}
    world.store.after = stored
    world.at_step = lambda step: superseded.wait() and None if step == 4 else None
    with pytest.raises(Superseded):
        world.run()
    assert set(world.receipts()) == {10}


def test_each_result_is_stored_directly_after_a_look_at_who_is_the_newest(world: World) -> None:
    seen: list[tuple[str, str]] = []
    world.store.before = lambda method, ref: seen.append((method, ref.key)) if isinstance(ref, Ref) else None
    world.run()
    results = [number for number, (method, key) in enumerate(seen) if method == "put" and key.startswith("restyled/")]
    looks = [number for number, call in enumerate(seen) if call == ("get", naming.newest_key("spring"))]
    assert len(results) == len(looks) == 2
    assert max(looks) < max(results)


def test_the_newest_run_itself_goes_on(world: World) -> None:
    succession.hand_over(world.memory, "service", "spring", RUN, confirm=lambda: None)
    world.run()
    assert set(world.receipts()) == {10, 20}
