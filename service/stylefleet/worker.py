"""The worker: one shard, picture by picture. The same entry point in a pod and in a local process.

shard --> (fetch, decode) ahead --> batch of like sizes --> engine.stylize --> result --> receipt
                                                                      | now and then, and when told to end
                                                                      +--> checkpoint, for the next attempt

A result is stored before its receipt, and a receipt's task is never done again: a worker that is killed loses at most
the steps since the last checkpoint of the pictures in flight.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import numpy as np
import structlog

from stylefleet import batches, naming, pictures, receipt
from stylefleet import engine as engines
from stylefleet.checkpoints import CHECKPOINT_PIXELS_MAX, CHECKPOINT_SECONDS, Checkpoints
from stylefleet.errors import NotFound
from stylefleet.looks import Loaded, LoadFailed, load
from stylefleet.naming import Ref
from stylefleet.plan import Plan, plan_from_json
from stylefleet.preparing import Prepared, Refused, compose, prepare
from stylefleet.receipt import EngineFacts, Receipt, Stage
from stylefleet.settings import WorkerSettings
from stylefleet.store import Store
from stylefleet.tasks import Task, tasks_from_bytes

log = structlog.get_logger(__name__)

FETCHERS = 8
KEEPERS = 8
"""Results encoded and stored, or checkpoints written, at the same time: a batch has at most so many pictures."""
CONTENT_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class Stopped(Exception):
    """The worker was told to end (SIGTERM): what has a receipt stays done, the rest is for the next attempt."""


class Worker:
    """One execution of one shard."""

    def __init__(
        self,
        *,
        store: Store,
        settings: WorkerSettings,
        plan: Plan,
        tasks: Sequence[Task],
        clock: Callable[[], datetime],
        stop: threading.Event,
    ) -> None:
        self._store = store
        self._settings = settings
        self._plan = plan
        self._tasks = tasks
        self._clock = clock
        self._stop = stop
        self._checkpoints = Checkpoints(store, settings.store.bucket)
        self._parts = 0
        self._facts: EngineFacts | None = None

    def run(self) -> None:
        """Do every task that has no receipt. Raises Stopped, TransientError."""
        ended = self._ended()
        todo = [task for task in self._tasks if task.task_id not in ended]
        log.info("shard_started", tasks=len(self._tasks), todo=len(todo))
        if not todo:
            return
        # Two pools: what is finished must not queue behind the pictures that are fetched ahead.
        with ThreadPoolExecutor(FETCHERS) as fetchers, ThreadPoolExecutor(KEEPERS) as keepers:
            size = batches.window(max(self._plan.recipe.style_sizes_px))
            windows = [todo[first : first + size] for first in range(0, len(todo), size)]
            # The first pictures come in while TensorFlow and the weights are loading.
            ahead = self._fetch(fetchers, windows[0])
            try:
                loaded = load(self._store, self._settings, self._plan)
                self._facts, style_seconds = loaded.facts, loaded.style_seconds
                for number in range(len(windows)):
                    arrived = [future.result() for future in ahead]
                    if number + 1 < len(windows):
                        ahead = self._fetch(fetchers, windows[number + 1])
                    self._write([self._refusal(r) for r in arrived if isinstance(r, Refused)])
                    for batch in batches.batches(
                        [p for p in arrived if isinstance(p, Prepared)], self._plan.recipe.refine
                    ):
                        self._stylize(keepers, loaded, batch, style_seconds)
                        style_seconds = 0.0
            except LoadFailed as failed:
                # The same for every picture of the shard: say so in each one's receipt rather than try again.
                self._write([self._refusal(Refused(task=t, reason=failed.reason, message=str(failed))) for t in todo])
                return
            finally:
                for future in ahead:
                    future.cancel()  # who was told to stop must not wait for pictures that nobody wants any more
        log.info("shard_finished", tasks=len(todo))

    def _ended(self) -> set[str]:
        plan, settings = self._plan, self._settings
        prefix = naming.shard_receipts_prefix(plan.name, plan.run, settings.shard)
        parts = self._store.list(Ref(settings.store.bucket, prefix))
        return {r.task_id for part in parts for r in receipt.from_lines(self._store.get(part.ref).data)}

    def _fetch(self, pool: ThreadPoolExecutor, tasks: Iterable[Task]) -> list[Future[Prepared | Refused]]:
        return [pool.submit(self._prepare, task) for task in tasks]

    def _prepare(self, task: Task) -> Prepared | Refused:
        prepared = prepare(self._store, self._plan, task)
        if isinstance(prepared, Refused):
            return prepared
        return replace(prepared, checkpoint=self._checkpoints.find(task.task_id))

    def _stylize(self, pool: ThreadPoolExecutor, loaded: Loaded, batch: list[Prepared], style_seconds: float) -> None:
        """Optimize a batch. Each picture is stored as soon as it is finished; raises Stopped."""
        if self._stop.is_set():
            raise Stopped
        before = time.monotonic()
        composed = compose(batch)
        looks = loaded.looks_of(composed.contents)
        style_seconds += time.monotonic() - before
        seconds: list[dict[Stage, float]] = [
            {"style_target": style_seconds / len(batch), "optimize": 0.0} for _ in batch
        ]
        going = list(range(len(batch)))
        kept: list[Future[Receipt]] = []

        def keep(finished: Sequence[int], iterate: engines.Iterate) -> None:
            if not finished:
                return
            # Made here, once, not by every thread of the pool.
            results = iterate.values if self._plan.depth == 16 else iterate.pixels
            for index in finished:
                going.remove(index)
                loss, iterations = float(iterate.losses[index]), int(iterate.iterations[index])
                facts = (batch[index], results[index], loss, len(batch), iterations, seconds[index])
                kept.append(pool.submit(self._keep, *facts))

        def write() -> None:
            self._write([future.result() for future in kept])
            kept.clear()

        before, saved_at = time.monotonic(), self._clock()
        last: engines.Iterate | None = None
        for iterate in self._iterates(loaded.engine, composed, looks, batch):
            if last is not None and _can_be_saved(last) and not _can_be_saved(iterate):
                self._save(pool, last, {index: batch[index].task for index in going})
            last = iterate
            now = time.monotonic()
            for index in going:
                seconds[index]["optimize"] += (now - before) / len(going)
            before = now
            keep([index for index in going if last.finished[index]], last)
            if not going:
                break
            stopped = self._stop.is_set()
            if stopped or (self._clock() - saved_at).total_seconds() >= CHECKPOINT_SECONDS:
                self._save(pool, last, {index: batch[index].task for index in going})
                write()
                saved_at = self._clock()
            if stopped:
                raise Stopped
        assert last is not None
        keep(tuple(going), last)
        write()

    def _save(self, pool: ThreadPoolExecutor, iterate: engines.Iterate, tasks: Mapping[int, Task]) -> None:
        """Write the checkpoints of the batch's pictures at these indexes, where their stage is not too large for it."""
        if not _can_be_saved(iterate):
            return

        def save(index: int) -> None:
            self._checkpoints.save(tasks[index].task_id, iterate.checkpoint(index))

        # Waited for: a checkpoint that comes after its picture's receipt would stay for ever.
        list(pool.map(save, tasks))

    def _iterates(
        self, engine: engines.Engine, composed: engines.Batch, looks: engines.Looks, batch: Sequence[Prepared]
    ) -> Iterator[engines.Iterate]:
        """Of a batch from where its checkpoints are, or else from the beginning."""
        recipe = self._plan.recipe
        resume = [p.checkpoint.data for p in batch if p.checkpoint is not None]
        if resume:
            try:
                yield from engines.stylize(engine, composed, looks, recipe, resume=resume)
            except engines.CheckpointCorrupt as error:
                log.warning("checkpoint_unusable", contents=[str(p.task.content) for p in batch], error=str(error))
            else:
                return
        yield from engines.stylize(engine, composed, looks, recipe)

    def _keep(
        self,
        prepared: Prepared,
        pixels: np.ndarray,
        loss: float,
        batch: int,
        iterations: int,
        seconds: dict[Stage, float],
    ) -> Receipt:
        """Encode and store one result; its receipt is for the caller to write, after the result."""
        if not np.isfinite(loss):
            message = (
                "the optimization of this picture did not stay finite; lower the weights, or ask for precision: float32"
            )
            return self._refusal(Refused(task=prepared.task, reason="diverged", message=message))
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
        etag = self._store.put(
            task.output,
            data,
            content_type=CONTENT_TYPES[plan.image_format],
            metadata={naming.METADATA_TASK: task.task_id, naming.METADATA_RECIPE: plan.recipe.digest},
        )
        stages: dict[Stage, float] = {"encode": encoded - started, "store": time.monotonic() - encoded}
        log.info("picture_done", content=str(task.content), result=str(task.output), loss=loss, batch=batch)
        return Receipt(
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
            engine=self._facts,
        )

    def _refusal(self, refused: Refused) -> Receipt:
        log.warning("picture_failed", content=str(refused.task.content), reason=refused.reason, error=refused.message)
        return Receipt(
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
            engine=self._facts,
        )

    def _write(self, receipts: list[Receipt]) -> None:
        if not receipts:
            return
        plan, settings = self._plan, self._settings
        key = naming.receipts_key(plan.name, plan.run, settings.shard, settings.attempt, self._parts)
        # Never over another part: an attempt's name is its own.
        self._store.put(
            Ref(settings.store.bucket, key),
            receipt.to_lines(receipts),
            if_absent=True,
            content_type="application/jsonl",
        )
        self._parts += 1
        # Only now: a picture without receipt is done again, and goes on from here.
        self._checkpoints.drop(r.task_id for r in receipts)


def _can_be_saved(iterate: engines.Iterate) -> bool:
    height, width = iterate.raw.shape[1:3]
    return bool(height * width <= CHECKPOINT_PIXELS_MAX)


def load_shard(store: Store, settings: WorkerSettings) -> tuple[Plan, list[Task]]:
    """The plan and this worker's tasks; raises NotFound where there is no such run or shard."""
    bucket = settings.store.bucket
    plan = plan_from_json(store.get(Ref(bucket, naming.plan_key(settings.name, settings.run))).data)
    if settings.shard >= len(plan.shards):
        raise NotFound(f"run {plan.name}/{plan.run} has {len(plan.shards)} shards; there is no shard {settings.shard}")
    entry = plan.shards[settings.shard]
    key = naming.shard_key(plan.name, plan.run, entry.index, entry.digest)
    return plan, tasks_from_bytes(store.get(Ref(bucket, key)).data)


def stop_on_sigterm() -> threading.Event:
    """An event that SIGTERM sets; the worker looks at it between two steps."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    return stop
