"""What befalls a run, as steps between ticks, and what must be true at its end whatever befell the controllers."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from stylefleet import naming, receipt
from stylefleet.naming import Ref
from stylefleet.policies.admission import Limits
from stylefleet.status import Phase
from tests.fake_cluster import nothing
from tests.world import World

Step = Callable[[World], None]
"""What users and pods do before a tick."""

CHANGING = frozenset({"put", "delete", "create_job", "delete_job", "release_job", "resize_job"})
"""Calls that change something outside."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A story of a run named `spring` of three pictures in two shards."""

    name: str
    steps: tuple[tuple[Step, ...], ...]
    """In each, what happens before a tick."""
    phase: Phase
    """How it ends."""
    totals: dict[str, int] = field(default_factory=dict)
    """Of its report; empty where it has none."""
    jobs: int = 1
    """Jobs that are ever made."""
    computed: int = 3
    """Pictures that are ever restyled, counting repetitions."""
    calm_ticks: int = 3
    """Ticks at the end in which nothing happens."""


def _submit(world: World) -> None:
    world.submit()


def _submit_again(world: World) -> None:
    world.picture("d")
    world.submit()


def _submit_changed(world: World) -> None:
    world.submit(recipe={"size": 80, "preset": "draft"})


def _cancel(world: World) -> None:
    world.put("spring.cancel")


def _delete(world: World) -> None:
    world.remove("spring.yaml")


def _work(world: World) -> None:
    world.cluster.work()
    world.cluster.finish()


def _work_badly(world: World) -> None:
    world.cluster.work(bad={"catalog/b.jpg": "undecodable"})
    world.cluster.finish()


def _work_first(world: World) -> None:
    world.cluster.work(only={0})


def _give_up_second(world: World) -> None:
    world.cluster.fail(1)
    world.cluster.finish()


def _give_up_first(world: World) -> None:
    world.cluster.fail(0)


def _pause(world: World) -> None:
    world.put("spring.pause")


def _resume(world: World) -> None:
    world.remove("spring.pause")


def _work_unseen(world: World) -> None:
    world.cluster.work_unseen()


def _submit_in_a_hurry(world: World) -> None:
    world.submit(run={"parallelism": 2, "deadline": "1h"})


def _two_hours_later(world: World) -> None:
    world.now += timedelta(hours=2)


def _submit_fragile(world: World) -> None:
    world.submit(run={"parallelism": 2, "maxFailures": 1})


def _one_worker_for_all(world: World) -> None:
    world.limits = Limits(total=1, by_tenant={}, weights={})
    world.restart()


def _two_workers_for_all(world: World) -> None:
    world.limits = Limits(total=2, by_tenant={}, weights={})
    world.restart()


def _break_style(world: World) -> None:
    world.memory.put(Ref("shop", "styles/waves.jpg"), b"no picture")


def job_is_there(world: World) -> bool:
    """Whether the newest manifest has its Job."""
    found = world.memory.get(Ref("service", "jobs/spring.yaml"))
    run = naming.run_id("spring", found.data, found.modified_at)
    return any(job["metadata"]["labels"][naming.LABEL_RUN] == run for job in world.cluster.jobs.values())


def no_job_is_there(world: World) -> bool:
    return not world.cluster.jobs


AWAITED: dict[Step, Callable[[World], bool]] = {
    **dict.fromkeys((_work, _work_badly, _work_first, _work_unseen, _give_up_first, _give_up_second), job_is_there),
    _resume: no_job_is_there,
}
"""What must be the case before a step: pods need their Job, and who resumes has seen the pause."""


SCENARIOS = (
    Scenario(
        name="all pictures are done",
        steps=((_submit,), (), (_work_first,), (_work,)),
        phase=Phase.SUCCEEDED,
        totals={"pictures": 3, "skipped": 0, "done": 3, "failed": 0},
    ),
    Scenario(
        name="a picture fails",
        steps=((_submit,), (), (_work_badly,)),
        phase=Phase.PARTIALLY_SUCCEEDED,
        totals={"pictures": 3, "skipped": 0, "done": 2, "failed": 1},
    ),
    Scenario(
        name="a shard is given up",
        steps=((_submit,), (), (_work_first, _give_up_second)),
        phase=Phase.PARTIALLY_SUCCEEDED,
        totals={"pictures": 3, "skipped": 0, "done": 2, "failed": 1},
        computed=2,
    ),
    Scenario(
        name="the run is cancelled in its middle",
        steps=((_submit,), (), (_work_first, _cancel)),
        phase=Phase.CANCELLED,
        totals={"pictures": 3, "skipped": 0, "done": 2, "failed": 0},
        computed=2,
        calm_ticks=4,
    ),
    Scenario(
        name="the manifest is deleted in the run's middle",
        steps=((_submit,), (), (_work_first, _delete)),
        phase=Phase.CANCELLED,
        totals={"pictures": 3, "skipped": 0, "done": 2, "failed": 0},
        computed=2,
        calm_ticks=6,
    ),
    Scenario(
        name="a changed manifest supersedes the run",
        steps=((_submit,), (), (_work_first, _submit_changed), (), (), (), (_work,)),
        phase=Phase.SUCCEEDED,
        totals={"pictures": 3, "skipped": 0, "done": 3, "failed": 0},
        jobs=2,
        computed=5,
    ),
    Scenario(
        name="a worker of the superseded run lives on, unseen",
        steps=(
            (_submit,),
            (),
            (_work_first, _submit_changed),
            (),
            (),
            (),
            (_work_unseen, _work, _work_unseen),
            (_work_unseen,),
        ),
        phase=Phase.SUCCEEDED,
        totals={"pictures": 3, "skipped": 0, "done": 3, "failed": 0},
        jobs=2,
        computed=5,
    ),
    Scenario(
        name="the same manifest is put again with a new picture",
        steps=((_submit,), (), (_work,), (), (), (_submit_again,), (), (), (_work,)),
        phase=Phase.SUCCEEDED,
        totals={"pictures": 4, "skipped": 3, "done": 1, "failed": 0},
        jobs=2,
        computed=4,
    ),
    Scenario(
        name="the run is paused in its middle, and resumed",
        steps=((_submit,), (), (_work_first, _pause), (), (), (_resume,), (), (_work,)),
        phase=Phase.SUCCEEDED,
        totals={"pictures": 3, "skipped": 0, "done": 3, "failed": 0},
        jobs=2,
    ),
    Scenario(
        name="the run's deadline passes in its middle",
        steps=((_submit_in_a_hurry,), (), (_work_first, _two_hours_later)),
        phase=Phase.PARTIALLY_SUCCEEDED,
        totals={"pictures": 3, "skipped": 0, "done": 2, "failed": 0},
        computed=2,
        calm_ticks=5,
    ),
    Scenario(
        name="a shard is given up, which is more than the run bears",
        steps=((_submit_fragile,), (), (_give_up_first,)),
        phase=Phase.FAILED,
        totals={"pictures": 3, "skipped": 0, "done": 0, "failed": 0},
        computed=0,
        calm_ticks=5,
    ),
    Scenario(
        name="the run begins with one worker, and gets the other later",
        steps=((_one_worker_for_all, _submit), (), (_two_workers_for_all,), (), (), (_work_first,), (_work,)),
        phase=Phase.SUCCEEDED,
        totals={"pictures": 3, "skipped": 0, "done": 3, "failed": 0},
    ),
    Scenario(
        name="the style cannot be used",
        steps=((_break_style, _submit), ()),
        phase=Phase.REJECTED,
        jobs=0,
        computed=0,
    ),
)


def check(world: World, scenario: Scenario, *, jobs_too_many: int = 0) -> None:
    """Nothing is lost, nothing done twice, and what is said agrees with what is there.

    `jobs_too_many` may have been made, if they are gone again and have computed nothing.
    """
    status = world.status()
    assert status.phase is scenario.phase, status
    assert not status.message.startswith("held up"), "the last word of a run is how it ended"
    if scenario.totals:
        assert world.report()["totals"] == scenario.totals
    assert 0 <= len(world.cluster.created) - scenario.jobs <= jobs_too_many, world.cluster.created
    assert len(world.cluster.computed) == scenario.computed, world.cluster.computed
    _check_counters(world, scenario)
    _check_jobs(world)
    _check_results(world)


def _check_counters(world: World, scenario: Scenario) -> None:
    """However many controllers there were, each picture counts once, and so do its time and each run's end.

    Looked at through the eyes of one that comes now: it has counted nothing itself.
    """
    told = [
        one
        for key in world.keys("service")
        if "/receipts/" in key
        for one in receipt.from_lines(world.memory.get(Ref("service", key)).data)
    ]
    for edge in (world.store, world.cluster):
        edge.before = edge.after = nothing
    world.restart()
    world.tick()
    assert world.shown("stylefleet_pictures_total") == Counter((one.outcome, one.reason) for one in told)
    seconds = sum(world.shown("stylefleet_worker_seconds_total").values())
    assert seconds == pytest.approx(sum(one.worker_seconds for one in told))
    reports = [world.memory.get(Ref("service", key)).data for key in world.keys("service") if "/report.json" in key]
    phases = Counter((json.loads(report)["phase"],) for report in reports)
    ended = world.shown("stylefleet_run_duration_seconds_count")
    # A run may have its report and be superseded before its status could say how it ended.
    assert ended <= phases
    assert sum(ended.values()) >= phases.total() - max(0, scenario.jobs - 1)
    if world.status().report:
        assert ended[(world.status().phase.value,)] >= 1


def _check_jobs(world: World) -> None:
    """No Job is at work for a run that is over, and none is kept from being cleaned up."""
    for job in world.cluster.jobs.values():
        assert not job["metadata"]["finalizers"], job["metadata"]
        assert job["status"].get("conditions"), "a Job of a run that is over is still at work"


def _check_results(world: World) -> None:
    """Every result is that of the newest receipt of its task, and every task has one receipt a run."""
    newest: dict[str, tuple[str, str]] = {}
    told: Counter[tuple[str, str]] = Counter()
    for key in world.keys("service"):
        if "/receipts/" not in key:
            continue
        run = key.split("/")[2]
        for one in receipt.from_lines(world.memory.get(Ref("service", key)).data):
            told[run, one.task_id] += 1
            if one.outcome == "done":
                newest[one.result] = (one.result_etag, one.task_id)
    assert max(told.values(), default=1) == 1
    for uri, (etag, _) in newest.items():
        assert world.memory.get(naming.parse_uri(uri)).etag == etag
    plans = [key for key in world.keys("service") if key.endswith("/plan.json")]
    assert len(plans) == len({key.split("/")[2] for key in plans})
    for key in plans:
        json.loads(world.memory.get(Ref("service", key)).data)
