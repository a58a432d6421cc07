"""What is done about one manifest: it is planned, watched, stopped, ended or rejected."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial

import structlog

from stylefleet import manifest as manifests
from stylefleet import naming, planner, report_book, succession, timing_book, yaml_positions
from stylefleet import tenants as tenancy
from stylefleet.cluster import Cluster
from stylefleet.count_book import CountBook
from stylefleet.errors import FieldError, ManifestInvalid, PreconditionFailed, StylefleetError
from stylefleet.gate import Gate
from stylefleet.inbox import Markers, Submission
from stylefleet.jobs import JobView, WorkerTemplate, job_for
from stylefleet.metrics import ControllerMetrics
from stylefleet.naming import Ref
from stylefleet.once import Once
from stylefleet.plan import Plan
from stylefleet.planner import Pace
from stylefleet.policies.admission import Request
from stylefleet.price import Price
from stylefleet.reconcile import CreateJob, DeleteJob, Finish, ReleaseJob, early_end, reconcile
from stylefleet.run_watch import RunWatch
from stylefleet.status import Phase, Status
from stylefleet.status_book import StatusBook
from stylefleet.store import Listed, Object, Store
from stylefleet.tenants import Tenants

log = structlog.get_logger(__name__)

JobsByRun = Mapping[str, JobView]
"""Jobs of one manifest."""


class RunKeeper:
    """The runs of one bucket. Safe to use from several threads, for different manifests."""

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
        counts: CountBook,
        tenants: Tenants,
        gate: Gate,
        book: StatusBook,
        price: Price | None,
    ) -> None:
        self._store = store
        self._cluster = cluster
        self._bucket = bucket
        self._allowed_to_all = allowed
        self._template = template
        self._pace = pace
        self._metrics = metrics
        self._counts = counts
        # Of one clock, the store's: what this machine's says is never compared with the time of an object.
        self._clock = store.now
        self._tenants = tenants
        self._gate = gate
        self._book = book
        self._price = price
        self._once = Once()
        self._just_begun: set[str] = set()
        """Names whose Job this controller has asked for since it looked at their status last."""
        self.runs: dict[str, RunWatch] = {}
        """By name, those that are not final and were taken up."""

    def begin_tick(self) -> None:
        """What manifests look at alike is looked at anew."""
        self._once = Once()

    def namespace(self, name: str) -> str:
        """Where the Jobs of a manifest are."""
        return tenancy.namespace_for(name, self._tenants, default=self._template.namespace)

    def request(self, run: RunWatch) -> Request:
        """The workers that a run asks for."""
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

    def advance(
        self,
        name: str,
        listed: Listed,
        own_jobs: JobsByRun,
        asked: Markers,
        *,
        may_ask: bool,
        read_ahead: Object | None = None,
    ) -> None:
        """Do what is to be done about a manifest whose run is not final. `may_ask`: the cluster, why nobody is at work.
        `read_ahead` is what is listed, where it was read already.

        Raises what the store and the cluster raise, when the status says so.
        """
        if listed.size_bytes > yaml_positions.BYTES_MAX:
            # Not read at all: it may not fit into memory.
            self._stop_others(name, listed.etag, own_jobs)
            self._reject(name, listed.etag, Submission.of(listed), _too_large(listed))
            return
        # Read anew where another controller wrote it.
        watched, known = self.runs.get(name), self._book.get(name)
        self.count_end(known)
        if (
            watched is not None
            and watched.submission == Submission.of(listed)
            and not (known is not None and known.run == watched.plan.run and known.phase.final)
        ):
            self._go_on(watched, own_jobs, asked, may_ask=may_ask)
            return
        found = read_ahead or self._store.get(listed.ref)
        run_id, submission = naming.run_id(name, found.data, found.modified_at), Submission.of(found)
        if known is not None and known.run == run_id and known.phase.final:
            self._stop_others(name, run_id, own_jobs)
            # Of a version that did not say which put it speaks of: now it does, and the manifest is not read again.
            self._book.put(replace(known, submission=submission), self._clock())
            self.runs.pop(name, None)
            return
        try:
            self._cluster.require_listed(self.namespace(name))
            allowed = self._allowed(name, own_jobs)
            if self._stop_others(name, run_id, own_jobs):
                # Not before they are gone: a worker of the old run must not write over a result of the new one.
                message = "waiting for the workers of the run before to end"
                self._book.put(Status(name=name, run=run_id, phase=Phase.PENDING, message=message), self._clock())
                return
            # No older run can have workers then, not even unseen ones.
            first = known is None and not succession.any_run(self._store, self._bucket, name)
            planned = None if first else planner.load_plan(self._store, self._bucket, name, run_id)
            plan = planned or self._plan(name, run_id, found.data, allowed, first=first)
            run = RunWatch(self._store, self._bucket, plan, submission, price=self._price, is_new=planned is None)
            self._count_rest(name, run_id)
            self.runs[name] = run
        except ManifestInvalid as error:
            self._reject(name, run_id, submission, error)
            return
        except PreconditionFailed:
            raise  # another controller is at work: its word stands
        except Exception as error:
            self._hold_up(name, run_id, error)
            raise
        self._go_on(run, own_jobs, asked, may_ask=may_ask, first=first)

    def count_end(self, known: Status | None) -> None:
        """Of a run whose last word stands: where the answer to our put was lost, or another controller said it."""
        if known is not None and known.phase.final:
            self._counts.ended(known)

    def _count_rest(self, name: str, run_id: str) -> None:
        """Of runs of that name before this one, whose workers are gone: what nobody counted yet."""
        for other in self._counts.others(name, run_id):
            plan = planner.load_plan(self._store, self._bucket, name, other)
            if plan is not None:
                run = RunWatch(self._store, self._bucket, plan, None, price=self._price)
                run.read_receipts(self._counts, self._clock(), all_of_them=True)
            self._counts.superseded(other)

    def _go_on(self, run: RunWatch, own_jobs: JobsByRun, asked: Markers, *, may_ask: bool, first: bool = False) -> None:
        """`first` where no run of the name was ever planned before this one."""
        name, run_id = run.plan.name, run.plan.run
        try:
            self._cluster.require_listed(self.namespace(name))
            self._step(run, own_jobs.get(run_id), asked, may_ask=may_ask, first=first)
        except PreconditionFailed:
            raise  # another controller is at work: its word stands
        except Exception as error:
            self._hold_up(name, run_id, error)
            raise

    def _allowed(self, name: str, own_jobs: JobsByRun) -> tuple[Ref, ...]:
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
        if known is not None and ours and known.phase.final:
            return  # its Job could not be let go: that is no news of the run, whose last word would be lost
        status = known if known is not None and ours else Status(name=name, run=run_id, phase=Phase.PENDING)
        self._book.put(replace(status, reason=type(error).__name__, message=f"held up: {why}"), self._clock())

    def clean_up(self, ended: Status, own_jobs: JobsByRun) -> None:
        """After the end of a run: other runs' Jobs are stopped, its own is let go.

        That of a run that ended before its pictures were done is stopped as well: a controller that fell asleep between
        its last look and its request may have made it when all was over.
        """
        self._stop_others(ended.name, ended.run, own_jobs)
        job = own_jobs.get(ended.run)
        if job is not None and not job.finished and ended.phase is not Phase.SUCCEEDED:
            self._cluster.delete_job(job)
        self._tidy(ended.run, own_jobs)

    def _stop_others(self, name: str, run_id: str, own_jobs: JobsByRun) -> bool:
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

    def _tidy(self, run_id: str, own_jobs: JobsByRun) -> None:
        """After the end of a run: its Job is let go."""
        job = own_jobs.get(run_id)
        if job is not None and job.held:
            self._cluster.release_job(job)

    def _plan(self, name: str, run_id: str, data: bytes, allowed: tuple[Ref, ...], *, first: bool) -> Plan:
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
            first=first,
            once=self._once,
        )
        log.info(
            "planned",
            manifest=name,
            run=run_id,
            pictures=plan.pictures,
            skipped=plan.skipped,
            shards=len(plan.shards),
            seconds_per_picture=round(plan.seconds_per_picture, 3),
            seconds_source=plan.seconds_source,
        )
        return plan

    def _step(self, run: RunWatch, job: JobView | None, asked: Markers, *, may_ask: bool, first: bool) -> None:
        name = run.plan.name
        if job is not None and name in self._just_begun:
            # Another controller may have ended the run while ours was asking for its Job, and nothing else would say so
            # until there is news.
            self._book.confirm(name)
            self._just_begun.discard(name)
        # What is decided for good needs every receipt; what is only shown can wait for the rest.
        run.read_receipts(self._counts, self._clock(), all_of_them=job is None or bool(job.finished))
        known = self._book.get(run.plan.name)
        ending = known.ending if known is not None and known.run == run.plan.run else None
        observe = partial(run.observed, job, self._cluster, self._clock(), asked=asked, ending=ending)
        observed = observe()
        if ending is None and early_end(run.plan, observed) is not None:
            run.read_receipts(self._counts, self._clock(), all_of_them=True)
            observed = observe()
        actions, waits, now = reconcile(run.plan, observed), "", self._clock()
        running = partial(run.running_status, observed, self._cluster, self._pace, now, may_ask=may_ask)
        if not any(isinstance(a, CreateJob) for a in actions):
            self._gate.withdraw(run.plan.name)
        for action in actions:
            if isinstance(action, CreateJob):
                waits = self._create_job(run, running, now, first=first)
            else:
                self._act(action, run)
        if not any(isinstance(a, Finish) for a in actions):
            goes_on = running()
            self._book.put(replace(goes_on, waiting_because=waits or goes_on.waiting_because), now)

    # --- acting ---------------------------------------------------------------------------------------------------

    def _create_job(self, run: RunWatch, running: Callable[[], Status], now: datetime, *, first: bool) -> str:
        """Make the run's Job where it is its turn; else why it waits."""
        name, run_id = run.plan.name, run.plan.run
        turn = self._gate.ask(self.request(run))
        if not turn.workers:
            return turn.waiting_because
        log.info("act", manifest=name, run=run_id, action=CreateJob.__name__, workers=turn.workers)
        template = replace(self._template, namespace=self.namespace(name))
        job = job_for(replace(run.whole_plan(), parallelism=turn.workers), template)

        def confirm() -> None:
            # A controller that slept must not make the Job of a run that another has ended meanwhile. The status has to
            # be written anyway, over the version that we know; where it says that already, it is looked at.
            if not self._book.put(running(), now):
                self._book.confirm(name)

        if first:
            confirm()
        else:
            succession.hand_over(self._store, self._bucket, name, run_id, confirm=confirm)
        self._just_begun.add(name)
        self._cluster.create_job(job)
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
        report_book.write(self._store, self._bucket, report, plan, shards=run.shards, allowed=self._readable(plan.name))
        timing_book.learn(self._store, self._bucket, plan, run.tally.sums)
        # Nor is its last word said before its receipts are counted: nobody reads them after that.
        self._counts.commit()
        final = run.final_status(finish, report, now)
        self._book.put(final, now)
        self._counts.ended(final)
        self.runs.pop(plan.name, None)
        log.info("finished", manifest=plan.name, run=plan.run, phase=finish.phase.value, message=finish.message)

    def _readable(self, name: str) -> tuple[Ref, ...]:
        """Folders that a manifest may use; none where it belongs to nobody any more."""
        try:
            return tenancy.allowed_for(name, self._tenants, everybody=self._allowed_to_all)
        except ManifestInvalid:
            return ()

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
        self._metrics.manifests_rejected.labels(reason=rejected.reason).inc()
        log.info("rejected", manifest=name, errors=[str(e) for e in error.errors])

    def reject_twin(self, twin: Listed) -> None:
        """A second file of one name (`a.yaml` beside `a.json`): said under the file's full name, nothing else stops."""
        file_name = twin.ref.key.removeprefix(naming.INBOX_PREFIX)
        if self._book.get(file_name) is None:
            message = "another manifest has this name already, so this file is not read"
            error = FieldError(path="", message=message, found=file_name, allowed="one file a name")
            self._reject(file_name, "", None, ManifestInvalid([error]))

    def end_orphan(self, name: str, own: Collection[JobView]) -> None:
        """Cancel the run of a manifest that is gone."""
        self._cluster.require_listed(self.namespace(name))
        for job in own:
            log.info("manifest_deleted", manifest=name, run=job.run)
            self._cluster.delete_job(job)
        known = self._book.get(name)
        self.count_end(known)
        if own or known is None or known.phase.final:
            return  # the report comes when the workers are gone
        plan = planner.load_plan(self._store, self._bucket, name, known.run)
        if plan is None:
            message = "the manifest was deleted before it was planned"
            self._book.put(replace(known, phase=Phase.CANCELLED, message=message), self._clock())
            return
        run = self.runs.get(name)
        if run is None or run.plan.run != known.run:
            run = RunWatch(self._store, self._bucket, plan, known.submission, price=self._price)
        run.read_receipts(self._counts, self._clock(), all_of_them=True)
        kept = run.tally.done + plan.skipped
        message = f"the manifest was deleted; {kept} of {plan.pictures} pictures have a result"
        self._finish(Finish(phase=Phase.CANCELLED, message=message), run)


def _too_large(listed: Listed) -> ManifestInvalid:
    allowed = f"up to {yaml_positions.BYTES_MAX} bytes"
    error = FieldError(
        path="", message="the manifest is too large", found=f"{listed.size_bytes} bytes", allowed=allowed
    )
    return ManifestInvalid([error])
