"""Indexed Jobs as processes: the semantics of Kubernetes that the controller relies on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from stylefleet import cluster_local
from stylefleet.cluster_local import LocalCluster
from stylefleet.errors import PreconditionFailed, SettingsInvalid
from stylefleet.jobs import JobView, Json, job_for
from tests.builders import TEMPLATE, make_plan

WORKER = Path(__file__).with_name("fake_worker.py")
SECONDS_MAX = 60.0


class Machine:
    """A folder, the fake workers' orders, and the clusters that a test starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clusters: list[LocalCluster] = []
        (folder / "starts").mkdir()
        self.orders({})

    def orders(self, words_by_index: dict[int, list[str]]) -> None:
        (self.folder / "plan.json").write_text(json.dumps(words_by_index))

    def cluster(self, slots: int = 4, **options: Any) -> LocalCluster:
        # -S -E: the worker needs nothing but the standard library, and starts quickly without the rest.
        command = (sys.executable, "-S", "-E", str(WORKER), str(self.folder))
        environment = {"PATH": os.environ["PATH"], "HOME": "/home/of-the-user", "SECRET": "s"}
        cluster = LocalCluster(self.folder / "jobs", slots=slots, command=command, environment=environment, **options)
        self.clusters.append(cluster)
        return cluster

    def starts(self, index: int) -> list[str]:
        """Attempts of an index so far."""
        return sorted(p.name.partition("-")[2] for p in (self.folder / "starts").glob(f"{index}-*"))

    def facts(self, index: int) -> dict[str, Any]:
        (mark,) = (self.folder / "starts").glob(f"{index}-*")
        found: dict[str, Any] = json.loads(mark.read_text())
        return found

    def let_go(self, *indexes: int) -> None:
        for index in indexes:
            (self.folder / f"go-{index}").touch()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    for cluster in machine.clusters:
        cluster.close()


def job(shards: int = 2, name: str = "spring", run: str = "0123456789abcdef", **plan: Any) -> Json:
    return job_for(make_plan(shards=(1,) * shards, name=name, run=run, **plan), TEMPLATE)


def until(what: Callable[[], bool]) -> None:
    """Wait for what processes do; how long they take is not what is tested."""
    deadline = time.monotonic() + SECONDS_MAX
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def only(cluster: LocalCluster) -> JobView:
    (view,) = cluster.list_jobs()
    return view


def finished(cluster: LocalCluster) -> JobView:
    until(lambda: only(cluster).finished != "")
    return only(cluster)


def test_every_index_runs_once_and_the_job_completes(machine: Machine) -> None:
    cluster = machine.cluster()
    cluster.create_job(job(3))
    view = finished(cluster)
    assert (view.finished, view.completed, view.failed, view.active) == ("Complete", "0-2", "", 0)
    assert (view.owner_name, view.run, view.held) == ("spring", "0123456789abcdef", True)
    assert [len(machine.starts(i)) for i in range(3)] == [1, 1, 1]


def test_a_worker_gets_its_jobs_variables_its_index_and_the_users_home(machine: Machine) -> None:
    cluster = machine.cluster()
    cluster.create_job(job(1))
    finished(cluster)
    facts = machine.facts(0)
    assert facts["STYLEFLEET_BUCKET"] == "service"
    assert facts["STYLEFLEET_NAME"] == "spring"
    assert facts["STYLEFLEET_RUN"] == "0123456789abcdef"
    assert facts["HOME"] == "/home/of-the-user"
    assert facts["SECRET"] == "s"
    assert facts["STYLEFLEET_METRICS_PORT"] is None, "a pod's port is taken on this machine after the first worker"


def test_each_worker_that_is_at_work_has_a_port_of_its_own_and_the_next_one_takes_it_over(machine: Machine) -> None:
    machine.orders({index: ["wait"] for index in range(3)})
    cluster = machine.cluster(slots=2, metrics_port=9301)
    cluster.create_job(job(3, parallelism=3))
    until(lambda: bool(machine.starts(0) and machine.starts(1)))
    machine.let_go(0)
    until(lambda: bool(cluster.list_jobs() and machine.starts(2)))
    ports = [machine.facts(index)["STYLEFLEET_METRICS_PORT"] for index in range(3)]
    assert ports == ["9301", "9302", "9301"]
    assert machine.facts(0)["STYLEFLEET_METRICS_HOST"] == "127.0.0.1"


def test_an_index_that_fails_is_tried_again_under_another_name(machine: Machine) -> None:
    machine.orders({1: ["exit 1", "exit 5", "exit 143", "exit 0"]})
    cluster = machine.cluster()
    cluster.create_job(job(2))
    view = finished(cluster)
    assert (view.finished, view.completed) == ("Complete", "0,1")
    assert len(set(machine.starts(1))) == 4
    assert len(machine.starts(0)) == 1


def test_an_index_that_fails_too_often_is_given_up_and_the_others_go_on(machine: Machine) -> None:
    machine.orders({0: ["exit 1"]})
    cluster = machine.cluster(slots=1)
    cluster.create_job(job(3))
    view = finished(cluster)
    assert (view.finished, view.completed, view.failed) == ("Failed", "1,2", "0")
    assert view.message == "Job has failed indexes"
    assert len(machine.starts(0)) == 4  # one, and three again


@pytest.mark.parametrize("end", ["exit 143", "sigterm"])
def test_a_worker_that_somebody_told_to_end_counts_as_no_failure(machine: Machine, end: str) -> None:
    machine.orders({0: [end] * 5 + ["exit 0"]})  # three failures are allowed
    cluster = machine.cluster()
    cluster.create_job(job(1))
    assert finished(cluster).finished == "Complete"
    assert len(machine.starts(0)) == 6


def test_an_invalid_shard_fails_its_index_at_once(machine: Machine) -> None:
    machine.orders({1: ["exit 42"]})
    cluster = machine.cluster()
    cluster.create_job(job(2))
    view = finished(cluster)
    assert (view.finished, view.completed, view.failed) == ("Failed", "0", "1")
    assert len(machine.starts(1)) == 1


@pytest.mark.parametrize(("slots", "parallelism", "at_once"), [(4, 2, 2), (2, 8, 2), (8, 8, 3)])
def test_no_more_workers_than_slots_parallelism_and_indexes(
    machine: Machine, slots: int, parallelism: int, at_once: int
) -> None:
    machine.orders({i: ["wait"] for i in range(3)})
    cluster = machine.cluster(slots)
    cluster.create_job(job(3, parallelism=parallelism))
    until(lambda: sum(len(machine.starts(i)) for i in range(3)) == at_once)
    assert only(cluster).active == at_once
    assert [len(machine.starts(i)) for i in range(3)] == [1] * at_once + [0] * (3 - at_once)
    machine.let_go(0, 1, 2)
    assert finished(cluster).completed == "0-2"


def test_a_job_that_may_have_more_workers_gets_them(machine: Machine) -> None:
    machine.orders({i: ["wait"] for i in range(3)})
    cluster = machine.cluster()
    cluster.create_job(job(3, parallelism=1))
    view = only(cluster)
    assert (view.parallelism, view.open_indexes, view.workers, view.active) == (1, 3, 1, 1)
    cluster.resize_job(replace(view, uid="another"), 3)
    assert only(cluster).parallelism == 1, "this is another Job"
    cluster.resize_job(view, 3)
    until(lambda: only(cluster).active == 3)
    cluster.resize_job(replace(view, name="gone"), 3)
    machine.let_go(0)
    until(lambda: only(cluster).open_indexes == 2)
    assert only(cluster).workers == 2


def test_the_older_job_comes_first_and_the_other_is_told_why_it_waits(machine: Machine) -> None:
    machine.orders({0: ["wait"], 1: ["wait"]})
    cluster = machine.cluster(slots=1)
    cluster.create_job(job(2, name="zebra", run="1" * 16))
    cluster.create_job(job(1, name="ant", run="2" * 16))
    zebra, ant = cluster.list_jobs()
    assert (zebra.owner_name, ant.owner_name) == ("zebra", "ant")
    assert (zebra.active, ant.active) == (1, 0)
    assert cluster.waiting_because(ant) == "all 1 worker slots of this machine are taken"
    assert cluster.waiting_because(zebra) == ""
    machine.let_go(0)
    until(lambda: cluster.list_jobs()[0].completed == "0")
    assert [j.active for j in cluster.list_jobs()] == [1, 0]


def test_the_last_words_of_a_worker_that_failed_are_told(machine: Machine) -> None:
    machine.orders({0: ["exit 0"], 1: ["exit 42 s3://gone: no such bucket"]})
    cluster = machine.cluster()
    cluster.create_job(job(2))
    view = finished(cluster)
    assert view.finished == "Failed"
    assert "s3://gone: no such bucket" in cluster.failed_because(view)


def test_a_job_without_a_failed_worker_has_no_last_words(machine: Machine) -> None:
    cluster = machine.cluster()
    cluster.create_job(job(1))
    view = finished(cluster)
    assert cluster.failed_because(view) == ""
    cluster.delete_job(view)
    assert cluster.failed_because(view) == ""


def test_creating_a_job_twice_is_fine_and_another_run_of_that_name_is_refused(machine: Machine) -> None:
    cluster = machine.cluster()
    cluster.create_job(job(1))
    uid = only(cluster).uid
    cluster.create_job(job(1))
    assert only(cluster).uid == uid
    other = job(1)
    other["metadata"]["labels"] |= {"stylefleet.dev/run": "another"}
    with pytest.raises(PreconditionFailed):
        cluster.create_job(other)
    finished(cluster)
    assert len(machine.starts(0)) == 1


def test_deleting_a_job_stops_its_workers(machine: Machine) -> None:
    machine.orders({0: ["wait"], 1: ["wait"]})
    cluster = machine.cluster()
    cluster.create_job(job(2))
    until(lambda: bool(machine.starts(0) and machine.starts(1)))
    pids = [machine.facts(i)["pid"] for i in range(2)]
    view = only(cluster)
    cluster.delete_job(view)
    assert cluster.list_jobs() == []
    assert not any(psutil.pid_exists(pid) for pid in pids)
    cluster.delete_job(view)


def test_a_job_that_was_made_anew_is_not_deleted_in_place_of_the_old_one(machine: Machine) -> None:
    cluster = machine.cluster()
    cluster.create_job(job(1))
    old = only(cluster)
    cluster.delete_job(old)
    cluster.create_job(job(1))
    cluster.delete_job(old)
    assert only(cluster).uid != old.uid


def test_a_job_that_was_made_anew_has_other_attempts(machine: Machine) -> None:
    # The names of receipts come from them: an equal name would be refused as written already.
    cluster = machine.cluster()
    for _ in range(2):
        cluster.create_job(job(1))
        cluster.delete_job(finished(cluster))
    assert len(machine.starts(0)) == 2


def test_a_finished_job_is_removed_when_it_is_let_go_and_a_running_one_is_not(machine: Machine) -> None:
    machine.orders({0: ["wait"]})
    cluster = machine.cluster()
    cluster.create_job(job(1))
    cluster.release_job(only(cluster))
    assert only(cluster).active == 1
    machine.let_go(0)
    cluster.release_job(finished(cluster))
    assert cluster.list_jobs() == []


def test_after_a_clean_end_the_next_cluster_does_what_was_unfinished_and_counts_no_failure(machine: Machine) -> None:
    machine.orders({1: ["wait"]})
    first = machine.cluster()
    first.create_job(job(2))
    until(lambda: only(first).completed == "0" and bool(machine.starts(1)))
    pid = machine.facts(1)["pid"]
    first.close()
    assert not psutil.pid_exists(pid)
    machine.orders(
        {1: ["exit 1", "exit 1", "exit 1", "exit 1", "exit 0"]}
    )  # the first attempt was stopped, three may fail
    second = machine.cluster()
    assert finished(second).completed == "0,1"
    assert len(machine.starts(0)) == 1


CONTROLLER = """
import json, sys, time
from pathlib import Path
from stylefleet.cluster_local import LocalCluster
folder, worker, job = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
cluster = LocalCluster(folder / "jobs", slots=4, command=(sys.executable, "-S", "-E", worker, str(folder)))
cluster.create_job(job)
while True:
    cluster.list_jobs()
    time.sleep(0.02)
"""


def test_after_kill_9_the_next_cluster_finds_the_job_and_redoes_only_what_was_unfinished(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_local, "GRACE_SECONDS", 1)
    machine.orders({1: ["wait"], 2: ["deaf"]})
    controller = subprocess.Popen(
        [sys.executable, "-c", CONTROLLER, str(machine.folder), str(WORKER), json.dumps(job(3))]
    )
    try:
        path = machine.folder / "jobs" / f"{job(3)['metadata']['name']}.json"
        until(lambda: path.exists() and json.loads(path.read_text())["status"].get("completedIndexes") == "0")
        until(lambda: bool(machine.starts(1) and machine.starts(2)))
    finally:
        controller.send_signal(signal.SIGKILL)
        controller.wait()
    orphans = [machine.facts(i)["pid"] for i in (1, 2)]
    assert all(psutil.pid_exists(pid) for pid in orphans)
    machine.orders({})
    cluster = machine.cluster()
    until(lambda: not any(_alive(pid) for pid in orphans))
    view = finished(cluster)
    assert (view.finished, view.completed) == ("Complete", "0-2")
    assert [len(machine.starts(i)) for i in range(3)] == [1, 2, 2]
    assert (machine.folder / "told-1").exists(), "a worker may save its place; only who does not heed it is killed"


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_folder_has_one_controller_at_a_time(machine: Machine) -> None:
    first = machine.cluster()
    with pytest.raises(SettingsInvalid, match="another controller uses this folder"):
        machine.cluster()
    first.close()
    machine.cluster()


def test_a_dry_run_sees_the_jobs_of_a_live_controller_and_touches_nothing(machine: Machine) -> None:
    machine.orders({0: ["wait"]})
    live = machine.cluster()
    live.create_job(job(1))
    until(lambda: bool(machine.starts(0)))
    before = {p.name: p.read_bytes() for p in (machine.folder / "jobs").glob("*.json")}
    looking = machine.cluster(look_only=True)
    assert only(looking).active == 1
    looking.close()
    assert {p.name: p.read_bytes() for p in (machine.folder / "jobs").glob("*.json")} == before
    machine.let_go(0)
    assert finished(live).completed == "0"
    assert len(machine.starts(0)) == 1
