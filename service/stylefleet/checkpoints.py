"""Checkpoints in the bucket: pictures in the works, so that the next attempt goes on where this one was ended.

They save time and decide nothing: one that cannot be read or written is logged, and costs the steps since the last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import structlog

from stylefleet import engine as engines
from stylefleet import naming
from stylefleet.errors import NotFound, PermanentError, StylefleetError
from stylefleet.naming import Ref
from stylefleet.store import Store

log = structlog.get_logger(__name__)

CHECKPOINT_SECONDS = 120.0
"""What a killed worker loses at most of a batch; a checkpoint has many times the picture's bytes, so not oftener."""
CHECKPOINT_SHARE = 0.025
"""Of a worker's time that may go into checkpoints: where one takes long to write, the next comes later."""
CHECKPOINT_PIXELS_MAX = 3_000_000
"""Of a stage. With the optimizer's memory a checkpoint has some 280 bytes a pixel, and is in memory a few times while
it is written and read: beyond this, keeping a picture's place could be what kills its worker, attempt after attempt.
Such a picture goes on from the last smaller stage, whose end is always saved."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A picture in the works."""

    data: bytes = field(repr=False)
    """For the engine to go on from."""
    position: tuple[int, int]
    """Where in the recipe it was taken; pictures at one position go on together."""


class Checkpoints:
    """The checkpoints of one shard's tasks. Safe to use from several threads, for different tasks."""

    def __init__(self, store: Store, bucket: str, *, tenant: str = "") -> None:
        self._store = store
        self._bucket = bucket
        self._tenant = tenant
        self._present: set[str] = set()
        """Tasks that have one in the bucket."""

    def find(self, task_id: str) -> Checkpoint | None:
        """The checkpoint of a task; None where the picture starts anew.

        Asked for each task that has no receipt, also in a shard's first attempt: an attempt that was killed in its
        first batch has left no receipt to tell of it, and a run that was cancelled and submitted again has the same
        tasks. It is one GET beside that of the picture, while another picture is optimized. A listing of the folder
        would be one request, but grow with what the whole fleet has in the works.
        """
        ref = self._ref(task_id)
        try:
            data = self._store.get(ref).data
            self._present.add(task_id)
            found = Checkpoint(data=data, position=engines.checkpoint_position(data))
        except NotFound:
            return None
        except PermanentError as error:
            log.warning("checkpoint_unusable", key=ref.key, error=str(error))
            return None
        stage, iteration = found.position
        log.info("checkpoint_found", key=ref.key, stage=stage, iteration=iteration)
        return found

    def save(self, task_id: str, data: bytes) -> None:
        """Write a task's checkpoint over the one before."""
        ref = self._ref(task_id)
        try:
            self._store.put(ref, data)
        except StylefleetError as error:
            log.warning("checkpoint_not_saved", key=ref.key, error=str(error))
        else:
            self._present.add(task_id)
            log.info("checkpoint_saved", key=ref.key, size_bytes=len(data))

    def drop(self, task_ids: Iterable[str]) -> None:
        """Delete the checkpoints of tasks that have a receipt; nothing is asked of the store where there is none."""
        for task_id in self._present.intersection(task_ids):
            self.forget(task_id)

    def forget(self, task_id: str) -> None:
        """Delete the checkpoint of a task, if there is one."""
        try:
            self._store.delete(self._ref(task_id))
        except StylefleetError as error:
            log.warning("checkpoint_not_deleted", task=task_id, error=str(error))
        self._present.discard(task_id)

    def _ref(self, task_id: str) -> Ref:
        return Ref(self._bucket, naming.checkpoint_key(task_id, self._tenant))
