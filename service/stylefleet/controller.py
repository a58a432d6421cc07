"""The controller: look at the inbox, decide, act. Level-triggered: each tick can start from nothing."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

import structlog

from stylefleet import manifest as manifests
from stylefleet import naming, planner, yaml_positions
from stylefleet import tenants as tenancy
from stylefleet.cluster import Cluster
from stylefleet.errors import FieldError, ManifestInvalid, PreconditionFailed, StylefleetError
from stylefleet.gate import Gate
from stylefleet.inbox import Inbox, Markers, Submission, inbox_of
from stylefleet.jobs import JobView, WorkerTemplate, job_for
from stylefleet.metrics import ControllerMetrics
from stylefleet.naming import Ref
from stylefleet.newcomers import Newcomers
from stylefleet.plan import Plan
from stylefleet.planner import Pace
from stylefleet.policies.admission import Limits, Request, in_order
from stylefleet.reconcile import CreateJob, DeleteJob, Finish, ReleaseJob, early_end, reconcile
from stylefleet.run_watch import RunWatch
from stylefleet.status import Phase, Status
from stylefleet.status_book import StatusBook
from stylefleet.store import Listed, Store
from stylefleet.tenants import Tenants
from stylefleet.turns import URGENT_MAX, Candidate, turns

log = structlog.get_logger(__name__)


ASKED_MAX = 16
"""About so many runs are asked about in one tick why nobody is at work on them."""

_JobsByRun = Mapping[str, JobView]


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
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._bucket = bucket
        self._allowed_to_all = allowed
        self._template = template
        self._pace = pace
        self._metrics = metrics
        # Of one clock, the store's: what this machine's says is never compared with the time of an object.
        self._clock = store.now
        self._tenants = tenants or {}
        self._limits = limits or Limits(by_tenant={}, weights={})
        self._gate = Gate(self._limits)
        self._newcomers = Newcomers(store)
        self._book = StatusBook(store, bucket)
        self._runs: dict[str, RunWatch] = {}
        self._ticks = 0
        self._looked_at: dict[str, int] = {}
        """The tick that looked at a name last."""
        self._ask_every = 1
        """Ticks between two questions why nobody is at work on one run."""
        self._gone_once: set[str] | None = None

    def tick(self) -> bool:
        """One look at everything; whether newcomers had to wait for the next one, which should come at once.

        A fault of one manifest never stops the others; a fault of a listing is raised.
        """
        started = time.monotonic()
        self._ticks += 1
        listing = self._store.list(Ref(self._bucket, naming.INBOX_PREFIX))
        inbox = inbox_of(listing, of_tenants=bool(self._tenants))
        # Jobs before receipts: what a finished Job did is then surely among the receipts.
        jobs: dict[str, dict[str, JobView]] = defaultdict(dict)
        for job in self._cluster.list_jobs():
            if job.bucket == self._bucket:
                jobs[self._owner(job)][job.run] = job
        if self._gone_once is None:
            self._book.load_all()
            self._gone_once = set()
        self._begin_turns(inbox, jobs)
        newcomers_left = self._advance_all(inbox, jobs)
        for twin in inbox.twins:
            self._guarded(twin.ref.key, lambda: self._reject_twin(twin))  # noqa: B023 - called at once
        self._end_orphans(inbox.manifests.keys(), jobs)
        self._set_gauges()
        self._metrics.tick_seconds.observe(time.monotonic() - started)
        self._metrics.last_tick.set_to_current_time()
        return newcomers_left

    def _begin_turns(self, inbox: Inbox, jobs: Mapping[str, _JobsByRun]) -> None:
        """Let the gate know what lives; Jobs that were begun with fewer workers than they want may get more."""
        live: Counter[str] = Counter()
        growing: dict[str, tuple[JobView, Request]] = {}
        for name, own in jobs.items():
            live[naming.tenant_of(name)] += sum(job.workers for job in own.values())
            run = self._runs.get(name)
            job = own.get(run.plan.run) if run is not None else None
            if run is None or job is None or job.queue is not None or job.finished or job.deleting:
                continue
            wanted = min(run.plan.parallelism, job.open_indexes)
            if wanted > job.parallelism:
                growing[name] = job, replace(self._request(run), wanted=wanted, has=job.parallelism)

        def still_waits(name: str) -> bool:
            known = self._book.remembered(name)
            return name in inbox.manifests and not jobs.get(name) and not (known is not None and known.phase.final)

        grown = self._gate.begin(live, [request for _, request in growing.values()], still_waits=still_waits)
        for name, workers in grown.items():
            job, _ = growing[name]
            self._guarded(name, lambda: self._cluster.resize_job(job, workers))  # noqa: B023 - called at once

    def _request(self, run: RunWatch) -> Request:
        plan = run.plan
        wanted = min(plan.parallelism, run.shards)
        # A Job of a queue is never changed, so what it begins with is what it has to its end.
        queued = plan.queue or self._template.pod.queue
        return Request(
            name=plan.name,
            tenant=naming.tenant_of(plan.name),
            priority=plan.terms.priority,
            submitted_at=run.submission.put_at if run.submission else plan.planned_at,
            wanted=wanted,
            fewest=min(wanted, plan.terms.parallelism_min or (wanted if queued else 1)),
        )

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

    def _advance_all(self, inbox: Inbox, jobs: Mapping[str, _JobsByRun]) -> bool:
        urgent: dict[str, bool] = {}
        for name, listed in inbox.manifests.items():
            own, known = jobs.get(name, {}), self._book.remembered(name)
            if known is not None and known.phase.final and known.submission == Submission.of(listed):
                # Nothing to do until its manifest changes: most of a large inbox.
                if own:
                    self._guarded(name, lambda: self._clean_up(known, own))  # noqa: B023 - called at once
                continue
            urgent[name] = self._wants_action(name, listed, own, inbox.markers(name))
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
        for name in chosen.names:
            self._looked_at[name] = self._ticks
            listed, own, asked = inbox.manifests[name], jobs.get(name, {}), inbox.markers(name)
            self._guarded(name, lambda: self._advance(name, listed, own, asked))  # noqa: B023 - called at once
        return chosen.newcomers_left

    def _wants_action(self, name: str, listed: Listed, own_jobs: _JobsByRun, asked: Markers) -> bool:
        run = self._runs.get(name)
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
        if not self._tenants or job.namespace == self._namespace(job.owner_name):
            return job.owner_name
        log.warning("job_out_of_place", job=job.name, namespace=job.namespace, manifest=job.owner_name)
        return ""

    def _namespace(self, name: str) -> str:
        return tenancy.namespace_for(name, self._tenants, default=self._template.namespace)

    def _guarded(self, name: str, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            # The one place that goes on after any fault: the others' work must not wait for it. The next tick retries.
            self._metrics.tick_failures.labels(scope="manifest").inc()
            bug = not isinstance(error, StylefleetError)
            log.error("manifest_failed", manifest=name, error=str(error), exc_info=bug)  # noqa: TRY400 - only for bugs

    # --- one manifest ---------------------------------------------------------------------------------------------

    def _advance(self, name: str, listed: Listed, own_jobs: _JobsByRun, asked: Markers) -> None:
        if listed.size_bytes > yaml_positions.BYTES_MAX:
            # Not read at all: it may not fit into memory.
            self._stop_others(name, listed.etag, own_jobs)
            self._reject(name, listed.etag, Submission.of(listed), _too_large(listed))
            return
        # Read anew where another controller wrote it.
        watched, known = self._runs.get(name), self._book.get(name)
        if (
            watched is not None
            and watched.submission == Submission.of(listed)
            and not (known is not None and known.run == watched.plan.run and known.phase.final)
        ):
            self._go_on(watched, own_jobs, asked)
            return
        found = self._store.get(listed.ref)
        run_id, submission = naming.run_id(name, found.data, found.modified_at), Submission.of(found)
        if known is not None and known.run == run_id and known.phase.final:
            self._stop_others(name, run_id, own_jobs)
            # Of a version that did not say which put it speaks of: now it does, and the manifest is not read again.
            self._book.put(replace(known, submission=submission), self._clock())
            self._runs.pop(name, None)
            return
        try:
            self._cluster.require_listed(self._namespace(name))
            allowed = self._allowed(name, own_jobs)
            if self._stop_others(name, run_id, own_jobs):
                # Not before they are gone: a worker of the old run must not write over a result of the new one.
                message = "waiting for the workers of the run before to end"
                self._book.put(Status(name=name, run=run_id, phase=Phase.PENDING, message=message), self._clock())
                return
            plan = planner.load_plan(self._store, self._bucket, name, run_id)
            plan = plan or self._plan(name, run_id, found.data, allowed)
            run = self._runs[name] = RunWatch(self._store, self._bucket, plan, submission)
        except ManifestInvalid as error:
            self._reject(name, run_id, submission, error)
            return
        except PreconditionFailed:
            raise  # another controller is at work: its word stands
        except Exception as error:
            self._hold_up(name, run_id, error)
            raise
        self._go_on(run, own_jobs, asked)

    def _go_on(self, run: RunWatch, own_jobs: _JobsByRun, asked: Markers) -> None:
        name, run_id = run.plan.name, run.plan.run
        try:
            self._cluster.require_listed(self._namespace(name))
            self._step(run, own_jobs.get(run_id), asked)
        except PreconditionFailed:
            raise  # another controller is at work: its word stands
        except Exception as error:
            self._hold_up(name, run_id, error)
            raise

    def _allowed(self, name: str, own_jobs: _JobsByRun) -> tuple[Ref, ...]:
        """Folders that the manifest may use; raises ManifestInvalid where it belongs to nobody, and ends its workers:
        they may still run where a tenant was taken off the list."""
        try:
            return tenancy.allowed_for(name, self._tenants, everybody=self._allowed_to_all)
        except ManifestInvalid:
            self._stop_others(name, "", own_jobs)
            raise

    def _hold_up(self, name: str, run_id: str, error: Exception) -> None:
        """Say in the status what the run waits for; the next tick tries again."""
        why = str(error) if isinstance(error, StylefleetError) else "a bug; see the controller's log"
        known = self._book.get(name)
        ours = known is not None and known.run == run_id
        status = known if known is not None and ours else Status(name=name, run=run_id, phase=Phase.PENDING)
        self._book.put(replace(status, reason=type(error).__name__, message=f"held up: {why}"), self._clock())

    def _clean_up(self, ended: Status, own_jobs: _JobsByRun) -> None:
        """After the end of a run: other runs' Jobs are stopped, its own is let go.

        That of a run that ended before its pictures were done is stopped as well: a controller that fell asleep between
        its last look and its request may have made it when all was over.
        """
        self._stop_others(ended.name, ended.run, own_jobs)
        job = own_jobs.get(ended.run)
        if job is not None and not job.finished and ended.phase is not Phase.SUCCEEDED:
            self._cluster.delete_job(job)
        self._tidy(ended.run, own_jobs)

    def _stop_others(self, name: str, run_id: str, own_jobs: _JobsByRun) -> bool:
        """Delete unfinished Jobs of other runs of this name, let finished ones go; whether any may still be at work."""
        at_work = False
        for run, job in own_jobs.items():
            if run == run_id:
                continue
            if job.finished:
                self._tidy(run, own_jobs)
                continue
            log.info("superseded", manifest=name, run=run, by=run_id)
            self._cluster.delete_job(job)
            at_work = True
        return at_work

    def _tidy(self, run_id: str, own_jobs: _JobsByRun) -> None:
        """After the end of a run: its Job is let go."""
        job = own_jobs.get(run_id)
        if job is not None and job.held:
            self._cluster.release_job(job)

    def _plan(self, name: str, run_id: str, data: bytes, allowed: tuple[Ref, ...]) -> Plan:
        manifest = manifests.parse(data, name=name, allowed=allowed, service_bucket=self._bucket)
        self._book.put(Status(name=name, run=run_id, phase=Phase.PENDING, message="being planned"), self._clock())
        plan = planner.plan_run(
            self._store,
            self._bucket,
            name=name,
            manifest=manifest,
            manifest_bytes=data,
            run=run_id,
            pace=self._pace,
            now=self._clock(),
        )
        log.info(
            "planned", manifest=name, run=run_id, pictures=plan.pictures, skipped=plan.skipped, shards=len(plan.shards)
        )
        return plan

    def _step(self, run: RunWatch, job: JobView | None, asked: Markers) -> None:
        # What is decided for good needs every receipt; what is only shown can wait for the rest.
        run.read_receipts(self._metrics, self._clock(), all_of_them=job is None or bool(job.finished))
        known = self._book.get(run.plan.name)
        ending = known.ending if known is not None and known.run == run.plan.run else None
        observe = partial(run.observed, job, self._cluster, self._clock(), asked=asked, ending=ending)
        observed = observe()
        if ending is None and early_end(run.plan, observed) is not None:
            run.read_receipts(self._metrics, self._clock(), all_of_them=True)
            observed = observe()
        actions, waits = reconcile(run.plan, observed), ""
        if not any(isinstance(a, CreateJob) for a in actions):
            self._gate.withdraw(run.plan.name)
        for action in actions:
            if isinstance(action, CreateJob):
                waits = self._create_job(run)
            else:
                self._act(action, run)
        if not any(isinstance(a, Finish) for a in actions):
            now, may_ask = self._clock(), self._ticks - run.asked_at >= self._ask_every
            running = run.running_status(observed, self._cluster, self._pace, now, may_ask=may_ask)
            self._book.put(replace(running, waiting_because=waits or running.waiting_because), now)
            if may_ask:
                run.asked_at = self._ticks

    # --- acting ---------------------------------------------------------------------------------------------------

    def _create_job(self, run: RunWatch) -> str:
        """Make the run's Job where it is its turn; else why it waits."""
        turn = self._gate.ask(self._request(run))
        if not turn.workers:
            return turn.waiting_because
        log.info("act", manifest=run.plan.name, run=run.plan.run, action=CreateJob.__name__, workers=turn.workers)
        # A controller that slept must not make the Job of a run that another has ended meanwhile.
        self._book.confirm(run.plan.name)
        template = replace(self._template, namespace=self._namespace(run.plan.name))
        self._cluster.create_job(job_for(replace(run.whole_plan(), parallelism=turn.workers), template))
        return ""

    def _act(self, action: DeleteJob | ReleaseJob | Finish, run: RunWatch) -> None:
        log.info("act", manifest=run.plan.name, run=run.plan.run, action=type(action).__name__)
        match action:
            case DeleteJob(job=job):
                self._cluster.delete_job(job)
            case ReleaseJob(job=job):
                self._cluster.release_job(job)
            case Finish():
                self._finish(action, run)

    def _finish(self, finish: Finish, run: RunWatch) -> None:
        plan, now = run.plan, self._clock()
        # The report before the status: who reads a final phase finds the report.
        report = run.write_report(finish, now)
        self._book.put(run.final_status(finish, report, now), now)
        self._runs.pop(plan.name, None)
        log.info("finished", manifest=plan.name, run=plan.run, phase=finish.phase.value, message=finish.message)

    def _reject(self, name: str, run_id: str, submission: Submission | None, error: ManifestInvalid) -> None:
        count = len(error.errors)
        rejected = Status(
            name=name,
            run=run_id,
            submission=submission,
            phase=Phase.REJECTED,
            reason=type(error).__name__,
            message=str(error) if count == 1 else f"{count} errors; each is in errors",
            errors=error.errors,
            finished_at=self._clock(),
        )
        self._book.put(rejected, self._clock())
        log.info("rejected", manifest=name, errors=[str(e) for e in error.errors])

    def _reject_twin(self, twin: Listed) -> None:
        """A second file of one name (`a.yaml` beside `a.json`): said under the file's full name, nothing else stops."""
        file_name = twin.ref.key.removeprefix(naming.INBOX_PREFIX)
        if self._book.get(file_name) is None:
            message = "another manifest has this name already, so this file is not read"
            error = FieldError(path="", message=message, found=file_name, allowed="one file a name")
            self._reject(file_name, "", None, ManifestInvalid([error]))

    # --- manifests that are gone ----------------------------------------------------------------------------------

    def _end_orphans(self, names: Collection[str], jobs: Mapping[str, _JobsByRun]) -> None:
        """Cancel runs whose manifest was deleted; seen gone twice, since a listing may race with a new put."""
        known = (jobs.keys() | self._book.live_names()).difference(names)
        # Without the setting tenants' runs rest: a variable that was forgotten must not cancel them.
        gone = {name for name in known if tenancy.concerns(name, self._tenants)}
        for name in sorted(gone & (self._gone_once or set()))[:URGENT_MAX]:
            own = jobs.get(name, {}).values()
            self._guarded(name, lambda: self._end_orphan(name, own))  # noqa: B023 - called at once
        self._gone_once = gone

    def _end_orphan(self, name: str, own: Collection[JobView]) -> None:
        self._cluster.require_listed(self._namespace(name))
        for job in own:
            log.info("manifest_deleted", manifest=name, run=job.run)
            self._cluster.delete_job(job)
        known = self._book.get(name)
        if own or known is None or known.phase.final:
            return  # the report comes when the workers are gone
        plan = planner.load_plan(self._store, self._bucket, name, known.run)
        if plan is None:
            message = "the manifest was deleted before it was planned"
            self._book.put(replace(known, phase=Phase.CANCELLED, message=message), self._clock())
            return
        run = self._runs.get(name)
        if run is None or run.plan.run != known.run:
            run = RunWatch(self._store, self._bucket, plan, known.submission)
        run.read_receipts(self._metrics, self._clock(), all_of_them=True)
        kept = run.tally.done + plan.skipped
        message = f"the manifest was deleted; {kept} of {plan.pictures} pictures have a result"
        self._finish(Finish(phase=Phase.CANCELLED, message=message), run)

    def _set_gauges(self) -> None:
        names = self._book.live_names()
        live = [run for name, run in self._runs.items() if name in names]
        waiting = sum(1 for run in live if run.waiting)
        self._ask_every = math.ceil(waiting / ASKED_MAX) or 1
        self._metrics.runs.labels(state="waiting").set(waiting)
        paused = sum(1 for run in live if run.paused)
        self._metrics.runs.labels(state="paused").set(paused)
        self._metrics.runs.labels(state="running").set(len(live) - waiting - paused)
        self._metrics.pending_tasks.set(sum(run.plan.tasks - run.tally.ended for run in live))


def _too_large(listed: Listed) -> ManifestInvalid:
    allowed = f"up to {yaml_positions.BYTES_MAX} bytes"
    error = FieldError(
        path="", message="the manifest is too large", found=f"{listed.size_bytes} bytes", allowed=allowed
    )
    return ManifestInvalid([error])
