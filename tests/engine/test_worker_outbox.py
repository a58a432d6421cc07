"""While the engine has one batch, results and receipts of those before go out: as many as there is room for."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from stylefleet import outbox, worker
from stylefleet.attempts import STOPPED
from stylefleet.errors import StoreUnavailable
from stylefleet.naming import Ref
from stylefleet.stopping import Stop, Stopped
from tests.engine.scripted import World, scripted
from tests.fleet import eventually
from tests.mortal_store import Killed

PATIENCE_SECONDS = 60


@pytest.fixture
def world() -> Iterator[World]:
    with scripted(World()) as world:
        yield world


def shapes(world: World, *shades: int) -> None:
    """Pictures that are batches of their own."""
    for number, shade in enumerate(shades):
        world.picture(shade, size=(16 + 2 * number, 32))


class Held:
    """Puts whose key has a part, kept waiting until the test lets them go."""

    def __init__(self, world: World, part: str) -> None:
        self.part = part
        self.let_go = threading.Event()
        self.held: list[str] = []
        world.store.before = self.hold

    def hold(self, method: str, ref: object) -> None:
        assert isinstance(ref, Ref)
        if method == "put" and self.part in ref.key:
            self.held.append(ref.key)
            assert self.let_go.wait(PATIENCE_SECONDS)


def in_a_thread(world: World) -> threading.Thread:
    thread = threading.Thread(target=world.run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("part", ["restyled/spring/10.png", "/receipts/"])
def test_the_next_batch_is_optimized_while_the_store_takes_its_time(world: World, part: str) -> None:
    shapes(world, 10, 20)
    held = Held(world, part)
    attempt = in_a_thread(world)
    eventually(lambda: len(world.begun) == 2, "the second batch is begun", seconds=PATIENCE_SECONDS)
    assert world.receipts() == {}
    held.let_go.set()
    attempt.join(PATIENCE_SECONDS)
    assert set(world.receipts()) == {10, 20}


@pytest.mark.parametrize("bound", ["PICTURES_MAX", "PIXELS_MAX"])
def test_no_more_batches_are_begun_than_the_store_has_room_for(
    world: World, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    shapes(world, *range(10, 70, 10))
    monkeypatch.setattr(outbox, bound, {"PICTURES_MAX": 2, "PIXELS_MAX": 32 * (16 + 18 + 20) - 1}[bound])
    held = Held(world, "restyled/")
    attempt = in_a_thread(world)
    eventually(lambda: len(held.held) == 2, "two results wait for the store", seconds=PATIENCE_SECONDS)
    attempt.join(0.5)
    assert len(world.begun) == 2
    held.let_go.set()
    attempt.join(PATIENCE_SECONDS)
    assert set(world.receipts()) == set(range(10, 70, 10))


def test_a_picture_that_is_larger_than_the_outbox_is_done_when_that_is_empty(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes(world, 10, 20)
    monkeypatch.setattr(outbox, "PIXELS_MAX", 1)
    world.run()
    assert set(world.receipts()) == {10, 20}
    order = [part for key in world.store.puts for part in ("restyled/", "/receipts/") if part in key]
    assert order == ["restyled/", "/receipts/"] * 2


def test_an_attempt_that_dies_of_what_nobody_foresaw_waits_for_no_result_that_was_called_off(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "KEEPERS", 1)
    world.picture(10, 20)  # one batch: the result of the second picture queues behind that of the first
    world.picture(30, size=(20, 32))
    held = Held(world, "restyled/")

    def at_step(_step: int) -> None:
        if len(world.begun) == 2:
            threading.Timer(0.2, held.let_go.set).start()
            raise Killed

    world.at_step = at_step
    attempt = threading.Thread(target=pytest.raises, args=(Killed, world.run), daemon=True)
    attempt.start()
    attempt.join(PATIENCE_SECONDS)
    assert not attempt.is_alive()


def test_a_batch_has_one_part_of_receipts(world: World) -> None:
    world.picture(10, 20, 30)
    world.finishes = {10: 1, 20: 3}
    world.run()
    assert len([key for key in world.store.puts if "/receipts/" in key]) == 1


def test_a_result_that_the_store_refuses_ends_the_attempt_and_the_others_have_their_receipts(world: World) -> None:
    shapes(world, 10, 20, 30)
    begun = threading.Event()

    def trouble(method: str, ref: object) -> None:
        if method == "put" and str(ref).endswith("/20.png"):
            begun.set()
            raise StoreUnavailable("no room")
        if method == "put" and str(ref).endswith("/10.png"):
            assert begun.wait(PATIENCE_SECONDS)

    world.store.before = trouble
    with pytest.raises(StoreUnavailable, match="no room"):
        world.run()
    assert set(world.receipts()) == {10, 30}
    assert list(world.memory.list(Ref("service", "attempts/"))) == [], "an outage is nobody's fault"
    world.store.before = lambda *_: None
    world.run("attempt-2")
    assert {shade: r.attempt for shade, r in world.receipts().items()} == {
        10: "attempt-1",
        20: "attempt-2",
        30: "attempt-1",
    }


def test_a_part_of_receipts_whose_put_fails_is_written_as_another_part(world: World) -> None:
    """It may be there all the same: a put under its own key would then be refused."""
    world.picture(10)

    def lost(method: str, ref: object) -> None:
        if method == "put" and str(ref).endswith("-00000.jsonl"):
            raise StoreUnavailable("the answer was lost")

    world.store.after = lost
    with pytest.raises(StoreUnavailable):
        world.run()
    parts = [o.ref.key for o in world.memory.list(Ref("service", "runs/"))]
    assert [key[-11:] for key in parts] == ["00000.jsonl", "00001.jsonl"]


def test_told_to_end_the_batch_before_gets_its_receipts_and_the_present_one_its_checkpoint(world: World) -> None:
    shapes(world, 10, 20)
    held = Held(world, "restyled/spring/10.png")

    def at_step(step: int) -> None:
        if len(world.begun) == 2 and step == 3:
            world.stop.tell()
            held.let_go.set()

    world.at_step = at_step
    with pytest.raises(Stopped):
        world.run()
    assert set(world.receipts()) == {10}
    assert world.checkpoints() == {20: 4}
    assert world.notes() == {"attempt-1": STOPPED}


def test_told_to_end_between_two_batches_what_is_on_its_way_gets_its_receipt(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes(world, 10, 20)
    monkeypatch.setattr(outbox, "PICTURES_MAX", 1)
    held = Held(world, "restyled/spring/10.png")
    stop = world.stop = Stop()
    thread = threading.Thread(target=pytest.raises, args=(Stopped, world.run), daemon=True)
    thread.start()
    eventually(lambda: held.held, "the first result waits for the store", seconds=PATIENCE_SECONDS)
    stop.tell()
    held.let_go.set()
    thread.join(PATIENCE_SECONDS)
    assert set(world.receipts()) == {10}
    assert len(world.begun) == 1
