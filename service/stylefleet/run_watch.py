"""One run while it is carried out: what its receipts add up to, and what its status and report say of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from stylefleet import diagnosis, naming, receipt, status
from stylefleet.cluster import Cluster
from stylefleet.cost import predicted_seconds
from stylefleet.jobs import JobView
from stylefleet.metrics import ControllerMetrics
from stylefleet.naming import Ref
from stylefleet.plan import Plan
from stylefleet.planner import Pace
from stylefleet.reconcile import Finish, Observed
from stylefleet.status import Phase, Status
from stylefleet.store import Store
from stylefleet.tally import Tally

WAITING_AFTER = timedelta(seconds=15)
"""How long a run may have no worker at work before its status says why."""


class RunWatch:
    """What the controller remembers of a run between ticks; all of it can be read from the bucket again."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tally = Tally()
        self._receipts_seen: set[str] | None = None
        """Keys of the receipts in the tally; None before the first look."""
        self._waiting_since: datetime | None = None

    @property
    def waiting(self) -> bool:
        """Whether no worker was at work at the last look."""
        return self._waiting_since is not None

    def read_receipts(self, store: Store, bucket: str, metrics: ControllerMetrics) -> None:
        """Add new receipts to the tally and the metrics.

        Those of the first look are not counted anew: a controller before this one has, or none was there to count.
        """
        plan, first_look = self.plan, self._receipts_seen is None
        seen = self._receipts_seen or set()
        for listed in store.list(Ref(bucket, naming.receipts_prefix(plan.name, plan.run))):
            if listed.ref.key in seen:
                continue
            for one in receipt.from_lines(store.get(listed.ref).data):
                if not self.tally.add(one):
                    continue
                if first_look:
                    metrics.done_at(one)
                else:
                    metrics.observe(one)
            seen.add(listed.ref.key)
        self._receipts_seen = seen

    def observed(self, job: JobView | None, cluster: Cluster, *, cancelled: bool) -> Observed:
        """What is known of the run, after its receipts were read."""
        return Observed(
            job=job,
            done=self.tally.done,
            failed=self.tally.failed,
            ended_by_shard=dict(self.tally.tasks_by_shard),
            cancelled=cancelled,
            failed_because=cluster.failed_because(job) if job is not None and job.finished == "Failed" else "",
            failures=self.tally.failures_in_words,
        )

    def running_status(self, observed: Observed, cluster: Cluster, pace: Pace, now: datetime) -> Status:
        """The status of a run that goes on; where nobody has been at work for a while, with why."""
        plan, job = self.plan, observed.job
        self._waiting_since = None if job is not None and job.ready > 0 else self._waiting_since or now
        waiting = ""
        if job is not None and self._waiting_since is not None and now - self._waiting_since >= WAITING_AFTER:
            waiting = str(diagnosis.not_admitted(job.queue)) if job.suspended else cluster.waiting_because(job)
        seconds_per_task = predicted_seconds(plan.recipe, flops=pace.worker_flops)
        return replace(
            self._plain_status(Phase.RUNNING),
            message="being cancelled" if observed.cancelled else "",
            waiting_because=waiting,
            eta_seconds=status.eta_seconds(
                ended=self.tally.ended,
                pending=plan.tasks - self.tally.ended,
                seconds_per_task=seconds_per_task / min(plan.parallelism, pace.workers_max or plan.parallelism),
                started_at=plan.planned_at,
                now=now,
            ),
        )

    def report(self, finish: Finish, now: datetime) -> bytes:
        """`report.json` of a run that ends so."""
        return status.report_json(
            self.plan,
            self.tally,
            phase=finish.phase,
            message=finish.message,
            missing_by_shard=finish.missing_by_shard,
            finished_at=now,
        )

    def final_status(self, finish: Finish, report: Ref, now: datetime) -> Status:
        """The status of a run that ends so."""
        return replace(
            self._plain_status(finish.phase),
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
            phase=phase,
            pictures=plan.pictures,
            skipped=plan.skipped,
            done=tally.done,
            failed=tally.failed,
            started_at=plan.planned_at,
            output_prefix=str(plan.output_prefix),
        )
