"""One run while it is carried out: what its receipts add up to, and what its status and report say of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from stylefleet import diagnosis, failures, naming, progress, receipt, status
from stylefleet.cluster import Cluster
from stylefleet.cost import predicted_seconds
from stylefleet.count_book import CountBook
from stylefleet.errors import NotFound, RecordUnreadable
from stylefleet.inbox import Markers, Submission
from stylefleet.indexes import parse_indexes
from stylefleet.jobs import JobView
from stylefleet.naming import Ref
from stylefleet.plan import Plan
from stylefleet.planner import Pace, load_plan
from stylefleet.price import Price, cost_of
from stylefleet.reconcile import Finish, Observed, early_end
from stylefleet.status import Ending, Phase, Status
from stylefleet.store import Store
from stylefleet.streams import in_order
from stylefleet.tally import Tally

log = structlog.get_logger(__name__)

WAITING_AFTER = timedelta(seconds=15)
"""How long a run may have no worker at work before its status says why."""
LISTED_A_LOOK_MAX = 2000
READ_A_LOOK_MAX = 500
"""Receipt objects that one look at a run lists and reads; what is left is for the next look."""
PROGRESS_AFTER = timedelta(minutes=1)
"""How long complete shards may go unrecorded."""


class RunWatch:
    """What the controller remembers of a run between ticks; all of it can be read from the bucket again."""

    def __init__(
        self,
        store: Store,
        bucket: str,
        plan: Plan,
        submission: Submission | None,
        *,
        price: Price | None,
        is_new: bool = False,
    ) -> None:
        """`is_new` where it was planned just now: so there is neither progress nor any receipt."""
        self._store = store
        self._bucket = bucket
        self._price = price
        self.plan = replace(plan, shards=())
        """Without its shard table, which would be most of a controller's memory."""
        self.shards = len(plan.shards)
        self._is_new = is_new
        self._whole = plan if is_new else None
        """With its shard table, until it has its Job."""
        self.tally = Tally([s.tasks for s in plan.shards]) if is_new else _tally(store, bucket, plan)
        self.submission = submission
        """The put of the manifest that it carries out."""
        self._read: dict[int, set[str]] = {}
        """Keys of the receipts in the tally, by shard; only of shards that are not complete."""
        self._position = ""
        """The key up to which the receipts were looked at; empty where all were."""
        self._recorded = len(self.tally.complete)
        self._recorded_at: datetime | None = None
        self._waiting_since: datetime | None = None
        self._waiting_because = ""
        self._was_suspended = False
        self._seen_at_work = ""
        """The uid of the Job whose pods were seen at work."""
        self.paused = False
        """Whether no worker is to be at work."""
        self.eta_seconds = 0.0
        """Until its end, as its status last said; 0 where it said nothing."""
        self._pace_since = (plan.planned_at, 0)
        """From when on the pace is measured, and how many tasks had ended by then: a pause is no work."""

    @property
    def waiting(self) -> bool:
        """Whether no worker was at work at the last look."""
        return self._waiting_since is not None

    def is_behind_deadline(self, now: datetime) -> bool:
        """Whether it will end after its deadline, if it goes on like this."""
        limit = self.plan.terms.deadline_seconds
        if limit is None or self.submission is None:
            return False
        return (now - self.submission.put_at).total_seconds() + self.eta_seconds > limit

    def whole_plan(self) -> Plan:
        """The plan with its shards. Raises RecordUnreadable where somebody took it away."""
        plan = self._whole or load_plan(self._store, self._bucket, self.plan.name, self.plan.run)
        if plan is None:
            raise RecordUnreadable(f"the plan of {self.plan.name}/{self.plan.run} is gone")
        return plan

    # --- receipts -------------------------------------------------------------------------------------------------

    def read_receipts(self, counts: CountBook, now: datetime, *, all_of_them: bool) -> None:
        """Add new receipts to the tally and to what is counted; so many at the most, where not `all_of_them` are
        needed."""
        counts.begun(self.plan.name, self.plan.run)
        if self._is_new:
            self._is_new = False  # for this look only: what is asked for now may be done although no answer says so
            return
        start = "" if all_of_them else self._position
        new, self._position = self._new_receipts(start, unlimited=all_of_them)
        # Of two objects that tell of one task the counted one first: the other then has no news.
        new.sort(key=lambda each: not counts.is_counted(self.plan.run, each[0], each[1].key))
        data_of_all = in_order(lambda each: self._store.get(each[1]).data, new)
        for (shard, ref), data in zip(new, data_of_all, strict=True):
            fresh = [one for one in receipt.from_lines(data) if self.tally.add(one)]
            complete = shard in self.tally.complete
            counts.saw(self.plan.name, self.plan.run, shard, ref.key, fresh, complete=complete, now=now)
            self._read.setdefault(shard, set()).add(ref.key)
        for shard in self._read.keys() & self.tally.complete:
            del self._read[shard]

    def _new_receipts(self, start: str, *, unlimited: bool) -> tuple[list[tuple[int, Ref]], str]:
        """Shard and place of receipts that were not read yet, and where the next look begins."""
        plan, tally = self.plan, self.tally
        everything = Ref(self._bucket, naming.receipts_prefix(plan.name, plan.run))
        # Indexes are begun in their order: what is before the first incomplete shard need not be listed again.
        after = start or naming.shard_receipts_prefix(plan.name, plan.run, tally.first_incomplete)
        new: list[tuple[int, Ref]] = []
        for number, listed in enumerate(self._store.list(everything, after=after)):
            shard = naming.shard_of_receipts(plan.name, plan.run, listed.ref.key)
            if shard is not None and shard not in tally.complete and listed.ref.key not in self._read.get(shard, ()):
                new.append((shard, listed.ref))
            if not unlimited and (number + 1 >= LISTED_A_LOOK_MAX or len(new) >= READ_A_LOOK_MAX):
                return new, listed.ref.key
        return new, ""

    def record_progress(self, now: datetime) -> None:
        """Where it is due. Not before these shards are counted for good: nobody reads their receipts after this."""
        complete = len(self.tally.complete)
        due = self._recorded_at is None or abs(now - self._recorded_at) >= PROGRESS_AFTER
        if complete > self._recorded and due:
            ref = Ref(self._bucket, naming.progress_key(self.plan.name, self.plan.run))
            self._store.put(ref, progress.to_json(self.tally), content_type="application/json")
            self._recorded, self._recorded_at = complete, now

    # --- what is said of it ---------------------------------------------------------------------------------------

    def observed(
        self, job: JobView | None, cluster: Cluster, now: datetime, *, asked: Markers, ending: Ending | None
    ) -> Observed:
        """What is known of the run, after its receipts were read."""
        ended = job is not None and bool(job.finished)
        observed = Observed(
            job=job,
            done=self.tally.done,
            failed=self.tally.failed,
            missing_by_shard=dict(self.tally.missing()) if ended else {},
            lost=self._lost(job),
            cancelled=asked.cancelled,
            paused=asked.paused,
            age_seconds=(now - self.submission.put_at).total_seconds() if self.submission else 0.0,
            ending=ending,
            failures=self.tally.failures_in_words,
        )
        # Asked only where it is about to be said: pods go with their Job.
        about_to_end = ending is None and observed.lost > 0 and early_end(self.plan, observed) is not None
        if job is not None and (job.finished == "Failed" or about_to_end):
            return replace(observed, failed_because=cluster.failed_because(job))
        return observed

    def _lost(self, job: JobView | None) -> int:
        """Tasks without receipt of shards that were given up, where their number matters."""
        if job is None or not job.failed or self.plan.terms.failures_max is None:
            return 0
        given_up = parse_indexes(job.failed)
        return sum(tasks for shard, tasks in self.tally.missing() if shard in given_up)

    def running_status(
        self, observed: Observed, cluster: Cluster, pace: Pace, now: datetime, *, may_ask: bool
    ) -> Status:
        """The status of a run that goes on; where nobody has been at work for a while, with why. The cluster is asked
        for that where it `may_ask`; else what it said before stands."""
        self._whole = None
        plan, job = self.plan, observed.job
        self.paused = observed.paused and not observed.cancelled
        at_work = job is not None and job.ready > 0
        # Not later than now: the clock may be set back, and an hour more of silence is no reason to say nothing.
        self._waiting_since = None if at_work or self.paused else min(self._waiting_since or now, now)
        self._waiting_because = self._why_waiting(job, cluster, now, may_ask=may_ask)
        seconds_per_task = plan.seconds_per_picture or predicted_seconds(plan.recipe, flops=pace.worker_flops)
        ending = observed.ending or early_end(plan, observed)
        if self.paused and ending is None:
            self.eta_seconds = 0.0
            return self._paused_status(job, now)
        pace_since, ended_before = self._pace_since
        parallelism = job.parallelism if job is not None else plan.parallelism
        self.eta_seconds = status.eta_seconds(
            ended=self.tally.ended - ended_before,
            pending=plan.tasks - self.tally.ended,
            seconds_per_task=seconds_per_task / min(parallelism, pace.workers_max or parallelism),
            started_at=pace_since,
            now=now,
        )
        return replace(
            self._plain_status(Phase.RUNNING),
            reason=ending.reason if ending else "",
            message="being cancelled" if observed.cancelled else f"being ended: {ending.because}" if ending else "",
            ending=ending,
            waiting_because=self._waiting_because,
            eta_seconds=self.eta_seconds,
        )

    def _why_waiting(self, job: JobView | None, cluster: Cluster, now: datetime, *, may_ask: bool) -> str:
        if job is not None and job.ready > 0:
            self._seen_at_work = job.uid
        if job is None or self._waiting_since is None or now - self._waiting_since < WAITING_AFTER:
            return ""
        turned, self._was_suspended = job.suspended is not self._was_suspended, job.suspended
        ran = job.uid == self._seen_at_work or bool(job.completed or job.failed)
        if may_ask:
            return cluster.suspended_because(job, ran=ran) if job.suspended else cluster.waiting_because(job)
        if not turned and self._waiting_because:
            return self._waiting_because
        # Known without a question.
        return str(diagnosis.of_suspended(job.queue, evicted=ran, said="")) if job.suspended else ""

    def _paused_status(self, job: JobView | None, now: datetime) -> Status:
        self._pace_since = (now, self.tally.ended)
        if job is not None:
            return replace(self._plain_status(Phase.RUNNING), message="being paused: its workers are told to end")
        message = f"paused by {naming.pause_key(self.plan.name)}; stylefleet resume {self.plan.name} goes on"
        return replace(self._plain_status(Phase.PAUSED), message=message)

    def write_report(self, finish: Finish, now: datetime) -> Ref:
        """Write the failures and `report.json` of a run that ends so; where the report is."""
        plan = self.whole_plan()
        pages = failures.write(
            self._store,
            self._bucket,
            plan,
            shards=sorted(self.tally.shards_with_failures | finish.missing_by_shard.keys()),
            unfinished=finish.missing_by_shard,
            because=finish.message,
            shown=status.FAILURES_SHOWN,
        )
        data = status.report_json(
            plan,
            self.tally,
            phase=finish.phase,
            reason=finish.reason,
            message=finish.message,
            missing_by_shard=finish.missing_by_shard,
            failures=pages,
            finished_at=now,
            cost=cost_of(plan, self.tally.sums, self._price),
        )
        ref = Ref(self._bucket, naming.report_key(plan.name, plan.run))
        self._store.put(ref, data, content_type="application/json")
        return ref

    def final_status(self, finish: Finish, report: Ref, now: datetime) -> Status:
        """The status of a run that ends so."""
        return replace(
            self._plain_status(finish.phase),
            reason=finish.reason,
            message=finish.message,
            failed=self.tally.failed + sum(finish.missing_by_shard.values()),
            finished_at=now,
            report=str(report),
        )

    def _plain_status(self, phase: Phase) -> Status:
        plan, tally = self.plan, self.tally
        return Status(
            name=plan.name,
            run=plan.run,
            submission=self.submission,
            phase=phase,
            pictures=plan.pictures,
            skipped=plan.skipped,
            done=tally.done,
            failed=tally.failed,
            started_at=plan.planned_at,
            cost=cost_of(plan, tally.sums, self._price),
            output_prefix=str(plan.output_prefix),
        )


def _tally(store: Store, bucket: str, plan: Plan) -> Tally:
    """What an earlier controller recorded of the run, or nothing."""
    shard_tasks = [shard.tasks for shard in plan.shards]
    try:
        return progress.tally_from(store.get(Ref(bucket, naming.progress_key(plan.name, plan.run))).data, shard_tasks)
    except NotFound:
        return Tally(shard_tasks)
    except RecordUnreadable as error:
        # Only a shortcut: the receipts say it all.
        log.warning("progress_unreadable", manifest=plan.name, run=plan.run, error=str(error))
        return Tally(shard_tasks)
