"""The controller: look at the inbox, and let every manifest have its turn. Level-triggered: each tick can start from
nothing.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import structlog

from stylefleet import naming
from stylefleet import tenants as tenancy
from stylefleet.cluster import Cluster
from stylefleet.count_book import CountBook
from stylefleet.errors import PreconditionFailed, StylefleetError
from stylefleet.gate import Gate
from stylefleet.inbox import Inbox, Markers, Submission
from stylefleet.inbox_reader import InboxReader
from stylefleet.jobs import JobView, WorkerTemplate
from stylefleet.metrics import ControllerMetrics
from stylefleet.naming import Ref
from stylefleet.newcomers import Newcomers
from stylefleet.planner import Pace
from stylefleet.policies.admission import Limits, Request, in_order
from stylefleet.price import Price
from stylefleet.run_keeper import JobsByRun, RunKeeper
from stylefleet.status_book import StatusBook
from stylefleet.store import Listed, Store
from stylefleet.tenants import Tenants
from stylefleet.turns import URGENT_MAX, Candidate, turns

log = structlog.get_logger(__name__)


AT_A_TIME = 16
"""Runs that are looked at at the same time."""
ASKED_MAX = 16
"""About so many runs are asked about in one tick why nobody is at work on them."""


class Controller:
    """One controller of one bucket; `tick` is the whole of it."""

    def __init__(
        self,
        *,
        store: Store,
        cluster: Cluster,
        bucket: str,
        allowed: tuple[Ref, ...],
        template: WorkerTemplate,
        pace: Pace,
        metrics: ControllerMetrics,
        tenants: Tenants | None = None,
        limits: Limits | None = None,
        price: Price | None = None,
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._bucket = bucket
        self._metrics = metrics
        self._tenants = tenants or {}
        self._limits = limits or Limits(by_tenant={}, weights={})
        self._gate = Gate(self._limits)
        self._inbox_reader = InboxReader(store, bucket, of_tenants=bool(self._tenants))
        self._newcomers = Newcomers(store)
        self._book = StatusBook(store, bucket)
        self._counts = CountBook(store, bucket, show=metrics.totals.show, price=price)
        self._keeper = RunKeeper(
            store=store,
            cluster=cluster,
            bucket=bucket,
            allowed=allowed,
            template=template,
            pace=pace,
            metrics=metrics,
            counts=self._counts,
            tenants=self._tenants,
            gate=self._gate,
            book=self._book,
            price=price,
        )
        self._settled: dict[str, Listed] = {}
        """Manifests with nothing to do until they change, as they were listed."""
        self._ticks = 0
        self._looked_at: dict[str, int] = {}
        """The tick that looked at a name last."""
        self._asked_at: dict[str, int] = {}
        """The tick in which the cluster could be asked last why nobody is at work on a run."""
        self._ask_every = 1
        """Ticks between two questions why nobody is at work on one run."""
        self._gone_once: set[str] = set()

    def tick(self) -> bool:
        """One look at everything; whether newcomers had to wait for the next one, which should come at once.

        A fault of one manifest never stops the others; a fault of a listing is raised.
        """
        started = time.monotonic()
        self._ticks += 1
        # Jobs before receipts: what a finished Job did is then surely among the receipts.
        jobs: dict[str, dict[str, JobView]] = defaultdict(dict)
        for job in self._cluster.list_jobs():
            if job.bucket == self._bucket:
                jobs[self._owner(job)][job.run] = job
        # The inbox last, so that nobody who submits waits for the Jobs' listing.
        inbox = self._inbox_reader.read()
        if self._counts.outdated:
            self._begin_anew()
        self._keeper.begin_tick()
        self._begin_turns(inbox, jobs)
        newcomers_left = self._advance_all(inbox, jobs)
        for twin in inbox.twins:
            self._guarded(twin.ref.key, lambda: self._keeper.reject_twin(twin))  # noqa: B023 - called at once
        self._end_orphans(inbox.manifests.keys(), jobs)
        self._record()
        self._set_gauges(inbox, jobs)
        self._metrics.tick_seconds.observe(time.monotonic() - started)
        self._metrics.last_tick.set_to_current_time()
        return newcomers_left

    def _begin_anew(self) -> None:
        """At the start, and where another controller was at work meanwhile."""
        self._keeper.runs.clear()  # every receipt is to be shown to who counts
        self._settled.clear()
        self._counts.load()
        self._book.load_all()
        self._counts.settle(self._book.get)

    def _begin_turns(self, inbox: Inbox, jobs: Mapping[str, JobsByRun]) -> None:
        """Let the gate know what lives; Jobs that were begun with fewer workers than they want may get more."""
        live: Counter[str] = Counter()
        growing: dict[str, tuple[JobView, Request]] = {}
        for name, own in jobs.items():
            live[naming.tenant_of(name)] += sum(job.workers for job in own.values())
            run = self._keeper.runs.get(name)
            job = own.get(run.plan.run) if run is not None else None
            if run is None or job is None or job.queue is not None or job.finished or job.deleting:
                continue
            wanted = min(run.plan.parallelism, job.open_indexes)
            if wanted > job.parallelism:
                growing[name] = job, replace(self._keeper.request(run), wanted=wanted, has=job.parallelism)

        # Where Jobs could not be listed, as many as there were: others must not be given their workers meanwhile.
        live |= {tenant: workers for tenant, workers in self._gate.live.items() if self._is_unlisted(tenant)}

        def still_waits(name: str) -> bool:
            known = self._book.remembered(name)
            return name in inbox.manifests and not jobs.get(name) and not (known is not None and known.phase.final)

        grown = self._gate.begin(live, [request for _, request in growing.values()], still_waits=still_waits)
        for name, workers in grown.items():
            job, _ = growing[name]
            self._guarded(name, lambda: self._cluster.resize_job(job, workers))  # noqa: B023 - called at once

    def _is_unlisted(self, tenant: str) -> bool:
        try:
            self._cluster.require_listed(self._keeper.namespace(naming.full_name(tenant, "")))
        except StylefleetError:
            return True
        return False

    def _ranks(self, newcomers: Mapping[str, Listed]) -> dict[str, int]:
        """In which order manifests are planned that no tick has taken up."""
        requests = [
            Request(
                name=name,
                tenant=naming.tenant_of(name),
                priority=wish.priority,
                submitted_at=newcomers[name].modified_at,
                wanted=wish.parallelism,
            )
            for name, wish in self._newcomers.wishes(newcomers).items()
        ]
        ordered = in_order(requests, self._gate.live, self._limits.weights)
        return {request.name: rank for rank, request in enumerate(ordered)}

    def _advance_all(self, inbox: Inbox, jobs: Mapping[str, JobsByRun]) -> bool:
        urgent: dict[str, bool] = {}
        for name, listed in inbox.manifests.items():
            if self._settled.get(name) is listed and name not in jobs:
                continue  # most of a large inbox
            own, known = jobs.get(name, {}), self._book.remembered(name)
            if known is not None and known.phase.final and known.submission == Submission.of(listed):
                self._settled[name] = listed
                if own:
                    self._guarded(name, lambda: self._keeper.clean_up(known, own))  # noqa: B023 - called at once
                continue
            urgent[name] = self._wants_action(name, listed, own, inbox.markers(name))
        if len(self._settled) > len(inbox.manifests):
            self._settled = {name: listed for name, listed in self._settled.items() if name in inbox.manifests}
        ranks = self._ranks({name: inbox.manifests[name] for name in urgent if name not in self._looked_at})
        chosen = turns(
            Candidate(
                name=name,
                urgent=is_urgent,
                looked_at=-1 if self._gate.is_next(name) else self._looked_at.get(name, 0),
                rank=ranks.get(name, 0),
            )
            for name, is_urgent in urgent.items()
        )
        self._looked_at |= dict.fromkeys(chosen.names, self._ticks)

        def advance(name: str) -> None:
            listed, own, asked = inbox.manifests[name], jobs.get(name, {}), inbox.markers(name)
            may_ask = self._ticks - self._asked_at.get(name, 0) >= self._ask_every
            if may_ask:
                self._asked_at[name] = self._ticks
            ahead = self._newcomers.take(name, listed)
            step = partial(self._keeper.advance, name, listed, own, asked, may_ask=may_ask, read_ahead=ahead)
            self._guarded(name, step)

        # Most of it is waiting for the bucket. Who shares workers, though, asks for them in turn.
        with ThreadPoolExecutor(AT_A_TIME if self._limits.none else 1) as pool:
            list(pool.map(advance, chosen.names))
        return chosen.newcomers_left

    def _wants_action(self, name: str, listed: Listed, own_jobs: JobsByRun, asked: Markers) -> bool:
        run = self._keeper.runs.get(name)
        if run is None or run.submission != Submission.of(listed) or asked.cancelled:
            return True
        if asked.paused:
            return bool(own_jobs) or not run.paused
        if not own_jobs:
            return not self._gate.holds(name)
        if len(own_jobs) != 1:
            return True
        job = own_jobs.get(run.plan.run)
        return job is None or bool(job.finished) or job.deleting

    def _owner(self, job: JobView) -> str:
        """The manifest that the Job works for; nobody's where it is in a namespace that is not the tenant's. Whoever
        makes Jobs there may have written another tenant's name on it."""
        if not self._tenants or job.namespace == self._keeper.namespace(job.owner_name):
            return job.owner_name
        log.warning("job_out_of_place", job=job.name, namespace=job.namespace, manifest=job.owner_name)
        return ""

    def _guarded(self, name: str, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            # The one place that goes on after any fault: the others' work must not wait for it. The next tick retries.
            self._metrics.tick_failures.labels(scope="manifest").inc()
            bug = not isinstance(error, StylefleetError)
            log.error("manifest_failed", manifest=name, error=str(error), exc_info=bug)  # noqa: TRY400 - only for bugs

    # --- manifests that are gone ----------------------------------------------------------------------------------

    def _end_orphans(self, names: Collection[str], jobs: Mapping[str, JobsByRun]) -> None:
        """Cancel runs whose manifest was deleted; seen gone twice, since a listing may race with a new put."""
        known = jobs.keys() | self._book.live_names()
        # Without the setting tenants' runs rest: a variable that was forgotten must not cancel them.
        gone = {name for name in known if name not in names and tenancy.concerns(name, self._tenants)}

        def end(name: str) -> None:
            self._guarded(name, partial(self._keeper.end_orphan, name, jobs.get(name, {}).values()))

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(end, sorted(gone & self._gone_once)[:URGENT_MAX]))
        self._gone_once = gone

    # --- what is said of it all -----------------------------------------------------------------------------------

    def _record(self) -> None:
        """Make durable what was counted, and after that the progress."""
        try:
            self._counts.commit()
        except PreconditionFailed:
            log.warning("counts_overtaken")
            return  # another controller has counted: the next tick begins with what it wrote
        now = self._store.now()
        for name, run in list(self._keeper.runs.items()):
            self._guarded(name, lambda: run.record_progress(now))  # noqa: B023 - called at once

    def _set_gauges(self, inbox: Inbox, jobs: Mapping[str, JobsByRun]) -> None:
        names = self._book.live_names()
        live = [run for name, run in self._keeper.runs.items() if name in names]
        waiting = [run for run in live if run.waiting]
        self._ask_every = math.ceil(len(waiting) / ASKED_MAX) or 1
        paused = sum(1 for run in live if run.paused)
        metrics, now = self._metrics, self._store.now()
        metrics.runs.labels(state="waiting").set(len(waiting))
        metrics.runs.labels(state="paused").set(paused)
        metrics.runs.labels(state="running").set(len(live) - len(waiting) - paused)
        metrics.pending_pictures.set(sum(run.plan.tasks - run.tally.ended for run in live))
        queued = [listed for name, listed in inbox.manifests.items() if self._is_queued(name, listed)]
        metrics.queued_manifests.set(len(queued))
        since = [listed.modified_at for listed in queued]
        since += [run.submission.put_at for run in waiting if run.submission is not None]
        metrics.queue_oldest.set(min(since).timestamp() if since else 0)
        at_work = [job for own in jobs.values() for job in own.values() if not job.finished]
        metrics.workers.labels(state="wanted").set(sum(job.workers for job in at_work if not job.suspended))
        metrics.workers.labels(state="active").set(sum(job.active for job in at_work))
        metrics.workers.labels(state="ready").set(sum(job.ready for job in at_work))
        metrics.seconds_left.set(max((run.eta_seconds for run in live), default=0.0))
        metrics.behind_deadline.set(sum(1 for run in live if run.is_behind_deadline(now)))

    def _is_queued(self, name: str, listed: Listed) -> bool:
        """Whether it was not taken up yet."""
        if self._settled.get(name) is listed or name in self._keeper.runs:
            return False
        known = self._book.remembered(name)
        return not (known is not None and known.phase.final and known.submission == Submission.of(listed))
