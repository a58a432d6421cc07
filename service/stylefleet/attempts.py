"""What an attempt does first and what last, given what earlier ones died over. Pure.

A worker that is killed (for its memory, by a file that crashes a library, with its node) says nothing. But each leaves
a note of what it has in its hands before it touches it, and takes it back when it ends in any other way: a note that is
still there is that of an attempt that died, over one of these pictures or over nothing that it could help. One that was
told to end leaves in its place that it was, so that evictions can be counted.

1. never in a dead attempt's hands    in batches, half as large for each attempt that died
2. in its hands, among others         one by one, so that the next death is one picture's
3. in its hands, alone                the same, last of all: whatever else can be done is done by then
4. alone in the hands of two          refused
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stylefleet.batches import BATCH_MAX
from stylefleet.errors import RecordUnreadable
from stylefleet.receipt import AttemptStart, Receipt
from stylefleet.tasks import Task

STRIKES = 2
"""Attempts that a picture may end while it is alone with them. One could be a node that was lost: with three retries
of an index (jobs.RETRIES_PER_INDEX) a picture that ends every attempt is refused in the last."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """What an attempt has, or had, in its hands."""

    task_ids: frozenset[str]
    """Pictures that it fetches, optimizes or stores."""
    alone: bool
    """Whether this is one picture, and nothing else is in the works."""
    stopped: bool = False
    """Whether the attempt was told to end, and did: it has nothing in its hands, and died over nothing."""


STOPPED = Note(task_ids=frozenset(), alone=False, stopped=True)


def note_to_json(note: Note) -> bytes:
    """The note's object."""
    stopped = {"stopped": True} if note.stopped else {}
    return json.dumps({"tasks": sorted(note.task_ids), "alone": note.alone, **stopped}).encode()


def note_from_json(data: bytes) -> Note:
    """The inverse of `note_to_json`. Raises RecordUnreadable."""
    try:
        found = json.loads(data)
        return Note(task_ids=frozenset(found["tasks"]), alone=bool(found["alone"]), stopped=bool(found.get("stopped")))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"a note of an attempt cannot be read: {error!r}") from error


@dataclass(frozen=True, kw_only=True)
class Window:
    """Tasks that are fetched together, ahead of the engine."""

    tasks: tuple[Task, ...]
    alone: bool = False
    """Whether nothing else may be in the works from their fetching to their receipts."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What an attempt does."""

    refused: tuple[Task, ...]
    """Pictures that are not tried again."""
    windows: tuple[Window, ...]
    """In this order."""
    batch_max: int
    """Pictures that are optimized together at the most."""


def course_of(todo: Sequence[Task], dead: Sequence[Note], window: int) -> Course:
    """The course of an attempt that has `todo` to do, after attempts that left these notes; `window` is how many
    pictures may be fetched at once."""
    strikes = Counter(task_id for note in dead if note.alone for task_id in note.task_ids)
    suspected = in_hands(dead)
    others = [task for task in todo if task.task_id not in suspected]
    suspects = [task for task in todo if task.task_id in suspected and strikes[task.task_id] < STRIKES]
    return Course(
        refused=tuple(task for task in todo if strikes[task.task_id] >= STRIKES),
        windows=(
            *(Window(tasks=tuple(others[first : first + window])) for first in range(0, len(others), window)),
            *(Window(tasks=(task,), alone=True) for task in _by_strikes(suspects, strikes)),
        ),
        batch_max=max(1, BATCH_MAX >> len(dead)),
    )


def start_of(notes: Sequence[Note], receipts: Iterable[Receipt]) -> AttemptStart:
    """What an attempt met that found these notes and receipts of others, before it has looked any style up. Ends of
    attempts that the receipts tell of are not told again: notes stay until the shard is done."""
    told = {r.attempt: r.start for r in receipts if r.start is not None}.values()
    stopped = sum(note.stopped for note in notes)
    # At least 0: a bucket's lifecycle rule may delete notes.
    return AttemptStart(
        style_hits=0,
        style_misses=0,
        died=max(0, len(notes) - stopped - sum(start.died for start in told)),
        stopped=max(0, stopped - sum(start.stopped for start in told)),
    )


def in_hands(notes: Iterable[Note]) -> frozenset[str]:
    """Tasks that any of the notes names."""
    return frozenset(task_id for note in notes for task_id in note.task_ids)


def _by_strikes(tasks: Iterable[Task], strikes: Counter[str]) -> list[Task]:
    return sorted(tasks, key=lambda task: strikes[task.task_id])
