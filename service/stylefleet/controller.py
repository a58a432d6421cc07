"""The controller: look at the inbox, decide, act. Level-triggered: each tick can start from nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime

import structlog

from stylefleet import manifest as manifests
from stylefleet import naming, planner, yaml_positions
from stylefleet.cluster import Cluster
from stylefleet.errors import FieldError, ManifestInvalid, PreconditionFailed, StylefleetError
from stylefleet.jobs import JobView, WorkerTemplate, job_for
from stylefleet.metrics import ControllerMetrics
from stylefleet.naming import Ref
from stylefleet.plan import Plan
from stylefleet.planner import Pace
from stylefleet.reconcile import Action, CreateJob, DeleteJob, Finish, ReleaseJob, reconcile
from stylefleet.run_watch import RunWatch
from stylefleet.status import Phase, Status
from stylefleet.status_book import StatusBook
from stylefleet.store import Listed, Store

log = structlog.get_logger(__name__)


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
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._bucket = bucket
        self._allowed = allowed
        self._template = template
        self._pace = pace
        self._metrics = metrics
        self._clock = clock
        self._book = StatusBook(store, bucket)
        self._runs: dict[str, RunWatch] = {}
        self._finished: dict[str, tuple[str, datetime]] = {}
        """ETag and time of the manifest by name, where its run is final: nothing to do until these change."""
        self._gone_once: set[str] | None = None

    def tick(self) -> None:
        """One look at everything. A fault of one manifest never stops the others; a fault of a listing is raised."""
        started = time.monotonic()
        inbox = list(self._store.list(Ref(self._bucket, naming.INBOX_PREFIX)))
        # Jobs before receipts: what a finished Job did is then surely among the receipts.
        jobs = [j for j in self._cluster.list_jobs() if j.bucket == self._bucket]
        if self._gone_once is None:
            self._book.load_all()
            self._gone_once = set()
        manifest_by_name, twins = _by_name(inbox)
        keys = {o.ref.key for o in inbox}
        for name, listed in manifest_by_name.items():
            own = {j.run: j for j in jobs if j.owner_name == name}
            with_marker = naming.cancel_key(name) in keys
            self._guarded(name, lambda: self._advance(name, listed, own, with_marker))  # noqa: B023 - called at once
        for twin in twins:
            self._guarded(twin.ref.key, lambda: self._reject_twin(twin))  # noqa: B023 - called at once
        self._end_orphans(manifest_by_name.keys(), jobs)
        self._set_gauges()
        self._metrics.tick_seconds.observe(time.monotonic() - started)
        self._metrics.last_tick.set(self._clock().timestamp())

    def _guarded(self, name: str, step: Callable[[], None]) -> None:
        try:
            step()
        except Exception as error:
            # The one place that goes on after any fault: the others' work must not wait for it. The next tick retries.
            self._metrics.tick_failures.labels(scope="manifest").inc()
            bug = not isinstance(error, StylefleetError)
            log.error("manifest_failed", manifest=name, error=str(error), exc_info=bug)  # noqa: TRY400 - only for bugs

    # --- one manifest ---------------------------------------------------------------------------------------------

    def _advance(self, name: str, listed: Listed, own_jobs: Mapping[str, JobView], cancelled: bool) -> None:
        submission = (listed.etag, listed.modified_at)
        known = self._book.get(name)
        if known is not None and self._finished.get(name) == submission:
            self._stop_others(name, known.run, own_jobs)
            self._tidy(known.run, own_jobs)
            return
        if listed.size_bytes > yaml_positions.BYTES_MAX:
            # Not read at all: it may not fit into memory.
            self._stop_others(name, listed.etag, own_jobs)
            self._reject(name, listed.etag, _too_large(listed))
            self._finished[name] = submission
            return
        found = self._store.get(listed.ref)
        run_id = naming.run_id(name, found.data, found.modified_at)
        if known is not None and known.run == run_id and known.phase.final:
            self._stop_others(name, run_id, own_jobs)
            self._finished[name] = submission
            self._runs.pop(name, None)
            return
        try:
            if self._stop_others(name, run_id, own_jobs):
                # Not before they are gone: a worker of the old run must not write over a result of the new one.
                message = "waiting for the workers of the run before to end"
                self._book.put(Status(name=name, run=run_id, phase=Phase.PENDING, message=message), self._clock())
                return
            run = self._run(name, run_id, found.data)
            self._step(run, own_jobs.get(run_id), cancelled)
        except ManifestInvalid as error:
            self._reject(name, run_id, error)
        except PreconditionFailed:
            raise  # another controller is at work: its word stands
        except Exception as error:
            expected = isinstance(error, StylefleetError)
            self._hold_up(
                name, run_id, type(error).__name__, str(error) if expected else "a bug; see the controller's log"
            )
            raise

    def _hold_up(self, name: str, run_id: str, reason: str, why: str) -> None:
        """Say in the status what the run waits for; the next tick tries again."""
        known = self._book.get(name)
        ours = known is not None and known.run == run_id
        status = known if known is not None and ours else Status(name=name, run=run_id, phase=Phase.PENDING)
        self._book.put(replace(status, reason=reason, message=f"held up: {why}"), self._clock())

    def _stop_others(self, name: str, run_id: str, own_jobs: Mapping[str, JobView]) -> bool:
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

    def _tidy(self, run_id: str, own_jobs: Mapping[str, JobView]) -> None:
        """After the end of a run: its Job is let go."""
        job = own_jobs.get(run_id)
        if job is not None and job.held:
            self._cluster.release_job(job)

    def _run(self, name: str, run_id: str, data: bytes) -> RunWatch:
        run = self._runs.get(name)
        if run is None or run.plan.run != run_id:
            plan = planner.load_plan(self._store, self._bucket, name, run_id) or self._plan(name, run_id, data)
            run = self._runs[name] = RunWatch(plan)
        return run

    def _plan(self, name: str, run_id: str, data: bytes) -> Plan:
        manifest = manifests.parse(data, name=name, allowed=self._allowed, service_bucket=self._bucket)
        self._book.put(Status(name=name, run=run_id, phase=Phase.PENDING, message="being planned"), self._clock())
        plan = planner.plan_run(
            self._store,
            self._bucket,
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

    def _step(self, run: RunWatch, job: JobView | None, cancelled: bool) -> None:
        run.read_receipts(self._store, self._bucket, self._metrics)
        observed = run.observed(job, self._cluster, cancelled=cancelled)
        actions = reconcile(run.plan, observed)
        for action in actions:
            self._act(action, run)
        if not any(isinstance(a, Finish) for a in actions):
            now = self._clock()
            self._book.put(run.running_status(observed, self._cluster, self._pace, now), now)

    # --- acting ---------------------------------------------------------------------------------------------------

    def _act(self, action: Action, run: RunWatch) -> None:
        log.info("act", manifest=run.plan.name, run=run.plan.run, action=type(action).__name__)
        match action:
            case CreateJob():
                # A controller that slept must not make the Job of a run that another has ended meanwhile.
                self._book.confirm(run.plan.name)
                self._cluster.create_job(job_for(run.plan, self._template))
            case DeleteJob(job=job):
                self._cluster.delete_job(job)
            case ReleaseJob(job=job):
                self._cluster.release_job(job)
            case Finish():
                self._finish(action, run)

    def _finish(self, finish: Finish, run: RunWatch) -> None:
        plan, now = run.plan, self._clock()
        ref = Ref(self._bucket, naming.report_key(plan.name, plan.run))
        # The report before the status: who reads a final phase finds the report.
        self._store.put(ref, run.report(finish, now), content_type="application/json")
        self._book.put(run.final_status(finish, ref, now), now)
        log.info("finished", manifest=plan.name, run=plan.run, phase=finish.phase.value, message=finish.message)

    def _reject(self, name: str, run_id: str, error: ManifestInvalid) -> None:
        count = len(error.errors)
        rejected = Status(
            name=name,
            run=run_id,
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
            self._reject(file_name, "", ManifestInvalid([error]))

    # --- manifests that are gone ----------------------------------------------------------------------------------

    def _end_orphans(self, names: Collection[str], jobs: Collection[JobView]) -> None:
        """Cancel runs whose manifest was deleted; seen gone twice, since a listing may race with a new put."""
        gone = {j.owner_name for j in jobs} | self._book.live_names()
        gone.difference_update(names)
        for name in gone & (self._gone_once or set()):
            own = [j for j in jobs if j.owner_name == name]
            self._guarded(name, lambda: self._end_orphan(name, own))  # noqa: B023 - called at once
        self._gone_once = gone

    def _end_orphan(self, name: str, own: Collection[JobView]) -> None:
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
            run = RunWatch(plan)
        run.read_receipts(self._store, self._bucket, self._metrics)
        kept = run.tally.done + plan.skipped
        message = f"the manifest was deleted; {kept} of {plan.pictures} pictures have a result"
        self._finish(Finish(phase=Phase.CANCELLED, message=message), run)
        self._runs.pop(name, None)

    def _set_gauges(self) -> None:
        live = [run for name, run in self._runs.items() if name in self._book.live_names()]
        waiting = sum(1 for run in live if run.waiting)
        self._metrics.runs.labels(state="waiting").set(waiting)
        self._metrics.runs.labels(state="running").set(len(live) - waiting)
        self._metrics.pending_tasks.set(sum(run.plan.tasks - run.tally.ended for run in live))


def _too_large(listed: Listed) -> ManifestInvalid:
    allowed = f"up to {yaml_positions.BYTES_MAX} bytes"
    error = FieldError(
        path="", message="the manifest is too large", found=f"{listed.size_bytes} bytes", allowed=allowed
    )
    return ManifestInvalid([error])


def _by_name(inbox: Collection[Listed]) -> tuple[dict[str, Listed], list[Listed]]:
    """Manifests by name, and those whose name was taken by an earlier key."""
    by_name: dict[str, Listed] = {}
    twins = []
    for listed in inbox:
        name = naming.manifest_name(listed.ref.key)
        if name is not None and by_name.setdefault(name, listed) is not listed:
            twins.append(listed)
    return by_name, twins
