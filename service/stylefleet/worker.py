"""The worker: one shard, picture by picture. The same entry point in a pod and in a local process.

shard --> (fetch, decode) ahead --> batch of like sizes --> engine.stylize --> result --> receipt
                                                                      | now and then, and when told to end
                                                                      +--> checkpoint, for the next attempt

A result is stored before its receipt, and a receipt's task is never done again: a worker that is killed loses at most
the steps since the last checkpoint of the pictures in flight. docs/stopping.md says what one loses that is told to end.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

import structlog

from stylefleet import batches, naming, receipt
from stylefleet.checkpoints import Checkpoints
from stylefleet.errors import NotFound
from stylefleet.looks import LoadFailed, load
from stylefleet.naming import Ref
from stylefleet.optimizing import Optimizing
from stylefleet.plan import Plan, plan_from_json
from stylefleet.preparing import Prepared, Refused, prepare
from stylefleet.results import Results
from stylefleet.settings import WorkerSettings
from stylefleet.stopping import Stop
from stylefleet.store import Store
from stylefleet.tasks import Task, tasks_from_bytes

log = structlog.get_logger(__name__)

FETCHERS = 8
KEEPERS = batches.BATCH_MAX
"""Results encoded and stored, or checkpoints written, at the same time: a whole batch."""


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
    ) -> None:
        self._store = store
        self._settings = settings
        self._plan = plan
        self._tasks = tasks
        self._clock = clock
        self._stop = stop
        self._checkpoints = Checkpoints(store, settings.store.bucket, tenant=naming.tenant_of(settings.name))
        self._results = Results(store, settings, plan, self._checkpoints, clock)

    def run(self) -> None:
        """Do every task that has no receipt. Raises Stopped, TransientError."""
        ended = self._ended()
        todo = [task for task in self._tasks if task.task_id not in ended]
        log.info("shard_started", tasks=len(self._tasks), todo=len(todo))
        if not todo:
            return
        # Three pools: what is finished must not queue behind the pictures that are fetched ahead, nor the engine behind
        # either.
        fetchers, keepers, computer = _threads(FETCHERS), _threads(KEEPERS), _threads(1)
        try:
            self._do(todo, fetchers, keepers, computer)
        except LoadFailed as failed:
            # The same for every picture of the shard: say so in each one's receipt rather than try again.
            refused = [Refused(task=task, reason=failed.reason, message=str(failed)) for task in todo]
            self._results.write([self._results.refusal(r) for r in refused])
        else:
            log.info("shard_finished", tasks=len(todo))
        finally:
            for pool in (fetchers, keepers, computer):
                # Who was told to end waits neither for the store nor for a step.
                pool.shutdown(wait=not self._stop.told, cancel_futures=True)

    def _do(
        self,
        todo: Sequence[Task],
        fetchers: ThreadPoolExecutor,
        keepers: ThreadPoolExecutor,
        computer: ThreadPoolExecutor,
    ) -> None:
        size = batches.window(max(self._plan.recipe.style_sizes_px))
        windows = [todo[first : first + size] for first in range(0, len(todo), size)]
        # The first pictures come in while TensorFlow and the weights are loading.
        ahead = self._fetch(fetchers, windows[0])
        loaded = self._stop.result_of(computer.submit(load, self._store, self._settings, self._plan))
        self._results.facts, style_seconds = loaded.facts, loaded.style_seconds
        self._stop.at_work = True
        for number in range(len(windows)):
            arrived = [self._stop.result_of(future) for future in ahead]
            if number + 1 < len(windows):
                ahead = self._fetch(fetchers, windows[number + 1])
            self._results.write([self._results.refusal(r) for r in arrived if isinstance(r, Refused)])
            for batch in batches.batches([p for p in arrived if isinstance(p, Prepared)], self._plan.recipe.refine):
                Optimizing(
                    batch,
                    plan=self._plan,
                    loaded=loaded,
                    results=self._results,
                    checkpoints=self._checkpoints,
                    computer=computer,
                    keepers=keepers,
                    clock=self._clock,
                    stop=self._stop,
                    style_seconds=style_seconds,
                ).run()
                style_seconds = 0.0

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


def _threads(count: int) -> ThreadPoolExecutor:
    """Threads whose log lines name the run and the shard, as those of this thread do."""
    context = contextvars.copy_context()

    def take_over() -> None:
        for variable, value in context.items():
            variable.set(value)

    return ThreadPoolExecutor(count, initializer=take_over)


def load_shard(store: Store, settings: WorkerSettings) -> tuple[Plan, list[Task]]:
    """The plan and this worker's tasks; raises NotFound where there is no such run or shard."""
    bucket = settings.store.bucket
    plan = plan_from_json(store.get(Ref(bucket, naming.plan_key(settings.name, settings.run))).data)
    if settings.shard >= len(plan.shards):
        raise NotFound(f"run {plan.name}/{plan.run} has {len(plan.shards)} shards; there is no shard {settings.shard}")
    entry = plan.shards[settings.shard]
    key = naming.shard_key(plan.name, plan.run, entry.index, entry.digest)
    return plan, tasks_from_bytes(store.get(Ref(bucket, key)).data)
