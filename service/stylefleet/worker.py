"""The worker: one shard, picture by picture. The same entry point in a pod and in a local process.

shard --> (fetch, decode) ahead --> batch of like sizes --> engine.stylize --> result --> receipt

A result is stored before its receipt, and a receipt's task is never done again: a worker that is killed loses at most
the pictures in flight.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import structlog

from stylefleet import batches, naming, pictures, receipt, style_cache
from stylefleet import engine as engines
from stylefleet.errors import AccessDenied, ImageInvalid, NotFound, PreconditionFailed, WeightsInvalid
from stylefleet.naming import Ref
from stylefleet.plan import Plan, Task, plan_from_json, tasks_from_bytes
from stylefleet.receipt import EngineFacts, Receipt, Stage
from stylefleet.settings import WorkerSettings
from stylefleet.store import Store

log = structlog.get_logger(__name__)

WINDOW = 24
"""Pictures fetched ahead: enough to find like sizes, few enough to bound memory."""
FETCHERS = 8
_DECODERS = threading.BoundedSemaphore(2)
"""Pictures decoded at the same time: one of 100 megapixels takes a gigabyte while it is turned and converted."""
CONTENT_TYPES = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}


class Stopped(Exception):
    """The worker was told to end (SIGTERM): what has a receipt stays done, the rest is for the next attempt."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A picture that is ready to be optimized."""

    task: Task
    pixels: np.ndarray
    """uint8 [H, W, 3] at the result's size."""
    seconds: dict[Stage, float]

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A picture that cannot be restyled, and why."""

    task: Task
    reason: str
    message: str
    seconds: dict[Stage, float] = field(default_factory=dict)


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
        self._parts = 0
        self._facts: EngineFacts | None = None

    def run(self) -> None:
        """Do every task that has no receipt. Raises Stopped, TransientError."""
        ended = self._ended()
        todo = [task for task in self._tasks if task.task_id not in ended]
        log.info("shard_started", tasks=len(self._tasks), todo=len(todo))
        if not todo:
            return
        with ThreadPoolExecutor(FETCHERS) as pool:
            windows = [todo[first : first + WINDOW] for first in range(0, len(todo), WINDOW)]
            # The first pictures come in while TensorFlow and the weights are loading.
            ahead = self._fetch(pool, windows[0])
            try:
                engine, targets, style_seconds = self._load()
            except (NotFound, PreconditionFailed, ImageInvalid, WeightsInvalid) as error:
                # The same for every picture of the shard: say so in each one's receipt rather than try again.
                reason = "weights_invalid" if isinstance(error, WeightsInvalid) else "style_invalid"
                self._write([self._refusal(Refused(task=t, reason=reason, message=str(error))) for t in todo])
                return
            for number in range(len(windows)):
                arrived = [future.result() for future in ahead]
                if number + 1 < len(windows):
                    ahead = self._fetch(pool, windows[number + 1])
                self._write([self._refusal(r) for r in arrived if isinstance(r, Refused)])
                for batch in batches.batches([p for p in arrived if isinstance(p, Prepared)]):
                    self._write(self._stylize(pool, engine, targets, batch, style_seconds / len(batch)))
                    style_seconds = 0.0
        log.info("shard_finished", tasks=len(todo))

    def _ended(self) -> set[str]:
        plan, settings = self._plan, self._settings
        prefix = naming.shard_receipts_prefix(plan.name, plan.run, settings.shard)
        parts = self._store.list(Ref(settings.store.bucket, prefix))
        return {r.task_id for part in parts for r in receipt.from_lines(self._store.get(part.ref).data)}

    def _fetch(self, pool: ThreadPoolExecutor, tasks: Iterable[Task]) -> list[Future[Prepared | Refused]]:
        size_px = self._plan.recipe.size_px
        return [pool.submit(prepare, self._store, task, size_px) for task in tasks]

    def _load(self) -> tuple[engines.Engine, tuple[engines.StyleTarget, ...], float]:
        """The engine, the style target of each scale, and the seconds that these took."""
        plan = self._plan
        styles = []
        for style in plan.styles:
            try:
                styles.append((self._store.get(style.image, if_match=style.etag).data, style.weight))
            except PreconditionFailed as error:
                raise PreconditionFailed(f"{style.image}: the style was replaced after the run was planned") from error
        # The settings name the VGG19 file; the other backbone brings its own.
        named = plan.recipe.backbone == "vgg19-imagenet"
        engine = engines.load_engine(
            backbone=plan.recipe.backbone,
            precision=plan.recipe.precision,
            weights_path=self._settings.weights_path if named else None,
            weights_sha256=self._settings.weights_sha256 if named else None,
        )
        self._facts = EngineFacts(
            backbone=engine.backbone,
            weights_sha256=engine.weights_sha256,
            precision=engine.precision,
            precision_reason=engine.precision_reason,
            device=engine.device,
        )
        started = time.monotonic()
        targets = style_cache.targets(self._store, self._settings.store.bucket, engine, styles, plan.recipe)
        return engine, targets, time.monotonic() - started

    def _stylize(
        self,
        pool: ThreadPoolExecutor,
        engine: engines.Engine,
        targets: tuple[engines.StyleTarget, ...],
        batch: list[Prepared],
        style_seconds: float,
    ) -> list[Receipt]:
        started = time.monotonic()
        last: engines.Iterate | None = None
        for last in engines.stylize(engine, np.stack([p.pixels for p in batch]), targets, self._plan.recipe):  # noqa: B007
            if self._stop.is_set():
                raise Stopped
        assert last is not None
        result_pixels = last.pixels
        seconds: dict[Stage, float] = {
            "style_target": style_seconds,
            "optimize": (time.monotonic() - started) / len(batch),
        }

        def keep(index: int) -> Receipt:
            prepared, loss = batch[index], float(last.losses[index])
            if not np.isfinite(loss):
                message = "the optimization of this picture did not stay finite; lower the weights or change the seed"
                return self._refusal(Refused(task=prepared.task, reason="diverged", message=message))
            return self._keep(prepared, result_pixels[index], loss, len(batch), last.iteration, seconds)

        return list(pool.map(keep, range(len(batch))))

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
        plan, task = self._plan, prepared.task
        started = time.monotonic()
        data = pictures.encode(pixels, format=plan.image_format, quality=plan.quality)
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


def prepare(store: Store, task: Task, size_px: int) -> Prepared | Refused:
    """Fetch, decode and resize one picture; what is wrong with the picture itself becomes a Refused."""
    if task.size_bytes > pictures.BYTES_MAX:
        # Not fetched at all: it may not fit into memory.
        message = f"the picture has {task.size_bytes:,} bytes; at most {pictures.BYTES_MAX:,} are allowed"
        return Refused(task=task, reason="too_many_bytes", message=message)
    started = time.monotonic()
    try:
        data = store.get(task.content, if_match=task.content_etag).data
    except NotFound as error:
        return Refused(task=task, reason="content_missing", message=str(error))
    except PreconditionFailed:
        message = f"{task.content}: the picture was replaced after the run was planned; submit the manifest again"
        return Refused(task=task, reason="content_changed", message=message)
    except AccessDenied as error:
        return Refused(task=task, reason="content_unreadable", message=str(error))
    fetched = time.monotonic()
    seconds: dict[Stage, float] = {"fetch": fetched - started}
    try:
        with _DECODERS:
            decoded = pictures.decode(data)
            size = pictures.result_size(decoded.shape[1], decoded.shape[0], size_px)
            pixels = pictures.resize(decoded, *size)
    except ImageInvalid as error:
        return Refused(task=task, reason=error.reason, message=str(error), seconds=seconds)
    seconds["decode"] = time.monotonic() - fetched
    return Prepared(task=task, pixels=pixels, seconds=seconds)


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
