"""The worker: one shard, picture by picture. The same entry point in a pod and in a local process.

shard --> note --> (fetch, decode) ahead --> batch of like sizes --> engine.optimize --> outbox: result --> receipt
                                                                          | now and then, and when told to end
                                                                          +--> checkpoint, for the next attempt

A result is stored before its receipt, and a receipt's task is never done again: a worker that is killed loses at most
the steps since the last checkpoint of the pictures in flight. docs/stopping.md says what one loses that is told to end,
attempts.py what the next one makes of one that died.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime

import structlog

from stylefleet import attempts, batches, naming, patience, receipt
from stylefleet import engine as engines
from stylefleet.attempts import Course, Note, Window
from stylefleet.checkpoints import Checkpoints
from stylefleet.errors import NotFound, PreconditionFailed, StepHung, StylefleetError, TransientError
from stylefleet.looks import Loaded, LoadFailed, load
from stylefleet.naming import Ref
from stylefleet.notes import Notes
from stylefleet.optimizing import Optimizing
from stylefleet.outbox import Outbox
from stylefleet.plan import Plan, plan_from_json
from stylefleet.preparing import Prepared, Refused, prepare
from stylefleet.results import Results
from stylefleet.settings import WorkerSettings
from stylefleet.shards import receipts_of, tasks_of
from stylefleet.spans import NoSpans, Spans
from stylefleet.stopping import Stop, Stopped
from stylefleet.store import Store
from stylefleet.tasks import Task
from stylefleet.worker_metrics import WorkerMetrics

log = structlog.get_logger(__name__)

FETCHERS = 8
KEEPERS = batches.BATCH_MAX
"""Results encoded and stored, or checkpoints written, at the same time: a whole batch."""

KILLED_WORKER = (
    f"{attempts.STRIKES} attempts at its shard died while this picture alone was in work, so it is not tried again. "
    "Most likely they were killed for their memory (their pods say OOMKilled): raise STYLEFLEET_WORKER_MEMORY or lower "
    "the size; or the file crashes a library: save it anew with another program. Then submit the manifest again"
)


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
        stop: Stop,
        monotonic: Callable[[], float] = time.monotonic,
        began: float | None = None,
        metrics: WorkerMetrics | None = None,
        spans: Spans | None = None,
    ) -> None:
        """`monotonic` says when checkpoints are due: a clock may be set meanwhile. By it, the process began to work at
        `began`, or does now."""
        self._store = store
        self._settings = settings
        self._plan = plan
        self._tasks = tasks
        self._monotonic = monotonic
        self._stop = stop
        self._metrics, self._spans = metrics or WorkerMetrics(), spans or NoSpans()
        bucket = settings.store.bucket
        self._notes = Notes(store, bucket, name=plan.name, run=plan.run, shard=settings.shard, attempt=settings.attempt)
        self._checkpoints = Checkpoints(store, bucket, tenant=naming.tenant_of(settings.name))
        self._results = Results(
            store,
            settings,
            plan,
            self._checkpoints,
            clock,
            monotonic,
            monotonic() if began is None else began,
            self._spans,
        )
        # Pools of their own: what is finished must not queue behind the pictures that are fetched ahead, nor the engine
        # behind either.
        self._fetchers, self._keepers = ThreadPoolExecutor(FETCHERS), ThreadPoolExecutor(KEEPERS)
        self._computer, self._clerk = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._outbox = Outbox(self._results, keepers=self._keepers, clerk=self._clerk, stop=stop)
        self._optimizing: Optimizing | None = None
        """The batch that the engine has."""
        self._in_hand: list[str] = []
        """Tasks that were begun."""

    def run(self) -> None:
        """Do every task that has no receipt. Raises Stopped, TransientError."""
        with self._threads_ended():
            receipts = list(receipts_of(self._store, self._settings.store.bucket, self._plan, self._settings.shard))
            ended = {r.task_id for r in receipts}
            todo = [task for task in self._tasks if task.task_id not in ended]
            notes = self._notes.of_others()
            dead = [note for note in notes if not note.stopped]
            self._results.start = attempts.start_of(notes, receipts)
            for task_id in ended & attempts.in_hands(dead):
                self._checkpoints.forget(task_id)  # an attempt may have died between the receipt and this
            course = attempts.course_of(todo, dead, batches.window(max(self._plan.recipe.style_sizes_px)))
            log.info("shard_started", tasks=len(self._tasks), todo=len(todo))
            self._metrics.begin(lambda: len(todo) - len(self._outbox.ended))
            self._stop.at_work = True
            try:
                self._do(course)
            except Exception as error:
                self._save_what_can_be(error)
                if not self._stop.told:
                    raise
                if len(self._outbox.ended) < len(todo):
                    raise Stopped from error
            self._notes.clear()
            self._results.write_done(receipt.done_among(receipts))
            log.info("shard_finished", tasks=len(todo))

    def _do(self, course: Course) -> None:
        # Written with what comes next: what the first receipts say of this attempt is known when it has loaded.
        self._outbox.refuse(_refused(course.refused, "killed_worker", KILLED_WORKER))
        if course.windows:
            try:
                self._optimize(course)
            except LoadFailed as failed:
                # The same for every picture of the shard: say so in each one's receipt rather than try again.
                tasks = [task for window in course.windows for task in window.tasks]
                self._outbox.refuse(_refused(tasks, failed.reason, str(failed)))
        self._outbox.finish()

    def _optimize(self, course: Course) -> None:
        first = course.windows[0]
        # The first pictures come in while TensorFlow and the weights are loading.
        ahead = [] if first.alone else self._fetch(first)
        loaded = self._loaded()
        style_seconds = loaded.style_seconds
        for number, window in enumerate(course.windows):
            if window.alone:
                # With nothing else in the works: if this attempt dies, it is this picture's doing.
                self._outbox.finish()
                ahead = self._fetch(window)
            arrived = [self._stop.result_of(future) for future in ahead]
            following = course.windows[number + 1 : number + 2]
            if following and not following[0].alone:
                ahead = self._fetch(following[0])
            self._outbox.refuse([r for r in arrived if isinstance(r, Refused)])
            self._outbox.seal()
            prepared = [p for p in arrived if isinstance(p, Prepared)]
            for batch in batches.batches(prepared, self._plan.recipe.refine, at_most=course.batch_max):
                self._optimizing = Optimizing(
                    batch,
                    plan=self._plan,
                    loaded=loaded,
                    outbox=self._outbox,
                    checkpoints=self._checkpoints,
                    computer=self._computer,
                    keepers=self._keepers,
                    monotonic=self._monotonic,
                    stop=self._stop,
                    metrics=self._metrics,
                    spans=self._spans,
                    style_seconds=style_seconds,
                )
                self._optimizing.run()
                self._metrics.idle()
                self._optimizing, style_seconds = None, 0.0

    def _loaded(self) -> Loaded:
        """The engine and the looks. Raises LoadFailed, Stopped, TransientError."""
        plan, recipe = self._plan, self._plan.recipe
        started = time.monotonic()
        loaded = self._stop.result_of(
            self._computer.submit(load, self._store, self._settings, plan),
            limit_seconds=patience.limit_seconds(recipe, evaluations=len(plan.styles) * len(recipe.style_sizes_px)),
        )
        self._results.facts = loaded.facts
        if self._results.start is not None:
            self._results.start = replace(
                self._results.start, style_hits=loaded.style_hits, style_misses=loaded.style_misses
            )
        self._metrics.loaded(loaded.facts, engines.gpu_memory)
        log.info("engine_loaded", device=loaded.facts.device, seconds=round(time.monotonic() - started, 2))
        return loaded

    def _save_what_can_be(self, error: Exception) -> None:
        """Before an early end: receipts first, as they are small and save most, then the note, then checkpoints, then
        the receipts of results that were still on their way."""
        # Whatever nobody foresaw, such as a GPU without memory, is a death: the next attempt shall know over what.
        orderly = isinstance(error, Stopped | StylefleetError) and not isinstance(error, StepHung)
        if self._optimizing is not None:
            self._optimizing.say_stopped()
        try:
            self._outbox.write_stored()
            if orderly and self._stop.told:
                self._notes.say_stopped()
            elif orderly:
                self._notes.take_back()
            if orderly and self._optimizing is not None:  # else its state may not be had either
                self._optimizing.save()
            self._outbox.write_rest()
        except (TransientError, PreconditionFailed) as also:
            log.warning("receipts_not_written", error=str(also))

    def _fetch(self, window: Window) -> list[Future[Prepared | Refused]]:
        """Begin with the tasks of a window; nothing of them is touched before the note is there."""
        self._in_hand = [t for t in self._in_hand if t not in self._outbox.ended] + [t.task_id for t in window.tasks]
        noted = self._fetchers.submit(self._notes.write, Note(task_ids=frozenset(self._in_hand), alone=window.alone))
        return [self._fetchers.submit(self._prepare, task, noted) for task in window.tasks]

    def _prepare(self, task: Task, noted: Future[None]) -> Prepared | Refused:
        noted.result()
        began = time.monotonic()
        prepared = prepare(self._store, self._plan, task)
        self._spans.stages(task.task_id, began, prepared.seconds)
        if isinstance(prepared, Refused):
            return prepared
        return replace(prepared, checkpoint=self._checkpoints.find(task.task_id))

    @contextmanager
    def _threads_ended(self) -> Iterator[None]:
        """Who was told to end waits neither for the store nor for a step, and nobody for an engine that hangs."""
        hung = False
        try:
            yield
        except StepHung:
            hung = True
            raise
        finally:
            # The clerk before the keepers: who waits for a result that is called off then waits for ever.
            for pool in (self._fetchers, self._computer, self._clerk, self._keepers):
                pool.shutdown(wait=not (self._stop.told or hung), cancel_futures=True)


def _refused(tasks: Sequence[Task], reason: str, message: str) -> list[Refused]:
    return [Refused(task=task, reason=reason, message=message) for task in tasks]


def load_shard(store: Store, settings: WorkerSettings) -> tuple[Plan, list[Task]]:
    """The plan and this worker's tasks; raises NotFound where there is no such run or shard."""
    bucket = settings.store.bucket
    plan = plan_from_json(store.get(Ref(bucket, naming.plan_key(settings.name, settings.run))).data)
    if settings.shard >= len(plan.shards):
        raise NotFound(f"run {plan.name}/{plan.run} has {len(plan.shards)} shards; there is no shard {settings.shard}")
    return plan, tasks_of(store, bucket, plan, settings.shard)
