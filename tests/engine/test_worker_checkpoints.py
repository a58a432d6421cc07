"""A worker that is ended in the middle, and the attempt after it, with an engine that is a script."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import structlog

from stylefleet import optimizing
from stylefleet.errors import StoreUnavailable
from stylefleet.naming import Ref, checkpoint_key
from stylefleet.stopping import Stop, Stopped
from tests.engine.scripted import STEPS, World, scripted
from tests.mortal_store import Killed


@pytest.fixture
def world() -> Iterator[World]:
    with scripted(World()) as world:
        yield world


def test_a_batch_that_is_done_in_time_has_no_checkpoint_and_asks_for_no_deletion_of_one(world: World) -> None:
    world.picture(10, 20)
    deleted: list[str] = []
    world.store.before = lambda method, ref: deleted.append(ref.key) if method == "delete" else None  # type: ignore[attr-defined]
    world.run()
    assert world.begun == [([10, 20], 0)]
    assert {shade: r.outcome for shade, r in world.receipts().items()} == {10: "done", 20: "done"}
    assert [key for key in world.store.puts if key.startswith("checkpoints/")] == []
    assert [key for key in deleted if key.startswith("checkpoints/")] == []


def test_a_checkpoint_is_written_whenever_two_minutes_have_passed(world: World) -> None:
    world.picture(10, 20)
    seen: list[tuple[int, dict[int, int]]] = []

    def at_step(step: int) -> None:
        seen.append((step, world.checkpoints()))
        world.now += timedelta(seconds=60)

    world.at_step = at_step
    world.run()
    # The engine goes on, and the clock with it, after the worker has looked at an iterate.
    two, four = {10: 3, 20: 3}, {10: 5, 20: 5}
    assert seen == [(1, {}), (2, {}), (3, two), (4, two), (5, four), (6, four)][: len(seen)]
    assert len(seen) >= STEPS - 1
    assert world.checkpoints() == {}, "deleted when the receipts are there"


@pytest.mark.parametrize(("seconds_to_write", "written"), [(0, 2), (10, 1)])
def test_where_a_checkpoint_takes_long_to_write_the_next_comes_later(
    world: World, seconds_to_write: int, written: int
) -> None:
    world.picture(10)
    world.at_step = lambda _step: setattr(world, "now", world.now + timedelta(seconds=60))

    def slow(method: str, ref: object) -> None:
        if method == "put" and str(ref).startswith("s3://service/checkpoints/"):
            world.now += timedelta(seconds=seconds_to_write)

    world.store.before = slow
    world.run()
    assert len([key for key in world.store.puts if key.startswith("checkpoints/")]) == written


def test_the_checkpoint_is_deleted_after_the_receipt_is_written(world: World) -> None:
    world.picture(10)
    world.put_checkpoint(10, 2)
    order: list[str] = []
    world.store.before = lambda method, ref: order.append(f"{method} {ref.key}")  # type: ignore[attr-defined]
    world.run()
    changes = [entry for entry in order if not entry.startswith(("get", "list"))]
    parts = ("attempts/", "restyled/", "/receipts/", "checkpoints/", "attempts/", "/done/")
    methods = ("put", "put", "put", "delete", "delete", "put")
    assert len(changes) == len(parts), changes
    for change, method, part in zip(changes, methods, parts, strict=True):
        assert (change.split()[0], part in change) == (method, True), changes


def test_a_worker_that_is_told_to_end_keeps_its_place_and_the_next_attempt_goes_on_from_there(world: World) -> None:
    world.picture(10, 20)
    world.stop_at(2)
    with pytest.raises(Stopped):
        world.run()
    assert world.receipts() == {}
    assert world.checkpoints() == {10: 3, 20: 3}
    world.stop = Stop()
    world.at_step = lambda _step: None
    world.run("attempt-2")
    assert world.begun == [([10, 20], 0), ([10, 20], 3)]
    assert {shade: (r.attempt, r.iterations) for shade, r in world.receipts().items()} == {
        10: ("attempt-2", STEPS * 10 + 10),
        20: ("attempt-2", STEPS * 10 + 20),
    }
    assert world.checkpoints() == {}


def test_a_worker_that_is_killed_loses_the_steps_since_the_last_checkpoint(world: World) -> None:
    world.picture(10)

    def at_step(step: int) -> None:
        if step == 4:
            raise Killed
        world.now += timedelta(seconds=130)

    world.at_step = at_step
    with pytest.raises(Killed):
        world.run()
    assert world.receipts() == {}
    world.at_step = lambda _step: None
    world.run("attempt-2")
    assert world.begun == [([10], 0), ([10], 4)]
    assert world.receipts()[10].attempt == "attempt-2"


def test_a_stage_whose_checkpoint_would_not_fit_into_memory_has_none_and_the_place_before_it_stays(
    world: World,
) -> None:
    world.picture(10)
    world.stage_at = lambda step: (1000, 1500) if step < 4 else (2000, 3000)

    def at_step(step: int) -> None:
        world.now += timedelta(seconds=130)
        if step == 4:
            world.stop.tell()

    world.at_step = at_step
    with pytest.raises(Stopped):
        world.run()
    assert world.checkpoints() == {10: 3}


def test_the_place_before_a_stage_without_checkpoints_is_saved_whatever_the_time(world: World) -> None:
    """On a fast machine the smaller stages are over long before a checkpoint would be due."""
    world.picture(10)
    world.stage_at = lambda step: (1000, 1500) if step < 4 else (2000, 3000)
    world.at_step = lambda step: world.stop.tell() if step == 4 else None
    with pytest.raises(Stopped):
        world.run()
    assert world.checkpoints() == {10: 3}


def test_a_worker_that_was_told_to_end_before_a_batch_begins_none(world: World) -> None:
    world.picture(10)
    world.stop.tell()
    with pytest.raises(Stopped):
        world.run()
    assert (world.begun, world.receipts(), world.checkpoints()) == ([], {}, {})


def test_only_pictures_at_one_position_go_on_together(world: World) -> None:
    world.picture(10, 20, 30, 40, 50)
    for shade, step in ((10, 2), (20, 4), (40, 2)):
        world.put_checkpoint(shade, step)
    world.run()
    assert sorted(world.begun) == [([10, 40], 2), ([20], 4), ([30, 50], 0)]
    assert set(world.receipts()) == {10, 20, 30, 40, 50}


@pytest.mark.parametrize("data", [b"", b"damaged"])
def test_a_picture_with_a_damaged_checkpoint_starts_anew(world: World, data: bytes) -> None:
    world.picture(10, 20)
    world.put_checkpoint(10, 0, data)
    world.run()
    assert world.begun == [([10, 20], 0)]
    assert {r.outcome for r in world.receipts().values()} == {"done"}
    assert list(world.memory.list(Ref("service", "checkpoints/"))) == []


def test_pictures_with_checkpoints_that_the_engine_cannot_use_start_anew(world: World) -> None:
    world.picture(10, 20)
    world.put_checkpoint(10, 3)
    world.put_checkpoint(20, 3)
    world.unfit = True
    world.run()
    assert world.begun == [([10, 20], 0)]
    assert {shade: r.outcome for shade, r in world.receipts().items()} == {10: "done", 20: "done"}


def test_only_the_shards_own_tasks_without_receipt_are_asked_for_a_checkpoint(world: World) -> None:
    world.picture(10)
    world.run()
    world.picture(20)
    world.put_checkpoint(20, 3)
    asked: list[tuple[str, str]] = []
    world.store.before = lambda method, ref: asked.append((method, ref.key))  # type: ignore[attr-defined]
    world.run("attempt-2")
    of_checkpoints = {entry for entry in asked if entry[1].startswith("checkpoints/")}
    key = checkpoint_key(world.tasks[20].task_id)
    assert of_checkpoints == {("get", key), ("delete", key)}


def test_a_store_that_takes_no_checkpoint_costs_no_picture(world: World) -> None:
    world.picture(10)

    def full(method: str, ref: object) -> None:
        if method == "put" and str(ref).startswith("s3://service/checkpoints/"):
            raise StoreUnavailable("no room")

    world.store.before = full
    world.at_step = lambda _step: setattr(world, "now", world.now + timedelta(seconds=200))
    world.run()
    assert world.receipts()[10].outcome == "done"


def test_a_picture_that_is_finished_is_stored_while_the_others_go_on(world: World) -> None:
    world.picture(10, 20)
    world.finishes = {10: 2}
    stored_at: list[int] = []

    def at_step(step: int) -> None:
        if step == 3:
            deadline = time.monotonic() + 30
            while not stored_at and time.monotonic() < deadline:
                if any(o.ref.key.endswith("/10.png") for o in world.memory.list(Ref("shop", "restyled/"))):
                    stored_at.append(step)

    world.at_step = at_step
    world.run()
    assert stored_at == [3]
    receipts = world.receipts()
    assert {shade: (r.iterations, r.batch) for shade, r in receipts.items()} == {10: (30, 2), 20: (STEPS * 10 + 20, 2)}
    assert receipts[10].stage_seconds["optimize"] < receipts[20].stage_seconds["optimize"]


def test_what_was_finished_before_the_worker_was_told_to_end_has_its_receipt(world: World) -> None:
    world.picture(10, 20)
    world.finishes = {10: 2}
    world.stop_at(3)
    with pytest.raises(Stopped):
        world.run()
    assert set(world.receipts()) == {10}
    assert world.checkpoints() == {20: 4}
    assert checkpoint_key(world.tasks[10].task_id) not in world.store.puts
    world.stop = Stop()
    world.at_step = lambda _step: None
    world.run("attempt-2")
    assert world.begun == [([10, 20], 0), ([20], 4)]
    assert {shade: r.attempt for shade, r in world.receipts().items()} == {10: "attempt-1", 20: "attempt-2"}


def test_a_worker_that_is_told_to_end_when_all_is_finished_ends_well(world: World) -> None:
    world.picture(10)
    world.stop_at(STEPS - 1)
    world.run()
    assert world.receipts()[10].outcome == "done"
    assert world.checkpoints() == {}


@pytest.fixture
def endless_step(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Step 4 of the engine goes on until the test is over, as a step of many tiles does on a slow machine, where each
    has a slice of its own."""
    over = threading.Event()
    monkeypatch.setattr(optimizing, "STEP_SECONDS", 0.05)
    monkeypatch.setattr(optimizing, "SLICE_SECONDS", 0)

    def at_step(step: int) -> None:
        if step == 3:
            world.stop.tell()
            over.wait()

    world.at_step = at_step
    yield
    over.set()


@pytest.mark.usefixtures("endless_step")
def test_a_step_that_takes_too_long_is_not_waited_for_and_what_was_before_it_is_kept(world: World) -> None:
    world.picture(10, 20)
    world.finishes = {10: 2}
    with pytest.raises(Stopped):
        world.run()
    assert set(world.receipts()) == {10}
    assert world.checkpoints() == {20: 3}


@pytest.mark.usefixtures("endless_step")
def test_receipts_come_before_checkpoints_when_time_is_short(world: World) -> None:
    world.picture(10, 20)
    world.finishes = {10: 2}
    with pytest.raises(Stopped):
        world.run()
    folders = [key.partition("/")[0] for key in world.store.puts]
    assert folders == ["attempts", "restyled", "runs", "attempts", "checkpoints"]


@pytest.mark.usefixtures("endless_step")
def test_a_picture_whose_stage_is_too_large_for_a_checkpoint_keeps_the_place_before_it(world: World) -> None:
    world.picture(10)
    world.stage_at = lambda step: (1000, 1500) if step < 3 else (2000, 3000)
    with pytest.raises(Stopped):
        world.run()
    assert world.checkpoints() == {10: 2}


@pytest.mark.usefixtures("endless_step")
def test_every_picture_that_is_stopped_has_a_line_in_the_log(world: World) -> None:
    world.picture(10, 20)
    with structlog.testing.capture_logs() as lines, pytest.raises(Stopped):
        world.run()
    stopped = [(line["content"], line["steps"]) for line in lines if line["event"] == "picture_stopped"]
    assert stopped == [("s3://shop/catalog/10.png", 40), ("s3://shop/catalog/20.png", 50)]


def test_a_worker_that_is_told_to_end_waits_for_no_picture_of_the_next_batch(world: World) -> None:
    world.picture(10)
    world.picture(20, size=(24, 32))
    over = threading.Event()

    def held(method: str, ref: object) -> None:
        if str(ref) == "s3://shop/catalog/20.png" and method == "get":
            world.stop.tell()
            over.wait()

    world.store.before = held
    with pytest.raises(Stopped):
        world.run()
    assert world.begun == []
    over.set()


def test_results_that_are_stored_when_the_worker_is_told_to_end_have_receipts_and_the_others_cost_only_themselves(
    world: World,
) -> None:
    world.picture(10, 20, 30)
    begun = threading.Barrier(3)

    def storing(method: str, ref: object) -> None:
        if method == "put" and str(ref).startswith("s3://shop/restyled/"):
            begun.wait(60)
            world.stop.tell()
            if str(ref).endswith("/20.png"):
                raise StoreUnavailable("no room")

    world.store.before = storing
    with structlog.testing.capture_logs() as lines, pytest.raises(Stopped):
        world.run()
    assert set(world.receipts()) == {10, 30}
    assert "result_not_stored" in [line["event"] for line in lines]
    world.store.before = lambda *_: None
    world.stop = Stop()
    world.run("attempt-2")
    assert {shade: r.attempt for shade, r in world.receipts().items()} == {
        10: "attempt-1",
        20: "attempt-2",
        30: "attempt-1",
    }
