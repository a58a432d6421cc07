from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
import structlog

from stylefleet import naming, planner, run_watch, status, turns, yaml_positions
from stylefleet.controller import ASKED_MAX
from stylefleet.dry_run import DryRunCluster, DryRunStore
from stylefleet.errors import ClusterUnavailable, StoreUnavailable
from stylefleet.naming import Ref
from stylefleet.status import Ending, Phase
from stylefleet.turns import URGENT_MAX
from tests.builders import manifest_bytes
from tests.world import PICTURES, World

pytestmark = pytest.mark.usefixtures("quiet_logs")


@pytest.fixture
def world() -> World:
    return World()


# --- the usual way --------------------------------------------------------------------------------------------------


def test_a_manifest_is_planned_once_gets_one_job_and_ends_with_all_results(world: World) -> None:
    world.submit()
    world.tick()
    assert len(world.cluster.created) == 1
    found = world.status()
    assert (found.phase, found.pictures, found.done, found.pending) == (Phase.RUNNING, 3, 0, 3)
    world.tick(3)
    world.cluster.work(only={0})
    world.tick()
    assert world.status().done == 2
    world.cluster.work()
    world.cluster.finish()
    world.tick()
    found = world.status()
    assert (found.phase, found.done, found.failed, found.pending) == (Phase.SUCCEEDED, 3, 0, 0)
    assert found.message == "all 3 pictures have a result"
    assert world.report()["totals"] == {"pictures": 3, "skipped": 0, "done": 3, "failed": 0}
    assert sorted(world.cluster.computed) == [f"catalog/{n}.jpg" for n in PICTURES]
    assert len(world.cluster.created) == 1
    assert sum(key.endswith("/plan.json") for key in world.store.puts) == 1
    assert sum("/shards/" in key for key in world.store.puts) == 2


def test_a_finished_job_is_let_go_and_a_finished_run_costs_no_more_writes(world: World) -> None:
    world.submit()
    world.work_to_the_end()
    world.tick()
    (job,) = world.cluster.jobs.values()
    assert job["metadata"]["finalizers"] == []
    world.store.puts.clear()
    gets: list[object] = []
    world.store.before = lambda method, ref: gets.append(ref) if method == "get" else None
    world.tick(3)
    assert world.store.puts == []
    assert gets == []


def test_failed_pictures_make_a_partial_success_whose_report_names_each_with_its_reason(world: World) -> None:
    world.submit()
    world.work_to_the_end(bad={"catalog/b.jpg": "undecodable"})
    found = world.status()
    assert (found.phase, found.done, found.failed) == (Phase.PARTIALLY_SUCCEEDED, 2, 1)
    report = world.report()
    assert report["failuresByReason"] == {"undecodable": 1}
    assert [(f["content"], f["reason"]) for f in report["failures"]["first"]] == [
        ("s3://shop/catalog/b.jpg", "undecodable")
    ]


def test_a_failed_index_gives_unfinished_shards(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    world.cluster.fail(1)
    world.tick()
    assert world.status().phase is Phase.RUNNING
    world.cluster.finish()
    world.tick()
    found = world.status()
    assert (found.phase, found.done, found.failed, found.pending) == (Phase.PARTIALLY_SUCCEEDED, 2, 1, 0)
    assert "Job has failed indexes" in found.message
    assert world.report()["unfinishedShards"] == {"indexes": "1", "pictures": 1}


def test_a_job_that_was_deleted_by_hand_is_made_again_and_only_the_rest_is_computed(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    world.cluster.jobs.clear()
    world.work_to_the_end()
    assert len(world.cluster.created) == 2
    assert sorted(world.cluster.computed) == [f"catalog/{n}.jpg" for n in PICTURES]
    assert world.status().phase is Phase.SUCCEEDED


def test_a_run_that_waits_says_why_after_a_while_and_no_longer_when_it_works(world: World) -> None:
    world.submit()
    world.tick(2)
    world.cluster.waiting = "Unschedulable: no GPU"
    assert world.status().waiting_because == ""
    world.tick(2)
    assert world.status().waiting_because == "Unschedulable: no GPU"
    world.cluster.set_status(active=1, ready=1)
    world.tick()
    assert world.status().waiting_because == ""


def test_a_suspended_job_names_the_queue_that_has_not_admitted_it(world: World) -> None:
    world.submit(run={"queue": "gpu-batch"})
    world.tick()
    for job in world.cluster.jobs.values():
        job["spec"]["suspend"] = True
    world.tick(3)
    assert "the queue gpu-batch has not admitted the Job" in world.status().waiting_because


def test_the_status_of_a_run_whose_workers_were_refused_has_their_last_words(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.last_words = "WorkerRefused: s3://gone: no such bucket"
    world.cluster.fail(0)
    world.cluster.fail(1)
    world.cluster.finish()
    world.tick()
    found = world.status()
    assert found.phase is Phase.FAILED
    assert "WorkerRefused: s3://gone: no such bucket" in found.message
    assert world.report()["message"] == found.message


def test_the_status_of_a_run_whose_weights_are_wrong_says_so(world: World) -> None:
    world.submit()
    world.work_to_the_end(bad={f"catalog/{n}.jpg": "weights_invalid" for n in PICTURES})
    assert world.status().message == "3 of 3 pictures failed (3 weights_invalid: cannot be decoded)"


# --- rejected ---------------------------------------------------------------------------------------------------------


def test_a_bad_manifest_is_rejected_with_each_error_and_the_others_go_on(world: World) -> None:
    world.put("bad.yaml", b"kind: StyleJob\nspec: {stiles: []}\n")
    world.put("broken.yaml", b"\xff")
    world.submit()
    world.tick()
    bad = world.status("bad")
    assert (bad.phase, bad.reason) == (Phase.REJECTED, "ManifestInvalid")
    assert "spec.stiles" in {e.path for e in bad.errors}
    assert len(bad.errors) > 3
    assert world.status("broken").phase is Phase.REJECTED
    assert len(world.cluster.created) == 1
    assert world.failures() == 0


def test_a_rejected_manifest_that_is_put_right_is_carried_out(world: World) -> None:
    world.put("spring.yaml", b"kind: StyleJob")
    world.tick(2)
    assert world.status().phase is Phase.REJECTED
    world.submit()
    world.work_to_the_end()
    assert world.status().phase is Phase.SUCCEEDED
    assert world.status().errors == ()


@pytest.mark.parametrize(
    ("spec", "path", "message"),
    [
        ({"content": {"prefix": "s3://shop/nothing/"}}, "spec.content", "no picture matches"),
        ({"content": {"prefix": "s3://shop/catalog/", "include": ["*.gif"]}}, "spec.content", "no picture matches"),
        (
            {"content": {"keys": ["s3://shop/catalog/a.jpg", "s3://shop/catalog/z.jpg"]}},
            "spec.content.keys[1]",
            "the picture is not there",
        ),
        ({"styles": [{"image": "s3://shop/styles/gone.jpg"}]}, "spec.styles[0].image", "the style is not there"),
        (
            {"styles": [{"image": "s3://shop/styles/waves.jpg"}, {"image": "s3://shop/catalog/a.jpg"}]},
            "spec.styles[1].image",
            "the style is not a usable picture",
        ),
        ({"output": {"prefix": "s3://elsewhere/"}}, "spec.output.prefix", "this place is not allowed"),
    ],
)
def test_a_manifest_that_names_what_cannot_be_used_is_rejected(
    world: World, spec: dict[str, object], path: str, message: str
) -> None:
    world.submit(**spec)
    world.tick(2)
    (error,) = world.status().errors
    assert world.status().phase is Phase.REJECTED
    assert error.path == path
    assert error.message.startswith(message)
    assert world.cluster.created == []
    assert world.failures() == 0


def test_a_second_file_of_one_name_is_told_so_and_the_first_goes_on(world: World) -> None:
    world.put("spring.json", manifest_bytes("spring"))
    world.put("spring.yaml", manifest_bytes("spring"))
    world.tick(2)
    assert len(world.cluster.created) == 1
    assert world.status().phase is Phase.RUNNING
    assert world.status("spring.yaml").phase is Phase.REJECTED


# --- cancelled, deleted, changed -------------------------------------------------------------------------------------


def test_a_cancel_marker_stops_the_workers_and_keeps_what_is_done(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    world.put("spring.cancel")
    world.tick()
    assert world.cluster.jobs == {}
    world.tick()
    found = world.status()
    assert (found.phase, found.done) == (Phase.CANCELLED, 2)
    assert world.report()["totals"]["done"] == 2
    world.tick(3)
    assert len(world.cluster.created) == 1


def test_a_cancelled_run_is_not_taken_up_again_by_a_new_controller(world: World) -> None:
    world.submit()
    world.tick()
    world.put("spring.cancel")
    world.tick(2)
    world.remove("spring.cancel")
    world.restart()
    world.tick(3)
    assert world.status().phase is Phase.CANCELLED
    assert len(world.cluster.created) == 1


def test_a_deleted_manifest_cancels_its_run_when_it_was_twice_not_seen(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    world.remove("spring.yaml")
    world.tick()
    assert world.cluster.deleted == []
    world.tick()
    assert len(world.cluster.deleted) == 1
    world.tick()
    found = world.status()
    assert (found.phase, found.done) == (Phase.CANCELLED, 2)
    assert found.message == "the manifest was deleted; 2 of 3 pictures have a result"


def test_a_manifest_that_is_back_in_time_goes_on(world: World) -> None:
    world.submit()
    world.tick()
    data = world.memory.get(Ref("service", "jobs/spring.yaml")).data
    submitted_at, world.now = world.now, world.memory.get(Ref("service", "jobs/spring.yaml")).modified_at
    world.remove("spring.yaml")
    world.controller.tick()
    world.put("spring.yaml", data)
    world.now = submitted_at
    world.tick(3)
    assert world.cluster.deleted == []
    assert world.status().phase is Phase.RUNNING


def test_a_manifest_deleted_while_no_controller_ran_cancels_its_run(world: World) -> None:
    world.submit()
    world.tick()
    world.remove("spring.yaml")
    world.restart()
    world.tick(4)
    assert world.cluster.jobs == {}
    assert world.status().phase is Phase.CANCELLED


def test_deleting_the_manifest_of_a_finished_run_changes_nothing_it_says(world: World) -> None:
    world.submit()
    world.work_to_the_end()
    before = world.status()
    world.remove("spring.yaml")
    world.tick(3)
    assert world.status() == before


def test_a_job_that_cannot_be_let_go_takes_nothing_back_of_what_was_said_of_its_run(world: World) -> None:
    away = True

    def before(method: str, _: object) -> None:
        if away and method == "release_job":
            raise ClusterUnavailable("Kubernetes did not answer")

    world.cluster.before = before
    world.submit()
    world.work_to_the_end()
    found = world.status()
    assert (found.phase, found.reason, found.message) == (Phase.SUCCEEDED, "", "all 3 pictures have a result")
    away = False
    world.tick()
    (job,) = world.cluster.jobs.values()
    assert job["metadata"]["finalizers"] == [], "the next look does it"


def test_a_changed_manifest_supersedes_its_run(world: World) -> None:
    world.submit()
    world.tick()
    first = world.status().run
    world.submit(recipe={"size": 80, "preset": "draft"})
    world.tick()
    assert world.status().run != first
    assert world.status().message == "waiting for the workers of the run before to end"
    assert len(world.cluster.created) == 1, "no worker starts before the old ones have ended"
    world.tick()
    assert len(world.cluster.created) == 2
    assert len(world.cluster.jobs) == 1
    world.work_to_the_end()
    assert world.status().phase is Phase.SUCCEEDED


def test_the_same_manifest_put_again_computes_only_what_is_new(world: World) -> None:
    world.submit()
    world.work_to_the_end()
    world.cluster.computed.clear()
    world.picture("d")
    world.picture("b", shade=2)
    world.memory.delete(Ref("shop", "restyled/spring/c.jpg"))
    world.submit()
    world.work_to_the_end()
    assert sorted(world.cluster.computed) == ["catalog/b.jpg", "catalog/c.jpg", "catalog/d.jpg"]
    found = world.status()
    assert (found.phase, found.pictures, found.skipped, found.done) == (Phase.SUCCEEDED, 4, 1, 3)


def test_the_same_manifest_put_again_with_nothing_new_ends_without_a_job(world: World) -> None:
    world.submit()
    world.work_to_the_end()
    first = world.status().run
    world.now += timedelta(minutes=1)
    world.submit()
    world.tick(2)
    found = world.status()
    assert found.run != first
    assert (found.phase, found.skipped, found.done) == (Phase.SUCCEEDED, 3, 0)
    assert len(world.cluster.created) == 1


# --- faults -----------------------------------------------------------------------------------------------------------


def breaking(part: str, error: Exception) -> Callable[[str, object], None]:
    def before(_method: str, subject: object) -> None:
        if part in str(subject):
            raise error

    return before


def test_a_store_that_fails_for_one_manifest_does_not_stop_the_others(world: World) -> None:
    world.submit("autumn")
    world.submit("spring")
    world.store.before = breaking("runs/autumn/", StoreUnavailable("503 SlowDown"))
    world.tick()
    assert world.status("spring").phase is Phase.RUNNING
    held_up = world.status("autumn")
    assert (held_up.phase, held_up.reason) == (Phase.PENDING, "StoreUnavailable")
    assert "503 SlowDown" in held_up.message
    assert world.failures() == 1
    world.store.before = lambda *_: None
    world.tick()
    found = world.status("autumn")
    assert (found.phase, found.reason, found.message) == (Phase.RUNNING, "", "")


def test_a_fault_of_our_own_in_one_manifest_does_not_stop_the_others(world: World) -> None:
    world.submit("autumn")
    world.submit("spring")
    world.store.before = breaking("runs/autumn/", ZeroDivisionError("a bug"))
    world.tick()
    assert world.status("spring").phase is Phase.RUNNING
    assert world.failures() == 1


@pytest.mark.parametrize("edge", ["list", "list_jobs"])
def test_a_listing_that_fails_is_for_the_loop_to_handle_and_does_no_harm(world: World, edge: str) -> None:
    world.submit()
    world.tick()

    def before(method: str, _subject: object) -> None:
        if method == edge:
            raise StoreUnavailable("away")

    world.store.before = world.cluster.before = before
    for _ in range(3):
        with pytest.raises(StoreUnavailable):
            world.tick()
    world.store.before = world.cluster.before = lambda *_: None
    world.work_to_the_end()
    assert world.cluster.deleted == []
    assert world.status().phase is Phase.SUCCEEDED


def test_a_restart_at_every_step_creates_nothing_twice(world: World) -> None:
    world.submit()
    for step in range(6):
        world.restart()
        world.tick()
        if step == 2:
            world.cluster.work(only={0})
        if step == 3:
            world.cluster.work()
            world.cluster.finish()
    assert world.status().phase is Phase.SUCCEEDED
    assert len(world.cluster.created) == 1
    assert sum(key.endswith("/plan.json") for key in world.store.puts) == 1
    assert sorted(world.cluster.computed) == [f"catalog/{n}.jpg" for n in PICTURES]
    assert sum(key == "status/spring.json" for key in world.store.puts) == 4  # planned, running, 2 done, ended


def test_of_two_controllers_at_once_one_is_fenced_and_the_work_is_done_once(world: World) -> None:
    other = world.new_controller()
    for step in range(8):
        if step == 1:
            world.submit()
        world.tick()
        other.tick()
        if step == 4:
            world.cluster.work()
            world.cluster.finish()
    assert world.status().phase is Phase.SUCCEEDED
    assert len(world.cluster.created) == 1
    assert sorted(world.cluster.computed) == [f"catalog/{n}.jpg" for n in PICTURES]
    world.store.puts.clear()
    world.tick(2)
    other.tick()
    assert world.store.puts == []


def test_a_status_written_by_another_controller_is_not_overwritten_unread(world: World) -> None:
    world.submit()
    world.tick()
    ref = Ref("service", "status/spring.json")
    foreign = replace(world.status(), phase=Phase.CANCELLED, message="by the other one")
    world.memory.put(ref, status.to_json(foreign))
    world.cluster.work(only={0})
    world.tick()
    assert world.status() == foreign
    assert world.failures() == 1
    world.tick(2)
    assert world.status() == foreign
    assert world.failures() == 1


def test_a_dry_run_says_what_it_would_do_and_changes_nothing(world: World) -> None:
    world.submit("autumn")
    world.put("bad.yaml", b"kind: StyleJob")
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    world.picture("d")
    world.submit("summer")
    world.remove("autumn.yaml")
    before = (world.keys("service"), world.keys("shop"), json.dumps(world.cluster.jobs), list(world.cluster.deleted))
    world.store.puts.clear()
    dry = world.new_controller(store=DryRunStore(world.store, "service", "shop"), cluster=DryRunCluster(world.cluster))
    with structlog.testing.capture_logs() as logs:
        for _ in range(4):
            dry.tick()
    assert world.store.puts == []
    after = (world.keys("service"), world.keys("shop"), json.dumps(world.cluster.jobs), list(world.cluster.deleted))
    assert after == before
    events = {line["event"] for line in logs}
    assert {"would_put", "would_create_job", "would_delete_job"} <= events


# --- paused -----------------------------------------------------------------------------------------------------------


def test_a_pause_marker_stops_the_workers_and_without_it_only_the_rest_is_done(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    world.put("spring.pause")
    world.tick()
    found = world.status()
    assert (found.phase, found.message) == (Phase.RUNNING, "being paused: its workers are told to end")
    assert world.cluster.jobs == {}
    world.tick(3)
    found = world.status()
    assert (found.phase, found.done, found.pending, found.eta_seconds) == (Phase.PAUSED, 2, 1, None)
    assert found.message == "paused by jobs/spring.pause; stylefleet resume spring goes on"
    assert found.waiting_because == ""
    world.restart()
    world.tick(3)
    assert world.status().phase is Phase.PAUSED
    assert len(world.cluster.created) == 1
    world.remove("spring.pause")
    world.tick()
    assert (world.status().phase, world.status().message) == (Phase.RUNNING, "")
    world.work_to_the_end()
    assert (world.status().phase, world.status().run) == (Phase.SUCCEEDED, found.run)
    assert sorted(world.cluster.computed) == [f"catalog/{n}.jpg" for n in PICTURES]


def test_a_manifest_that_is_paused_from_the_start_is_planned_and_gets_no_job(world: World) -> None:
    world.put("spring.pause")
    world.submit()
    world.tick(3)
    assert (world.status().phase, world.status().pictures) == (Phase.PAUSED, 3)
    assert world.cluster.created == []
    world.remove("spring.pause")
    world.work_to_the_end()
    assert world.status().phase is Phase.SUCCEEDED


def test_a_new_submission_of_a_paused_name_stays_paused(world: World) -> None:
    world.submit()
    world.tick()
    world.put("spring.pause")
    world.tick(2)
    first = world.status().run
    world.submit()
    world.tick(2)
    assert world.status().run != first
    assert world.status().phase is Phase.PAUSED
    assert len(world.cluster.created) == 1


def test_a_paused_run_can_be_cancelled_and_its_manifest_deleted(world: World) -> None:
    for name in ("autumn", "spring"):
        world.submit(name)
        world.put(f"{name}.pause")
    world.tick(2)
    world.put("autumn.cancel")
    world.remove("spring.yaml")
    world.tick(3)
    assert world.status("autumn").phase is Phase.CANCELLED
    assert world.status("spring").phase is Phase.CANCELLED


def test_a_deadline_goes_on_counting_while_a_run_is_paused(world: World) -> None:
    world.submit(run={"deadline": "6h"})
    world.tick()
    world.put("spring.pause")
    world.tick(2)
    world.now += timedelta(hours=6)
    world.tick(3)
    assert (world.status().phase, world.status().reason) == (Phase.FAILED, "DeadlineExceeded")


def test_the_estimate_of_a_resumed_run_does_not_count_the_pause_as_work(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    world.put("spring.pause")
    world.tick(2)
    world.now += timedelta(hours=6)
    world.tick()
    world.remove("spring.pause")
    world.tick(2)
    eta_seconds = world.status().eta_seconds
    assert eta_seconds is not None
    assert eta_seconds < 3600


def test_a_paused_run_is_only_watched_and_its_resumption_is_urgent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "WATCHED_MAX", 0)
    world.submit()
    world.put("spring.pause")
    world.tick(2)
    assert world.status().phase is Phase.PAUSED
    looked_at: list[object] = []
    world.store.before = lambda _, ref: looked_at.append(ref) if "runs/spring/" in str(ref) else None
    world.tick(3)
    assert looked_at == []
    world.remove("spring.pause")
    world.tick()
    assert len(world.cluster.created) == 1


def test_a_paused_run_neither_waits_nor_runs_in_the_metrics(world: World) -> None:
    world.submit()
    world.put("spring.pause")
    world.tick(3)
    by_state = {
        state: world.metrics.registry.get_sample_value("stylefleet_runs", {"state": state})
        for state in ("running", "waiting", "paused")
    }
    assert by_state == {"running": 0, "waiting": 0, "paused": 1}


# --- deadlines and failure budgets ------------------------------------------------------------------------------------


def test_a_run_is_ended_at_its_deadline_and_keeps_what_is_done(world: World) -> None:
    world.submit(run={"parallelism": 2, "deadline": "90m"})
    world.tick()
    world.cluster.work(only={0})
    world.now += timedelta(minutes=89)
    world.tick()
    assert (world.status().phase, world.status().reason) == (Phase.RUNNING, "")
    world.now += timedelta(minutes=1)
    world.tick()
    found = world.status()
    assert (found.phase, found.reason) == (Phase.RUNNING, "DeadlineExceeded")
    assert found.message == "being ended: the deadline of 90 min after submission has passed"
    assert world.cluster.deleted == [], "first it is said"
    world.tick()
    assert world.cluster.jobs == {}
    assert world.status().phase is Phase.RUNNING, "workers write receipts until they have ended"
    world.tick()
    found = world.status()
    assert (found.phase, found.reason) == (Phase.PARTIALLY_SUCCEEDED, "DeadlineExceeded")
    assert (found.done, found.failed, found.pending, found.ending) == (2, 0, 1, None)
    assert found.message.endswith("2 of 3 pictures have a result, stylefleet retry spring does the rest")
    assert world.report()["reason"] == "DeadlineExceeded"
    world.restart()
    world.tick(3)
    assert len(world.cluster.created) == 1
    assert world.status() == found


def test_a_deadline_that_passed_while_no_controller_ran_is_kept_without_a_job(world: World) -> None:
    world.submit(run={"deadline": "6h"})
    world.now += timedelta(hours=7)
    world.tick(2)
    found = world.status()
    assert (found.phase, found.reason, found.done) == (Phase.FAILED, "DeadlineExceeded", 0)
    assert world.cluster.created == []


def test_a_run_with_too_many_failures_is_ended_and_the_same_manifest_again_does_the_rest(world: World) -> None:
    world.submit(run={"parallelism": 3, "maxFailures": "40%"})
    world.tick()
    world.cluster.work(only={0}, bad={"catalog/a.jpg": "truncated"})
    world.tick(2)
    assert world.status().reason == "", "one of three is less than 40 %"
    world.cluster.work(only={1}, bad={"catalog/b.jpg": "truncated"})
    world.tick(3)
    found = world.status()
    assert (found.phase, found.reason, found.failed, found.pending) == (Phase.FAILED, "TooManyFailures", 2, 1)
    assert found.message.startswith(
        "2 of 3 pictures failed (2 truncated: cannot be decoded), more than the 1 that maxFailures allows; "
    )
    assert world.cluster.jobs == {}
    world.submit(run={"parallelism": 3, "maxFailures": "40%"})
    world.work_to_the_end()
    assert world.status().phase is Phase.SUCCEEDED
    assert world.cluster.computed == [f"catalog/{n}.jpg" for n in "ababc"]


def test_pictures_of_shards_that_were_given_up_are_failures_and_the_run_stays_ended_when_its_job_is_gone(
    world: World,
) -> None:
    world.submit(run={"parallelism": 2, "maxFailures": 1})
    world.tick()
    world.cluster.last_words = "OOMKilled: killed for its memory (exit code 137)"
    world.cluster.fail(0)
    world.tick()
    assert "OOMKilled" in world.status().message
    world.restart()
    world.tick()
    assert world.cluster.jobs == {}, "nothing shows the failures any more"
    world.restart()
    world.tick(3)
    found = world.status()
    assert (found.phase, found.reason, found.pending) == (Phase.FAILED, "TooManyFailures", 3)
    assert "2 of 3 pictures failed (2 because their shard did: OOMKilled: killed for its memory" in found.message
    assert len(world.cluster.created) == 1


def test_a_run_is_not_ended_for_receipts_that_were_only_not_read_yet(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.picture("d")
    world.submit(run={"parallelism": 2, "maxFailures": 1})
    world.tick()
    world.cluster.work(only={0})
    world.cluster.work(only={1}, most=1)
    world.cluster.fail(1)
    monkeypatch.setattr(run_watch, "READ_A_LOOK_MAX", 1)
    world.restart()
    world.tick(2)
    assert (world.status().phase, world.status().reason, world.status().done) == (Phase.RUNNING, "", 3)
    assert len(world.cluster.jobs) == 1


def test_a_decision_to_end_a_run_survives_a_bucket_that_does_not_answer(world: World) -> None:
    world.submit(run={"parallelism": 2, "maxFailures": 1})
    world.tick()
    world.cluster.fail(0)
    world.tick(2)
    assert world.cluster.jobs == {}
    world.store.before = breaking("report.json", StoreUnavailable("503 SlowDown"))
    world.tick(2)
    assert world.status().reason == "StoreUnavailable"
    world.store.before = lambda *_: None
    world.restart()
    world.tick()
    assert world.status().reason == "TooManyFailures"
    assert len(world.cluster.created) == 1


def test_the_end_of_another_run_of_the_name_is_none_of_this_ones(world: World) -> None:
    world.submit()
    world.tick()
    ending = Ending(reason="DeadlineExceeded", because="")
    foreign = replace(world.status(), run="another", ending=ending)
    world.memory.put(Ref("service", "status/spring.json"), status.to_json(foreign))
    world.restart()
    world.tick(3)
    assert (world.status().phase, world.status().ending) == (Phase.RUNNING, None)
    assert len(world.cluster.jobs) == 1


def test_cancelling_goes_before_a_deadline(world: World) -> None:
    world.submit(run={"deadline": "6h"})
    world.tick()
    world.now += timedelta(hours=7)
    world.put("spring.cancel")
    world.tick(3)
    assert (world.status().phase, world.status().reason) == (Phase.CANCELLED, "")


# --- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [timedelta(hours=1), -timedelta(hours=1)], ids=str)
def test_a_clock_that_jumps_between_two_looks_does_no_harm(world: World, jump: timedelta) -> None:
    world.cluster.waiting = "Unschedulable: no GPU"
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    world.tick()
    world.now += jump
    world.tick(3)
    found = world.status()
    assert (found.phase, found.done, found.waiting_because) == (Phase.RUNNING, 2, "Unschedulable: no GPU")
    assert found.eta_seconds is not None
    assert found.eta_seconds >= 0
    world.restart()
    world.work_to_the_end()
    assert world.status().phase is Phase.SUCCEEDED
    assert len(world.cluster.created) == 1


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_each_picture_is_counted_once_in_the_metrics(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.work(most=1, bad={"catalog/c.jpg": "too_small"})
    world.tick()
    registry = world.metrics.registry
    assert registry.get_sample_value("stylefleet_pending_pictures") == 1
    assert registry.get_sample_value("stylefleet_runs", {"state": "waiting"}) == 1
    world.cluster.work()
    world.cluster.finish()
    world.tick(3)
    assert registry.get_sample_value("stylefleet_pictures_total", {"outcome": "done", "reason": ""}) == 2
    assert registry.get_sample_value("stylefleet_pictures_total", {"outcome": "failed", "reason": "too_small"}) == 1
    assert registry.get_sample_value("stylefleet_pending_pictures") == 0
    assert registry.get_sample_value("stylefleet_runs", {"state": "running"}) == 0
    assert registry.get_sample_value("stylefleet_reconcile_last_success_timestamp_seconds")


def test_what_is_done_while_no_controller_is_there_is_counted_by_the_next_and_nothing_again(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    world.tick()
    counted = sum(world.shown("stylefleet_pictures_total").values())
    assert counted > 0
    world.cluster.work()
    world.restart()
    world.tick()
    assert sum(world.shown("stylefleet_pictures_total").values()) == 3 > counted
    world.cluster.finish()
    for _ in range(2):
        world.tick(2)
        world.restart()
    world.tick()
    assert sum(world.shown("stylefleet_pictures_total").values()) == 3
    assert world.shown("stylefleet_run_duration_seconds_count") == {("Succeeded",): 1}


def test_what_the_workers_of_a_superseded_run_still_did_is_counted(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    done = len(world.cluster.computed)
    world.submit(output={"prefix": "s3://shop/other/"})
    world.tick(3)
    assert len(world.cluster.created) == 2
    assert world.shown("stylefleet_pictures_total") == {("done", ""): done}


def test_the_queue_its_age_and_the_workers_are_shown(world: World) -> None:
    world.submit()
    world.tick()
    put_at = world.now - timedelta(seconds=10)
    world.tick()
    value = world.metrics.registry.get_sample_value
    assert value("stylefleet_queue_oldest_timestamp_seconds") == put_at.timestamp()
    assert value("stylefleet_workers", {"state": "wanted"}) == 2
    assert value("stylefleet_workers", {"state": "ready"}) == 0
    assert value("stylefleet_estimated_seconds_left") == world.status().eta_seconds
    for job in world.cluster.jobs.values():
        job["status"] |= {"active": 2, "ready": 1}
    world.tick()
    assert value("stylefleet_queue_oldest_timestamp_seconds") == 0
    assert value("stylefleet_workers", {"state": "active"}) == 2
    assert value("stylefleet_workers", {"state": "ready"}) == 1
    world.work_to_the_end()
    assert value("stylefleet_estimated_seconds_left") == 0
    assert value("stylefleet_workers", {"state": "wanted"}) == 0


def test_a_run_that_will_miss_its_deadline_is_shown_before_it_does(world: World) -> None:
    world.submit(run={"parallelism": 1, "deadline": "90m"})
    world.tick()
    behind = partial(world.metrics.registry.get_sample_value, "stylefleet_runs_behind_deadline")
    assert behind() == 0
    world.now += timedelta(minutes=60)
    world.cluster.work(most=1, only={0})
    world.tick()
    assert world.status().phase is Phase.RUNNING
    assert behind() == 1


def test_a_refused_manifest_is_counted_by_its_reason(world: World) -> None:
    world.put("broken.yaml", b"no: manifest")
    world.tick(3)
    assert world.shown("stylefleet_manifests_rejected_total") == {("ManifestInvalid",): 1}


def test_the_jobs_of_another_service_in_the_namespace_are_left_alone() -> None:
    world = World()
    world.submit()
    world.tick()
    job = next(iter(world.cluster.jobs.values()))
    job["metadata"]["labels"][naming.LABEL_BUCKET] = "another-service"
    world.remove("spring.yaml")

    world.tick(3)

    assert list(world.cluster.jobs.values()) == [job], "it has no manifest here, and is none of our business"


def test_a_new_submission_that_is_held_up_does_not_wear_the_success_of_the_old() -> None:
    world = World()
    world.submit()
    world.work_to_the_end()
    old = world.status()
    assert old.phase is Phase.SUCCEEDED
    world.submit(output={"prefix": "s3://shop/elsewhere/"})

    def away(call: str, ref: Ref) -> None:
        if call == "get" and ref.bucket == "shop":
            raise StoreUnavailable("the shop is closed")

    world.store.before = away
    world.tick()

    held_up = world.status()
    assert (held_up.phase, held_up.report) == (Phase.PENDING, "")
    assert held_up.run != old.run
    assert "the shop is closed" in held_up.message


def test_a_manifest_of_any_size_is_never_read_whole_before_its_size_is_known() -> None:
    world = World()
    world.put("huge.yaml", b"#" * (yaml_positions.BYTES_MAX + 1))
    read: list[tuple[str, Ref]] = []
    world.store.before = lambda call, ref: read.append((call, ref))

    world.tick(2)

    assert world.status("huge").errors[0].message == "the manifest is too large"
    assert ("get", Ref("service", "jobs/huge.yaml")) not in read


def test_a_controller_that_slept_makes_no_job_for_a_run_that_another_has_ended() -> None:
    world = World()
    world.submit()
    sleeper = world.controller
    world.tick()
    awake = world.new_controller()
    world.put("spring.cancel")
    for _ in range(3):
        awake.tick()
    assert world.status().phase is Phase.CANCELLED
    world.remove("spring.cancel")

    sleeper.tick()

    assert world.cluster.jobs == {}
    assert world.status().phase is Phase.CANCELLED


# --- many runs, large runs ------------------------------------------------------------------------------------------


def test_newcomers_beyond_one_ticks_work_are_taken_up_by_the_next_which_comes_at_once(world: World) -> None:
    for number in range(URGENT_MAX + 1):
        world.submit(f"run-{number:03d}")
    assert world.controller.tick()
    assert len(world.cluster.created) == URGENT_MAX
    assert not world.controller.tick()
    assert len(world.cluster.created) == URGENT_MAX + 1


def test_finished_manifests_are_not_read_again_also_after_a_restart(world: World) -> None:
    world.submit()
    world.work_to_the_end()
    world.put("broken.yaml", b"no: manifest")
    world.tick(2)
    world.restart()
    gets: list[str] = []
    world.store.before = lambda method, ref: gets.append(ref.key) if method == "get" else None  # type: ignore[attr-defined]
    world.tick(2)
    assert sorted(gets) == ["metrics/totals.json", "status/broken.json", "status/spring.json"]


def test_the_status_of_an_older_version_learns_which_put_it_speaks_of(world: World) -> None:
    world.submit()
    world.work_to_the_end()
    final = world.status()
    ref = Ref("service", naming.status_key("spring"))
    world.memory.put(ref, status.to_json(replace(final, submission=None)))
    world.restart()
    world.tick()
    assert world.status().submission == final.submission
    assert len(world.cluster.created) == 1


def test_a_look_at_a_running_run_reads_so_many_receipts_and_the_next_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_watch, "READ_A_LOOK_MAX", 1)
    world.submit()
    world.tick()
    world.cluster.work(most=1)  # two shards, a receipt each
    world.tick()
    assert world.status().done == 1
    world.tick()
    assert world.status().done == 2


def test_a_job_that_ended_has_all_its_receipts_read_at_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_watch, "READ_A_LOOK_MAX", 1)
    world.submit()
    world.work_to_the_end()
    assert world.status().phase is Phase.SUCCEEDED


def test_a_new_controller_reads_no_receipts_of_complete_shards(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    world.tick()
    world.restart()
    gets: list[str] = []
    world.store.before = lambda method, ref: gets.append(ref.key) if method == "get" else None  # type: ignore[attr-defined]
    world.tick()
    assert world.status().done == 2
    assert not any("/receipts/" in key for key in gets)
    world.cluster.work()
    world.cluster.finish()
    world.tick()
    assert world.report()["totals"] == {"pictures": 3, "skipped": 0, "done": 3, "failed": 0}


def test_progress_that_cannot_be_read_costs_only_the_reading_of_the_receipts(world: World) -> None:
    world.submit()
    world.tick()
    world.cluster.work(only={0})
    world.tick()
    (key,) = [key for key in world.keys("service") if key.endswith("/progress.json")]
    world.memory.put(Ref("service", key), b"half")
    world.restart()
    world.tick()
    assert world.status().done == 2


def test_of_many_runs_that_wait_some_are_asked_about_in_each_tick_and_all_in_turn(world: World) -> None:
    for number in range(ASKED_MAX * 2):
        world.submit(f"run-{number:02d}")
    asked: list[str] = []
    world.cluster.before = lambda method, job: asked.append(job.name) if method == "waiting_because" else None  # type: ignore[attr-defined]
    world.tick(4)
    first = len(asked)
    world.tick()
    assert len(asked) - first <= ASKED_MAX * 2
    world.tick(2)
    assert len(set(asked)) == ASKED_MAX * 2
    assert len(asked) < 5 * ASKED_MAX * 2


# --- what a run teaches the next ----------------------------------------------------------------------------------


def test_the_next_run_is_planned_and_estimated_by_what_pictures_took(world: World) -> None:
    world.submit()
    world.work_to_the_end()
    # Of receipts that say 2 s each; by operations at the assumed speed it would be 0.2 s.
    world.submit("autumn")
    world.tick()
    plan = planner.load_plan(world.memory, "service", "autumn", world.status("autumn").run)
    assert plan is not None
    assert plan.seconds_per_picture == 2.0
    assert plan.seconds_source.startswith("measured: 3 pictures of spring/")
    assert world.status("autumn").eta_seconds == 3  # three pictures of 2 s, two workers
