"""What the receipts of an attempt say of the attempt: its time, the style cache, and who ended before it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from stylefleet import worker
from stylefleet.attempts import note_to_json
from stylefleet.errors import StoreUnavailable
from stylefleet.looks import LoadFailed
from stylefleet.naming import Ref, attempt_key
from stylefleet.receipt import AttemptStart, Receipt
from stylefleet.stopping import Stop, Stopped
from tests.engine.scripted import World, scripted
from tests.mortal_store import Killed, MortalStore


@pytest.fixture
def world() -> Iterator[World]:
    with scripted(World()) as world:
        yield world


def start(*, died: int = 0, stopped: int = 0) -> AttemptStart:
    """With the lookups of the scripted engine."""
    return AttemptStart(style_hits=2, style_misses=1, died=died, stopped=stopped)


def starts(world: World) -> list[AttemptStart]:
    return [r.start for r in world.receipts().values() if r.start is not None]


def by_part(world: World) -> list[list[Receipt]]:
    """Receipts that were written together have the same share of the time."""
    parts: dict[tuple[str, float], list[Receipt]] = {}
    for one in world.receipts().values():
        parts.setdefault((one.attempt, one.worker_seconds), []).append(one)
    return list(parts.values())


def test_all_receipts_of_an_attempt_add_up_to_its_time_and_those_of_one_part_share_it(world: World) -> None:
    world.picture(10, 20)
    world.picture(30, size=(20, 32))
    world.at_step = lambda _step: setattr(world, "now", world.now + timedelta(seconds=7))
    world.run()
    receipts = world.receipts()
    assert sum(r.worker_seconds for r in receipts.values()) == world.seconds() > 0
    assert receipts[10].worker_seconds == receipts[20].worker_seconds
    assert len(by_part(world)) == 2


def test_the_time_counts_from_when_the_process_set_out_and_again_from_there_in_the_next_attempt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = worker.load

    def load(*arguments: object) -> object:
        world.now += timedelta(seconds=40)
        return loaded(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "load", load)
    world.picture(10)
    world.run(began=-3.0)
    assert world.receipts()[10].worker_seconds == 43.0
    world.picture(20)
    world.now += timedelta(hours=1)  # between two attempts is nobody's time
    world.run("attempt-2")
    assert world.receipts()[20].worker_seconds == 40.0


def test_the_first_receipt_of_an_attempt_and_no_other_says_what_it_met(world: World) -> None:
    world.picture(10, 20)
    world.picture(30, size=(20, 32))
    world.run()
    assert starts(world) == [start()]


def test_a_death_is_told_by_the_first_attempt_that_writes_receipts_and_by_no_other(world: World) -> None:
    world.picture(10, 20)
    world.picture(30, size=(20, 32))

    def die(at_batch: int) -> None:
        world.store = MortalStore(world.memory)  # type: ignore[assignment]
        world.begun.clear()
        world.at_step = lambda step: world.store.die() if (len(world.begun), step) == (at_batch, 2) else None  # type: ignore[attr-defined]

    for attempt, at_batch in (("attempt-1", 1), ("attempt-2", 1), ("attempt-3", 2)):
        die(at_batch)
        with pytest.raises(Killed):
            world.run(attempt)
    assert starts(world) == [start(died=2)]
    world.store, world.at_step = MortalStore(world.memory), lambda _step: None  # type: ignore[assignment]
    world.run("attempt-4")
    assert sorted((r.attempt, r.start) for r in world.receipts().values() if r.start) == [
        ("attempt-3", start(died=2)),
        ("attempt-4", start(died=1)),
    ]


def test_an_attempt_that_was_told_to_end_is_told_as_that_and_the_next_one_makes_full_batches(world: World) -> None:
    world.picture(*range(10, 18))
    world.stop_at(2)
    with pytest.raises(Stopped):
        world.run()
    world.stop, world.at_step = Stop(), lambda _step: None
    world.run("attempt-2")
    assert starts(world) == [start(stopped=1)]
    assert [len(shades) for shades, _ in world.begun] == [8, 8]
    assert world.notes() == {}


def test_what_is_refused_at_once_is_written_when_it_is_known_what_was_looked_up(world: World) -> None:
    world.picture(10, 20)
    alone = worker.Note(task_ids=frozenset({world.tasks[10].task_id}), alone=True)
    for name in ("attempt-1", "attempt-2"):
        world.memory.put(Ref("service", attempt_key("spring", "0123456789abcdef", 0, name)), note_to_json(alone))
    world.run("attempt-3")
    assert world.receipts()[10].reason == "killed_worker"
    assert starts(world) == [start(died=2)]


def test_an_attempt_that_cannot_load_says_what_it_met_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise LoadFailed("style_invalid", StoreUnavailable("no style"))

    monkeypatch.setattr(worker, "load", load)
    world.picture(10, 20)
    world.run()
    assert {r.reason for r in world.receipts().values()} == {"style_invalid"}
    assert starts(world) == [AttemptStart(style_hits=0, style_misses=0, died=0, stopped=0)]


def test_where_the_first_part_may_have_been_written_the_next_says_it_of_the_same_picture(world: World) -> None:
    """Of two receipts of one picture one counts, so what it says counts once."""
    world.picture(10)
    world.picture(20, size=(20, 32))

    def lost(method: str, ref: object) -> None:
        if method == "put" and str(ref).endswith("-00000.jsonl"):
            raise StoreUnavailable("the answer was lost")

    world.store.after = lost
    with pytest.raises(StoreUnavailable):
        world.run()
    said = [r.content for r in world.all_receipts() if r.start is not None]
    assert len(said) == 2
    assert len(set(said)) == 1
