"""What a worker leaves in the bucket: results, and the receipts of its tasks, always in this order."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import numpy as np
import structlog

from stylefleet import naming, pictures, receipt, succession
from stylefleet.checkpoints import Checkpoints
from stylefleet.errors import AccessDenied, TransientError
from stylefleet.naming import Ref
from stylefleet.plan import Plan
from stylefleet.preparing import Prepared, Refused
from stylefleet.receipt import AttemptStart, Done, EngineFacts, Receipt, Stage
from stylefleet.settings import WorkerSettings
from stylefleet.spans import Spans
from stylefleet.store import Store

log = structlog.get_logger(__name__)

CONTENT_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class Results:
    """Of one attempt at a shard. `keep` and `refusal` are safe to use from several threads; `write` is for one at a
    time."""

    def __init__(
        self,
        store: Store,
        settings: WorkerSettings,
        plan: Plan,
        checkpoints: Checkpoints,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        began: float,
        spans: Spans,
    ) -> None:
        """`began` is when the work of this process began, by `monotonic`."""
        self._store = store
        self._settings = settings
        self._plan = plan
        self._checkpoints = checkpoints
        self._clock = clock
        self._monotonic = monotonic
        self._spans = spans
        self._written_at = began
        """Whose time until now is in receipts."""
        self._starts_with = ""
        """The task whose receipt says what the attempt met when it set out; the first one that was written."""
        self.start: AttemptStart | None = None
        """What is said there."""
        self._parts = 0
        self._done: list[Done] = []
        """Of the tasks that have their receipt from this attempt."""
        self.facts: EngineFacts | None = None
        """What computes; None until it is loaded."""

    def keep(
        self,
        prepared: Prepared,
        pixels: np.ndarray,
        *,
        loss: float,
        batch: int,
        iterations: int,
        seconds: dict[Stage, float],
    ) -> Receipt:
        """Encode and store one result; its receipt is for the caller to write, after the result. Raises Superseded."""
        if not np.isfinite(loss):
            message = (
                "the optimization of this picture did not stay finite; lower the weights, or ask for precision: float32"
            )
            return self.refusal(Refused(task=prepared.task, reason="diverged", message=message))
        plan, task = self._plan, prepared.task
        started = time.monotonic()
        data = pictures.encode(
            pixels,
            format=plan.image_format,
            quality=plan.quality,
            depth=plan.depth,
            icc="icc" in plan.keep_metadata,
            exif=prepared.exif,
        )
        encoded = time.monotonic()
        succession.require_newest(self._store, self._settings.store.bucket, plan.name, plan.run)
        etag = self._store.put(
            task.output,
            data,
            content_type=CONTENT_TYPES[plan.image_format],
            metadata={naming.METADATA_TASK: task.task_id, naming.METADATA_RECIPE: plan.recipe.digest},
        )
        stages: dict[Stage, float] = {"encode": encoded - started, "store": time.monotonic() - encoded}
        self._spans.stages(task.task_id, started, stages)
        log.info(
            "picture_done",
            task=task.task_id,
            content=str(task.content),
            result=str(task.output),
            loss=loss,
            batch=batch,
            iterations=iterations,
            seconds=round(sum({**prepared.seconds, **seconds, **stages}.values()), 3),
        )
        kept = Receipt(
            task_id=task.task_id,
            outcome="done",
            reason="",
            message="",
            content=str(task.content),
            result=str(task.output),
            result_etag=etag,
            width_px=pixels.shape[1],
            height_px=pixels.shape[0],
            batch=batch,
            iterations=iterations,
            loss=loss,
            stage_seconds={**prepared.seconds, **seconds, **stages},
            attempt=self._settings.attempt,
            shard=self._settings.shard,
            finished_at=self._clock(),
            engine=self.facts,
        )
        self._spans.ended(kept)
        return kept

    def refusal(self, refused: Refused) -> Receipt:
        """The receipt of a picture that cannot be restyled."""
        log.warning(
            "picture_failed",
            task=refused.task.task_id,
            content=str(refused.task.content),
            reason=refused.reason,
            error=refused.message,
        )
        refusal = Receipt(
            task_id=refused.task.task_id,
            outcome="failed",
            reason=refused.reason,
            message=refused.message,
            content=str(refused.task.content),
            result="",
            result_etag="",
            width_px=0,
            height_px=0,
            batch=0,
            iterations=0,
            loss=None,
            stage_seconds=refused.seconds,
            attempt=self._settings.attempt,
            shard=self._settings.shard,
            finished_at=self._clock(),
            engine=self.facts,
        )
        self._spans.ended(refusal)
        return refusal

    def write(self, receipts: list[Receipt]) -> None:
        """Write receipts, as one more part of this attempt's."""
        if not receipts:
            return
        plan, settings = self._plan, self._settings
        key = naming.receipts_key(plan.name, plan.run, settings.shard, settings.attempt, self._parts)
        # A part whose put seems to fail may be there all the same: the next try is another part, and counts once.
        self._parts += 1
        now = self._monotonic()
        # The same task where the put before this seems to have failed: of two receipts of a task one counts.
        self._starts_with = self._starts_with or receipts[0].task_id
        receipts = [
            replace(
                one,
                worker_seconds=(now - self._written_at) / len(receipts),
                start=self.start if one.task_id == self._starts_with else None,
            )
            for one in receipts
        ]
        # Never over another part: an attempt's name is its own.
        self._store.put(
            Ref(settings.store.bucket, key),
            receipt.to_lines(receipts),
            if_absent=True,
            content_type="application/jsonl",
        )
        self._written_at = now
        self._done += receipt.done_among(receipts)
        # Only now: a picture without receipt is done again, and goes on from here.
        self._checkpoints.drop(r.task_id for r in receipts)

    def write_done(self, before: list[Done]) -> None:
        """When every task of the shard has its receipt: what they all say is done, in one object for the next plan.
        `before` are those of earlier attempts."""
        plan, settings = self._plan, self._settings
        key = naming.done_key(plan.name, plan.run, settings.shard, settings.attempt)
        data = receipt.done_to_lines([*before, *self._done])
        try:
            self._store.put(Ref(settings.store.bucket, key), data, content_type="application/jsonl")
        except (AccessDenied, TransientError) as error:
            # A shortcut only: without it, the next plan reads the receipts.
            log.warning("done_not_written", key=key, error=str(error))
