"""The decision: what to do about one run, given what is observed. Pure; no clock, no network.

Truth about work is receipts plus the Job's completed and failed indexes; pods and events are never truth.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from stylefleet.jobs import JobView
from stylefleet.plan import Plan
from stylefleet.policies.deadline import deadline_exceeded
from stylefleet.policies.failure_budget import too_many_failures
from stylefleet.status import Ending, Phase


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What is seen of a run. The Job is read before the receipts, so that a finished Job's receipts are all here."""

    job: JobView | None
    done: int
    """Tasks with a result, from this run's receipts."""
    failed: int
    """Tasks whose receipt says failed."""
    missing_by_shard: dict[int, int] = field(default_factory=dict)
    """Of a Job that has ended: tasks without receipt, by shard."""
    lost: int = 0
    """Tasks without receipt of shards that the Job has given up."""
    cancelled: bool = False
    """The user asked to stop."""
    paused: bool = False
    """The user asked for no workers."""
    age_seconds: float = 0.0
    """Since the submission, by the store's clock."""
    ending: Ending | None = None
    """The decision to end the run, once it is durable."""
    failed_because: str = ""
    """What a worker of a Job that failed, or has given up shards, said last, in words."""
    failures: str = ""
    """Why the failed tasks failed, in words, from their receipts."""


@dataclass(frozen=True, kw_only=True)
class CreateJob:
    """Post the run's Job."""


@dataclass(frozen=True, kw_only=True)
class DeleteJob:
    """Stop the run's workers and remove its Job."""

    job: JobView


@dataclass(frozen=True, kw_only=True)
class ReleaseJob:
    """Let the cluster clean the Job up."""

    job: JobView


@dataclass(frozen=True, kw_only=True)
class Finish:
    """Write the report, then the final status."""

    phase: Phase
    message: str
    reason: str = ""
    """One word for machines, where it was ended before its work was done."""
    missing_by_shard: dict[int, int] = field(default_factory=dict)
    """Tasks that will never have a receipt, by shard."""


Action = CreateJob | DeleteJob | ReleaseJob | Finish


def reconcile(plan: Plan, observed: Observed) -> list[Action]:
    """The next actions, in order; empty where there is nothing to do but wait."""
    job = observed.job
    if observed.done + observed.failed >= plan.tasks:
        release: list[Action] = [ReleaseJob(job=job)] if job else []
        return [_finish(plan, observed, {}), *release]
    if observed.cancelled:
        # The report comes last: a worker that is being stopped may still write receipts.
        return [DeleteJob(job=job)] if job else [_finish_cancelled(plan, observed)]
    if job is not None and job.finished:
        # Also where it is being deleted (TTL ran out while no controller was there): our finalizer kept it for this.
        return [_finish(plan, observed, observed.missing_by_shard), ReleaseJob(job=job)]
    if observed.ending is not None:
        # As for a cancelled one.
        return [DeleteJob(job=job)] if job else [_finish_early(plan, observed, observed.ending)]
    if early_end(plan, observed) is not None:
        # First it is said, in the status: then it holds, whoever carries it out.
        return []
    return _go_on(job, paused=observed.paused)


def _go_on(job: JobView | None, *, paused: bool) -> list[Action]:
    if paused:
        # Deleted, not suspended: its quota is given back, with a queue or without, and a queue may itself suspend and
        # unsuspend Jobs. Workers that are told to end leave checkpoints.
        return [DeleteJob(job=job)] if job else []
    if job is None:
        # Never made, deleted by hand, or cleaned up: a new one does only what has no receipt.
        return [CreateJob()]
    if job.deleting:
        return [ReleaseJob(job=job)]
    return []


def early_end(plan: Plan, observed: Observed) -> Ending | None:
    """Why the run is to end before its work is done; None where it may go on."""
    return too_many_failures(
        failures_max=plan.terms.failures_max,
        failed=observed.failed,
        lost=observed.lost,
        tasks=plan.tasks,
        causes=observed.failures,
        lost_because=observed.failed_because,
    ) or deadline_exceeded(deadline_seconds=plan.terms.deadline_seconds, age_seconds=observed.age_seconds)


def _finish(plan: Plan, observed: Observed, missing: dict[int, int]) -> Finish:
    failed = observed.failed + sum(missing.values())
    good = observed.done + plan.skipped
    if failed == 0:
        skipped = f" ({plan.skipped} were already there)" if plan.skipped else ""
        return Finish(phase=Phase.SUCCEEDED, message=f"all {plan.pictures} pictures have a result{skipped}")
    message = f"{failed} of {plan.pictures} pictures failed"
    if observed.failures:
        message += f" ({observed.failures})"
    if missing:
        cause = observed.failed_because or (observed.job.message if observed.job else "")
        message += f", {sum(missing.values())} of them because their shard did ({cause or 'see the worker logs'})"
    phase = Phase.PARTIALLY_SUCCEEDED if good else Phase.FAILED
    return Finish(phase=phase, message=message, missing_by_shard=missing)


def _finish_early(plan: Plan, observed: Observed, ending: Ending) -> Finish:
    kept = observed.done + plan.skipped
    rest = f"stylefleet retry {plan.name} does the rest"
    return Finish(
        phase=Phase.PARTIALLY_SUCCEEDED if kept else Phase.FAILED,
        reason=ending.reason,
        message=f"{ending.because}; {kept:,} of {plan.pictures:,} pictures have a result, {rest}",
    )


def _finish_cancelled(plan: Plan, observed: Observed) -> Finish:
    kept = observed.done + plan.skipped
    return Finish(
        phase=Phase.CANCELLED,
        message=f"cancelled by its .cancel marker; {kept} of {plan.pictures} pictures have a result",
    )
