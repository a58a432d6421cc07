"""The notes of attempts in the bucket: written before pictures are touched, taken back when an attempt ends.

One that was told to end says so in its note's place.
"""

from __future__ import annotations

import threading

import structlog

from stylefleet import naming
from stylefleet.attempts import STOPPED, Note, note_from_json, note_to_json
from stylefleet.errors import NotFound, RecordUnreadable, StylefleetError
from stylefleet.naming import Ref
from stylefleet.store import Store

log = structlog.get_logger(__name__)


class Notes:
    """Of the attempts at one shard. Safe to use from several threads."""

    def __init__(self, store: Store, bucket: str, *, name: str, run: str, shard: int, attempt: str) -> None:
        self._store = store
        self._folder = Ref(bucket, naming.shard_attempts_prefix(name, run, shard))
        self._own = Ref(bucket, naming.attempt_key(name, run, shard, attempt))
        self._others: list[Ref] = []
        self._lock = threading.Lock()
        self._over = False

    def of_others(self) -> list[Note]:
        """What attempts before this one left that died, or were told to end. Raises TransientError."""
        found = []
        self._others = [listed.ref for listed in self._store.list(self._folder)]
        for ref in self._others:
            try:
                note = note_from_json(self._store.get(ref).data)
            except NotFound:
                continue  # its attempt lived still, and has taken it back
            except RecordUnreadable as error:
                log.warning("note_unreadable", key=ref.key, error=str(error))
                note = Note(task_ids=frozenset(), alone=False)
            if note.stopped:
                log.info("attempt_stopped", key=ref.key)
            else:
                log.warning("attempt_died", key=ref.key, tasks=len(note.task_ids), alone=note.alone)
            found.append(note)
        return found

    def write(self, note: Note) -> None:
        """Say what this attempt has in its hands from now on, in place of the note before. Raises TransientError."""
        with self._lock:
            if not self._over:  # an attempt that ends takes up nothing more
                self._store.put(self._own, note_to_json(note), content_type="application/json")

    def say_stopped(self) -> None:
        """This attempt ends because it was told to. One PUT, as `take_back` is one DELETE."""
        with self._lock:
            self._over = True
            try:
                self._store.put(self._own, note_to_json(STOPPED), content_type="application/json")
            except StylefleetError as error:
                log.warning("note_not_written", key=self._own.key, error=str(error))

    def take_back(self) -> None:
        """This attempt ends, and not over what it has in its hands."""
        with self._lock:
            self._over = True
            self._forget([self._own])

    def clear(self) -> None:
        """The shard is done: nobody needs to know any more who died over what."""
        self.take_back()
        self._forget(self._others)

    def _forget(self, refs: list[Ref]) -> None:
        for ref in refs:
            try:
                self._store.delete(ref)
            except StylefleetError as error:
                log.warning("note_not_deleted", key=ref.key, error=str(error))
