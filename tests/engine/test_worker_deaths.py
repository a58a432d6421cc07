"""An attempt that dies says nothing, but leaves a note of what it had in its hands: the next ones go by it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from stylefleet import patience
from stylefleet.attempts import STOPPED, Note, note_from_json, note_to_json
from stylefleet.errors import PreconditionFailed, StepHung, StoreUnavailable
from stylefleet.jobs import RETRIES_PER_INDEX
from stylefleet.naming import Ref, attempt_key, checkpoint_key
from stylefleet.stopping import Stop, Stopped
from tests.engine.scripted import World, scripted
from tests.mortal_store import Killed, MortalStore, Point


@pytest.fixture
def world() -> Iterator[World]:
    with scripted(World()) as world:
        yield world


class OutOfMemory(Exception):
    """Nobody foresees it: what a GPU's driver raises, or a bug."""


def over(world: World, shade: int, error: type[BaseException]) -> Callable[[int], None]:
    """At its second step, whatever batch has the picture in it ends like this."""

    def at_step(step: int) -> None:
        if step == 2 and shade in world.begun[-1][0]:
            raise error

    return at_step


def attempts(world: World, count: int) -> list[str]:
    """How so many attempts end; each is another process."""
    ends = []
    for number in range(1, count + 1):
        world.store = MortalStore(world.memory)  # type: ignore[assignment]
        world.stop = Stop()
        try:
            world.run(f"attempt-{number}")
        except (Killed, OutOfMemory) as error:
            ends.append(type(error).__name__)
        else:
            ends.append("")
    return ends


@pytest.mark.parametrize("error", [Killed, OutOfMemory])
def test_a_picture_that_ends_every_attempt_is_refused_in_the_last_and_all_others_are_done(
    world: World, error: type[BaseException]
) -> None:
    world.picture(10, 20, 30)
    world.at_step = over(world, 20, error)
    name = error.__name__
    assert attempts(world, RETRIES_PER_INDEX + 1) == [name] * RETRIES_PER_INDEX + [""]
    assert {shade: r.reason for shade, r in world.receipts().items()} == {10: "", 20: "killed_worker", 30: ""}
    assert "STYLEFLEET_WORKER_MEMORY" in world.receipts()[20].message
    assert [shades for shades, _ in world.begun] == [[10, 20, 30], [10], [20], [30], [20]]
    assert world.notes() == {}, "the shard is done: nobody needs to know any more"


def test_a_batch_that_is_too_large_for_the_machine_is_done_in_smaller_ones(world: World) -> None:
    world.picture(10, 20, 30, 40, 50)

    def at_step(_step: int) -> None:
        if len(world.begun[-1][0]) > 2:
            raise Killed

    world.at_step = at_step
    assert attempts(world, 2) == ["Killed", ""]
    assert {r.outcome for r in world.receipts().values()} == {"done"}


def test_what_was_in_no_dead_attempts_hands_is_optimized_in_batches_of_half_the_size(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stylefleet.batches.WINDOW", 8)
    world.picture(*range(10, 34))
    world.at_step = over(world, 10, Killed)
    assert attempts(world, 1) == ["Killed"]
    world.at_step = lambda _step: None
    world.begun.clear()
    assert attempts(world, 1) == [""]
    first, second = list(range(26, 30)), list(range(30, 34))
    assert [shades for shades, _ in world.begun[:2]] == [first, second]
    assert [shades for shades, _ in world.begun[2:]] == [[shade] for shade in range(10, 26)]


def test_a_picture_that_kills_whoever_decodes_it_is_found_out_as_well(world: World) -> None:
    world.picture(10, 20)
    poison = world.tasks[20].content

    class Poisoned(MortalStore):
        def get(self, ref: Ref, *, if_match: str | None = None) -> object:  # type: ignore[override]
            if ref == poison:
                self.die()
            return super().get(ref, if_match=if_match)

    ends = []
    for number in range(1, RETRIES_PER_INDEX + 2):
        world.store = Poisoned(world.memory)  # type: ignore[assignment]
        try:
            world.run(f"attempt-{number}")
        except Killed:
            ends.append(number)
    assert ends == [1, 2, 3]
    assert {shade: r.reason for shade, r in world.receipts().items()} == {10: "", 20: "killed_worker"}


def test_nothing_is_touched_before_the_note_is_there(world: World) -> None:
    world.picture(10, 20)
    touched, touched_before = threading.Event(), []

    def slow(method: str, ref: object) -> None:
        if str(ref).startswith("s3://shop/"):
            touched.set()
        elif method == "put" and str(ref).startswith("s3://service/attempts/"):
            touched_before.append(touched.wait(0.3))

    world.store.before = slow
    world.run()
    assert touched_before == [False]
    assert touched.is_set()


def test_a_picture_that_is_alone_has_a_note_of_its_own(world: World) -> None:
    world.picture(10, 20, 30)
    died = Note(task_ids=frozenset(world.tasks[shade].task_id for shade in (20, 30)), alone=False)
    world.memory.put(Ref("service", attempt_key("spring", "0123456789abcdef", 0, "attempt-0")), note_to_json(died))
    own = Ref("service", attempt_key("spring", "0123456789abcdef", 0, "attempt-1"))
    written: list[tuple[set[int], bool]] = []

    def seen(method: str, ref: object) -> None:
        if method == "put" and ref == own:
            note = note_from_json(world.memory.get(own).data)
            shades = {shade for shade, task in world.tasks.items() if task.task_id in note.task_ids}
            written.append((shades, note.alone))

    world.store.after = seen
    world.run()
    assert written == [({10}, False), ({20}, True), ({30}, True)]


def told_to_end(world: World) -> None:
    world.stop.tell()


def outage(_world: World) -> None:
    raise StoreUnavailable("down for a while")


def conflict(_world: World) -> None:
    raise PreconditionFailed("somebody else wrote first")


@pytest.mark.parametrize(("what", "left"), [(told_to_end, {"attempt-1": STOPPED}), (outage, {}), (conflict, {})])
def test_an_attempt_that_ends_and_does_not_die_takes_its_note_back(
    world: World, what: Callable[[World], None], left: dict[str, Note]
) -> None:
    world.picture(10, 20)
    world.at_step = lambda step: what(world) if step == 2 else None
    with pytest.raises((Stopped, StoreUnavailable, PreconditionFailed)):
        world.run()
    assert world.notes() == left
    world.at_step, world.stop = lambda _step: None, Stop()
    world.run("attempt-2")
    assert [shades for shades, _ in world.begun] == [[10, 20], [10, 20]]
    assert world.notes() == {}, "the shard is done: who was told to end is in a receipt"


def test_told_to_end_while_it_loads_it_takes_its_note_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.picture(10)
    let_go = threading.Event()

    def load(*_: object) -> None:
        world.stop.tell()
        let_go.wait(60)

    monkeypatch.setattr("stylefleet.worker.load", load)
    with pytest.raises(Stopped):
        world.run()
    let_go.set()
    assert world.notes() == {"attempt-1": STOPPED}


def test_a_note_that_cannot_be_read_counts_as_a_death_over_nobody_knows_what(world: World) -> None:
    world.picture(*range(10, 18))
    key = attempt_key("spring", "0123456789abcdef", 0, "attempt-0")
    world.memory.put(Ref("service", key), b"damaged")
    world.run()
    assert [len(shades) for shades, _ in world.begun] == [4, 4]
    assert world.notes() == {}


def test_the_checkpoint_that_a_dead_attempt_could_not_delete_any_more_is_deleted_by_the_next(world: World) -> None:
    world.picture(10, 20)
    world.put_checkpoint(10, 2)
    checkpoint = Ref("service", checkpoint_key(world.tasks[10].task_id))
    world.store = MortalStore(world.memory, Point("delete", checkpoint, 1, after=False))  # type: ignore[assignment]
    with pytest.raises(Killed):
        world.run()
    assert set(world.receipts()) == {10}
    assert world.checkpoints() == {10: 2}
    world.store = MortalStore(world.memory)  # type: ignore[assignment]
    world.run("attempt-2")
    assert (world.checkpoints(), set(world.receipts())) == ({}, {10, 20})


@pytest.fixture
def hanging(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The engine never comes back from its third step."""
    over = threading.Event()
    monkeypatch.setattr(patience, "SECONDS_MIN", 0.3)
    monkeypatch.setattr(patience, "TIMES_LONGEST", 0)
    monkeypatch.setattr(patience, "FLOPS_MIN", 1e30)
    world.at_step = lambda step: None if step != 2 else (over.wait(60), None)[1]
    yield
    over.set()


@pytest.mark.usefixtures("hanging")
def test_a_step_that_never_ends_is_given_up_and_counts_as_a_death(world: World) -> None:
    world.picture(10, 20)
    world.finishes = {10: 2}
    with pytest.raises(StepHung):
        world.run()
    assert set(world.receipts()) == {10}
    assert set(world.notes()) == {"attempt-1"}
