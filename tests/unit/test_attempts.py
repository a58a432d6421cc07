"""What an attempt does after others have died, and that one picture never costs a shard its retries."""

from __future__ import annotations

from itertools import zip_longest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet.attempts import STOPPED, Course, Note, course_of, note_from_json, note_to_json, start_of
from stylefleet.errors import RecordUnreadable
from stylefleet.jobs import RETRIES_PER_INDEX
from stylefleet.receipt import AttemptStart, Receipt
from stylefleet.tasks import Task
from tests.builders import make_receipt, make_task

TASKS = [make_task(f"{number}.jpg") for number in range(10)]


def note(*numbers: int, alone: bool = False) -> Note:
    return Note(task_ids=frozenset(TASKS[n].task_id for n in numbers), alone=alone)


def course(*dead: Note, todo: list[Task] = TASKS, window: int = 4) -> Course:
    return course_of(todo, dead, window)


def windows(found: Course) -> list[tuple[list[int], bool]]:
    return [([TASKS.index(task) for task in window.tasks], window.alone) for window in found.windows]


def test_a_first_attempt_fetches_windows_in_order_and_makes_full_batches() -> None:
    found = course()
    assert windows(found) == [([0, 1, 2, 3], False), ([4, 5, 6, 7], False), ([8, 9], False)]
    assert (found.batch_max, found.refused) == (8, ())


def test_after_a_death_what_was_in_its_hands_comes_one_by_one_and_last() -> None:
    assert windows(course(note(2, 5, 6))) == [
        ([0, 1, 3, 4], False),
        ([7, 8, 9], False),
        ([2], True),
        ([5], True),
        ([6], True),
    ]


@pytest.mark.parametrize(("deaths", "batch_max"), [(0, 8), (1, 4), (2, 2), (3, 1), (4, 1), (9, 1)])
def test_each_death_halves_the_batches(deaths: int, batch_max: int) -> None:
    assert course(*[note(0)] * deaths).batch_max == batch_max


def test_a_picture_that_was_alone_with_a_death_comes_after_everything_else() -> None:
    found = course(note(0, 1, 2), note(1, alone=True), todo=TASKS[:4])
    assert windows(found) == [([3], False), ([0], True), ([2], True), ([1], True)]


def test_a_picture_that_was_alone_with_two_deaths_is_refused_and_the_others_are_done() -> None:
    found = course(note(0, 1), note(1, alone=True), note(1, alone=True), todo=TASKS[:3])
    assert found.refused == (TASKS[1],)
    assert windows(found) == [([2], False), ([0], True)]


def test_any_number_of_deaths_in_company_refuses_nothing() -> None:
    assert course(*[note(0, 1)] * 10).refused == ()


def test_what_has_a_receipt_is_nobodys_concern_any_more() -> None:
    found = course(note(0, 1), note(0, alone=True), note(0, alone=True), todo=TASKS[2:4])
    assert windows(found) == [([2, 3], False)]
    assert found.refused == ()


def test_a_note_comes_back_as_it_was_written() -> None:
    for one in (note(1, 2), note(3, alone=True), note(), STOPPED):
        assert note_from_json(note_to_json(one)) == one


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"tasks": 1, "alone": true}', b"\xff"])
def test_a_note_that_is_none_is_told_as_that(data: bytes) -> None:
    with pytest.raises(RecordUnreadable):
        note_from_json(data)


def ends(died: int, stopped: int) -> AttemptStart:
    return AttemptStart(style_hits=0, style_misses=0, died=died, stopped=stopped)


def told(attempt: str, died: int, stopped: int, key: str = "a.jpg") -> Receipt:
    return make_receipt(key, attempt=attempt, start=ends(died, stopped))


def test_an_attempt_tells_how_many_before_it_died_and_how_many_were_told_to_end() -> None:
    assert start_of([], []) == ends(0, 0)
    assert start_of([note(0), STOPPED, note(1, alone=True)], [make_receipt("a.jpg")]) == ends(2, 1)


def test_what_an_earlier_receipt_tells_of_is_not_told_again() -> None:
    notes = [note(0), STOPPED, note(0), STOPPED, STOPPED]
    assert start_of(notes, [told("attempt-3", 1, 1), make_receipt("b.jpg", attempt="attempt-3")]) == ends(1, 2)
    assert start_of(notes, [told("attempt-3", 1, 1), told("attempt-5", 1, 2, "b.jpg")]) == ends(0, 0)


def test_a_part_of_receipts_that_was_written_twice_tells_it_once() -> None:
    assert start_of([note(0), note(1)], [told("attempt-2", 1, 0), told("attempt-2", 1, 0)]) == ends(1, 0)


def test_notes_that_somebody_has_deleted_take_nothing_back() -> None:
    assert start_of([STOPPED], [told("attempt-2", 1, 2)]) == ends(0, 0)


class Shard:
    """Attempts at a shard in which some pictures kill whoever fetches them, and others whoever optimizes them."""

    def __init__(self, tasks: int, *, kills_fetching: set[int], kills_optimizing: set[int], window: int) -> None:
        self.tasks = [make_task(f"{number}.jpg") for number in range(tasks)]
        self.kills_fetching = {self.tasks[n] for n in kills_fetching}
        self.kills_optimizing = {self.tasks[n] for n in kills_optimizing}
        self.window = window
        self.done: set[Task] = set()
        self.refused: set[Task] = set()
        self.dead: list[Note] = []

    def attempt(self) -> bool:
        """Whether it ended well."""
        todo = [task for task in self.tasks if task not in self.done | self.refused]
        found = course_of(todo, self.dead, self.window)
        self.refused |= set(found.refused)
        for window, following in zip_longest(found.windows, found.windows[1:]):
            ahead = following.tasks if following is not None and not following.alone else ()
            if self._dies((*window.tasks, *ahead), window.tasks):
                in_hand = frozenset(task.task_id for task in (*window.tasks, *ahead))
                self.dead.append(Note(task_ids=in_hand, alone=window.alone))
                return False
            self.done |= set(window.tasks)
        return True

    def _dies(self, fetched: tuple[Task, ...], optimized: tuple[Task, ...]) -> bool:
        return bool(self.kills_fetching & set(fetched) or self.kills_optimizing & set(optimized))


positions = st.integers(0, 39)


@given(st.integers(1, 40), positions, st.booleans(), st.integers(1, 24))
def test_one_picture_that_kills_whoever_touches_it_is_refused_within_the_retries_and_all_others_are_done(
    tasks: int, at: int, fetching: bool, window: int
) -> None:
    poison = {at % tasks}
    shard = Shard(
        tasks,
        kills_fetching=poison if fetching else set(),
        kills_optimizing=set() if fetching else poison,
        window=window,
    )
    outcomes = [shard.attempt() for _ in range(RETRIES_PER_INDEX + 1)]
    assert outcomes == [False] * RETRIES_PER_INDEX + [True]
    assert shard.refused == {shard.tasks[at % tasks]}
    assert shard.done == set(shard.tasks) - shard.refused


@given(st.integers(2, 40), st.sets(positions, min_size=2, max_size=2), st.integers(1, 24))
def test_of_two_such_pictures_in_one_window_at_worst_these_two_are_not_done(
    tasks: int, at: set[int], window: int
) -> None:
    first, second = sorted(at)
    poison = {first % tasks, second % tasks}
    shard = Shard(tasks, kills_fetching=set(), kills_optimizing=poison, window=max(window, tasks))
    for _ in range(RETRIES_PER_INDEX + 1):
        shard.attempt()
    # Each is alone with a death once; where there were no retry left they end with the shard, but last.
    assert set(shard.tasks) - shard.done <= {shard.tasks[n] for n in poison}
