from __future__ import annotations

import pytest

from stylefleet.plan import Plan
from stylefleet.reconcile import Action, CreateJob, DeleteJob, Finish, Observed, ReleaseJob, reconcile
from stylefleet.status import Ending, Phase
from stylefleet.terms import Terms
from tests.builders import make_job_view, make_plan

PLAN = make_plan(shards=(2, 2))
IN_AN_HOUR = make_plan(shards=(2, 2), terms=Terms(deadline_seconds=3600))
FRAGILE = make_plan(shards=(2, 2), terms=Terms(failures_max=1))
WITH_SKIPPED = make_plan(shards=(2, 2), skipped=3)
ALL_SKIPPED = make_plan(shards=(), skipped=3)

WORKING = make_job_view()
COMPLETE = make_job_view(finished="Complete", completed="0,1", active=0, ready=0)
FAILED = make_job_view(finished="Failed", message="index 1 failed", failed="1", active=0, ready=0)
QUEUED = make_job_view(suspended=True, active=0, ready=0)
DELETING = make_job_view(deleting=True)
DELETING_COMPLETE = make_job_view(deleting=True, finished="Complete")


def seen(*ended: int, failed: int = 0, **changes: object) -> Observed:
    """What is observed where that many tasks of each of two shards of two have ended, `failed` of them badly."""
    total, missing = sum(ended), {shard: 2 - n for shard, n in enumerate((*ended, 0, 0)[:2]) if n < 2}
    facts = {"job": None, "done": total - failed, "failed": failed, "missing_by_shard": missing}
    return Observed(**(facts | changes))  # type: ignore[arg-type]


def finish(phase: Phase, message: str, missing: dict[int, int] | None = None) -> Finish:
    return Finish(phase=phase, message=message, missing_by_shard=missing or {})


ENDING = Ending(reason="DeadlineExceeded", because="the deadline of 1 h after submission has passed")


def ended_early(phase: Phase, kept: str) -> Finish:
    message = f"{ENDING.because}; {kept} pictures have a result, stylefleet retry spring does the rest"
    return Finish(phase=phase, reason="DeadlineExceeded", message=message)


SUCCESS = finish(Phase.SUCCEEDED, "all 4 pictures have a result")

CASES: list[tuple[str, Plan, Observed, list[Action]]] = [
    ("a planned run without Job gets one", PLAN, seen(), [CreateJob()]),
    ("a Job at work is left alone", PLAN, seen(1, job=WORKING), []),
    ("a suspended Job is left alone", PLAN, seen(job=make_job_view(suspended=True, active=0)), []),
    ("a Job that vanished half-way is made again", PLAN, seen(2, 1), [CreateJob()]),
    (
        "all done with the Job still there ends and lets it go",
        PLAN,
        seen(2, 2, job=COMPLETE),
        [SUCCESS, ReleaseJob(job=COMPLETE)],
    ),
    (
        "all done ends although the last pods still run",
        PLAN,
        seen(2, 2, job=WORKING),
        [SUCCESS, ReleaseJob(job=WORKING)],
    ),
    ("all done ends although the Job is gone", PLAN, seen(2, 2), [SUCCESS]),
    (
        "all done ends also where the Job calls an index failed",
        PLAN,
        seen(2, 2, job=FAILED),
        [SUCCESS, ReleaseJob(job=FAILED)],
    ),
    (
        "skipped pictures count as there",
        WITH_SKIPPED,
        seen(2, 2),
        [finish(Phase.SUCCEEDED, "all 7 pictures have a result (3 were already there)")],
    ),
    (
        "nothing to do ends at once without a Job",
        ALL_SKIPPED,
        seen(),
        [finish(Phase.SUCCEEDED, "all 3 pictures have a result (3 were already there)")],
    ),
    (
        "some failed pictures make a partial success",
        PLAN,
        seen(2, 2, failed=1, job=COMPLETE),
        [finish(Phase.PARTIALLY_SUCCEEDED, "1 of 4 pictures failed"), ReleaseJob(job=COMPLETE)],
    ),
    (
        "only failed pictures make a failure",
        PLAN,
        seen(2, 2, failed=4),
        [finish(Phase.FAILED, "4 of 4 pictures failed")],
    ),
    (
        "only failed pictures beside results of before make a partial success",
        WITH_SKIPPED,
        seen(2, 2, failed=4),
        [finish(Phase.PARTIALLY_SUCCEEDED, "4 of 7 pictures failed")],
    ),
    (
        "a failed shard's pictures count as failed",
        PLAN,
        seen(2, 1, job=FAILED),
        [
            finish(
                Phase.PARTIALLY_SUCCEEDED,
                "1 of 4 pictures failed, 1 of them because their shard did (index 1 failed)",
                {1: 1},
            ),
            ReleaseJob(job=FAILED),
        ],
    ),
    (
        "a Job that failed before any receipt makes a failure",
        PLAN,
        seen(job=FAILED),
        [
            finish(
                Phase.FAILED,
                "4 of 4 pictures failed, 4 of them because their shard did (index 1 failed)",
                {0: 2, 1: 2},
            ),
            ReleaseJob(job=FAILED),
        ],
    ),
    (
        "a complete Job whose receipts are missing is no success",
        PLAN,
        seen(2, 0, job=COMPLETE),
        [
            finish(
                Phase.PARTIALLY_SUCCEEDED,
                "2 of 4 pictures failed, 2 of them because their shard did (see the worker logs)",
                {1: 2},
            ),
            ReleaseJob(job=COMPLETE),
        ],
    ),
    (
        "the last words of the workers of a failed Job are told",
        PLAN,
        seen(2, 1, job=FAILED, failed_because="WorkerRefused: no such bucket"),
        [
            finish(
                Phase.PARTIALLY_SUCCEEDED,
                "1 of 4 pictures failed, 1 of them because their shard did (WorkerRefused: no such bucket)",
                {1: 1},
            ),
            ReleaseJob(job=FAILED),
        ],
    ),
    (
        "why pictures failed is told",
        PLAN,
        seen(2, 2, failed=1, failures="1 truncated: it ends early"),
        [finish(Phase.PARTIALLY_SUCCEEDED, "1 of 4 pictures failed (1 truncated: it ends early)")],
    ),
    ("a Job deleted by hand is let go and not reported", PLAN, seen(1, job=DELETING), [ReleaseJob(job=DELETING)]),
    (
        "a finished Job whose time ran out is reported before it goes",
        PLAN,
        seen(2, 1, job=DELETING_COMPLETE),
        [
            finish(
                Phase.PARTIALLY_SUCCEEDED,
                "1 of 4 pictures failed, 1 of them because their shard did (see the worker logs)",
                {1: 1},
            ),
            ReleaseJob(job=DELETING_COMPLETE),
        ],
    ),
    ("cancelling stops the workers first", PLAN, seen(1, job=WORKING, cancelled=True), [DeleteJob(job=WORKING)]),
    ("cancelling waits until the Job is gone", PLAN, seen(1, job=DELETING, cancelled=True), [DeleteJob(job=DELETING)]),
    (
        "a cancelled run ends when its Job is gone",
        WITH_SKIPPED,
        seen(1, cancelled=True),
        [finish(Phase.CANCELLED, "cancelled by its .cancel marker; 4 of 7 pictures have a result")],
    ),
    ("pausing stops the workers", PLAN, seen(1, job=WORKING, paused=True), [DeleteJob(job=WORKING)]),
    ("pausing waits until the Job is gone", PLAN, seen(1, job=DELETING, paused=True), [DeleteJob(job=DELETING)]),
    ("pausing takes a suspended Job out of its queue", PLAN, seen(job=QUEUED, paused=True), [DeleteJob(job=QUEUED)]),
    ("a paused run gets no Job", PLAN, seen(1, paused=True), []),
    ("a paused run that is complete ends", PLAN, seen(2, 2, paused=True), [SUCCESS]),
    (
        "a Job that ended before the pause is reported",
        PLAN,
        seen(2, 2, job=COMPLETE, paused=True),
        [SUCCESS, ReleaseJob(job=COMPLETE)],
    ),
    (
        "a Job that failed before the pause is reported",
        PLAN,
        seen(job=FAILED, paused=True),
        [
            finish(
                Phase.FAILED,
                "4 of 4 pictures failed, 4 of them because their shard did (index 1 failed)",
                {0: 2, 1: 2},
            ),
            ReleaseJob(job=FAILED),
        ],
    ),
    (
        "cancelling goes before pausing",
        PLAN,
        seen(1, cancelled=True, paused=True),
        [finish(Phase.CANCELLED, "cancelled by its .cancel marker; 1 of 4 pictures have a result")],
    ),
    (
        "a deadline passes also while a run is paused",
        PLAN,
        seen(1, ending=ENDING, paused=True),
        [ended_early(Phase.PARTIALLY_SUCCEEDED, "1 of 4")],
    ),
    (
        "a run past its deadline waits until that is said",
        IN_AN_HOUR,
        seen(1, job=WORKING, age_seconds=3600),
        [],
    ),
    ("a run planned past its deadline gets no Job", IN_AN_HOUR, seen(age_seconds=3600), []),
    ("a run just before its deadline goes on", IN_AN_HOUR, seen(1, age_seconds=3599), [CreateJob()]),
    (
        "a run with too many failures waits until that is said",
        FRAGILE,
        seen(2, failed=2, job=WORKING),
        [],
    ),
    ("a run that bears its failures goes on", FRAGILE, seen(2, failed=1, job=WORKING), []),
    ("lost pictures count as failures", FRAGILE, seen(1, failed=1, lost=1, job=WORKING), []),
    ("a run that is to end is stopped first", PLAN, seen(1, job=WORKING, ending=ENDING), [DeleteJob(job=WORKING)]),
    ("ending waits until the Job is gone", PLAN, seen(1, job=DELETING, ending=ENDING), [DeleteJob(job=DELETING)]),
    (
        "a run that was ended keeps what is done, and what was skipped",
        WITH_SKIPPED,
        seen(1, ending=ENDING),
        [ended_early(Phase.PARTIALLY_SUCCEEDED, "4 of 7")],
    ),
    ("a run that was ended with nothing done failed", PLAN, seen(ending=ENDING), [ended_early(Phase.FAILED, "0 of 4")]),
    (
        "a run is ended although its failures no longer show, its Job being gone",
        FRAGILE,
        seen(1, ending=ENDING),
        [ended_early(Phase.PARTIALLY_SUCCEEDED, "1 of 4")],
    ),
    ("all done is a success also after the deadline", IN_AN_HOUR, seen(2, 2, age_seconds=9999), [SUCCESS]),
    (
        "a Job that ended by itself is reported as that, also where the run was to be ended",
        PLAN,
        seen(2, 1, job=FAILED, ending=ENDING),
        [
            finish(
                Phase.PARTIALLY_SUCCEEDED,
                "1 of 4 pictures failed, 1 of them because their shard did (index 1 failed)",
                {1: 1},
            ),
            ReleaseJob(job=FAILED),
        ],
    ),
    (
        "cancelling goes before ending",
        PLAN,
        seen(1, cancelled=True, ending=ENDING),
        [finish(Phase.CANCELLED, "cancelled by its .cancel marker; 1 of 4 pictures have a result")],
    ),
    (
        "a run cancelled before it began never gets a Job",
        PLAN,
        seen(cancelled=True),
        [finish(Phase.CANCELLED, "cancelled by its .cancel marker; 0 of 4 pictures have a result")],
    ),
]


@pytest.mark.parametrize(("plan", "observed", "actions"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_is_done_about_a_run(plan: Plan, observed: Observed, actions: list[Action]) -> None:
    assert reconcile(plan, observed) == actions
