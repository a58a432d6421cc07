"""The order of the doctor's questions, against a cluster that a test makes up."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from stylefleet import checks, doctor
from stylefleet.checks import Check
from stylefleet.cli.main import app
from stylefleet.doctor_cluster import CLUSTER_IDS, WORKER_IDS
from stylefleet.errors import AccessDenied, ClusterUnavailable, PermanentError
from stylefleet.jobs import JobView, Json
from stylefleet.rights import Right
from stylefleet.settings import controller_settings
from tests.builders import TEMPLATE
from tests.unit.test_diagnosis import warning
from tests.unit.test_doctor_cluster import ended, pod, waiting

SETTINGS = controller_settings({"STYLEFLEET_BUCKET": "service", "STYLEFLEET_NAMESPACE": "art"})


class MadeUpCluster:
    """Kubernetes for a probe; `steps` are the pods that are seen, one look after the other."""

    def __init__(self, *steps: list[Json]) -> None:
        self.steps = list(steps)
        self.made: list[str] = []
        self.removed: list[str] = []
        self.denied: set[str] = set()
        self.refusal: Exception | None = None
        self.warned: list[Json] = []
        self.asked_about: list[str] = []

    def allows(self, right: Right) -> bool:
        if isinstance(self.refusal, ClusterUnavailable):
            raise self.refusal
        return str(right) not in self.denied

    def post_job(self, job: Json) -> Json:
        if self.refusal is not None:
            raise self.refusal
        self.made.append(job["metadata"]["name"])
        return job | {"metadata": job["metadata"] | {"uid": "uid-of-the-job"}}

    def read_job(self, name: str) -> Json:
        return {"metadata": {"name": name}, "spec": {}}

    def pods(self, job_name: str, phase: str = "") -> list[Json]:
        return self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]

    def warnings(self, uid: str) -> list[Json]:
        self.asked_about.append(uid)
        return self.warned

    def delete_job(self, job: JobView) -> None:
        self.removed.append(job.name)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LOOK_SECONDS", 0.0)


def examine(cluster: MadeUpCluster, *, wait_seconds: int = 60) -> dict[str, Check]:
    found = doctor.examine_cluster(
        cluster, SETTINGS, gpus=1, queue=None, wait_seconds=wait_seconds, tell=lambda _what: None
    )
    return {check.id: check for check in found}


def failed(found: dict[str, Check]) -> list[str]:
    return [check.id for check in found.values() if check.outcome == "failed"]


WELL = pod(ended(0, checks.to_json([checks.ok(id, "well") for id in WORKER_IDS])))


def test_the_probe_is_watched_to_its_end_and_removed() -> None:
    cluster = MadeUpCluster([], [pod(waiting("ContainerCreating"))], [WELL])
    found = examine(cluster)
    assert failed(found) == []
    assert list(found) == list(CLUSTER_IDS)
    assert cluster.made == cluster.removed != []


def test_the_events_of_the_pod_are_asked_for_and_those_of_the_job_before_there_is_one() -> None:
    cluster = MadeUpCluster([], [WELL])
    examine(cluster)
    assert cluster.asked_about == ["uid-of-the-job", "u"]


def test_a_probe_that_never_starts_is_removed_when_its_time_is_up() -> None:
    cluster = MadeUpCluster([pod(waiting("ContainerCreating"))])
    assert failed(examine(cluster, wait_seconds=0)) == ["image"]
    assert cluster.made == cluster.removed != []


def test_a_pod_that_cannot_be_made_is_not_waited_for() -> None:
    cluster = MadeUpCluster([])
    cluster.warned = [warning("FailedCreate", "exceeded quota")]
    assert failed(examine(cluster, wait_seconds=10**6)) == ["schedulable"]


def test_the_probe_is_removed_also_where_the_doctor_is_told_to_end() -> None:
    cluster = MadeUpCluster([])

    def told_to_end(_what: str) -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit):
        doctor.examine_cluster(cluster, SETTINGS, gpus=0, queue=None, wait_seconds=60, tell=told_to_end)
    assert cluster.made == cluster.removed != []


@pytest.mark.parametrize("right", ["create jobs.batch", "delete jobs.batch", "list pods", "list events"])
def test_without_a_right_that_the_probe_needs_none_is_made(right: str) -> None:
    cluster = MadeUpCluster([])
    cluster.denied = {right}
    found = examine(cluster)
    assert failed(found) == ["rbac"]
    assert right in found["image"].found
    assert cluster.made == []
    assert list(found) == list(CLUSTER_IDS)


def test_rights_on_the_lease_are_asked_for_where_controllers_share_one_and_the_probe_needs_none() -> None:
    cluster = MadeUpCluster([WELL])
    cluster.denied = {"update leases.coordination.k8s.io art"}
    shared = {"STYLEFLEET_BUCKET": "service", "STYLEFLEET_LEASE": "art", "STYLEFLEET_IDENTITY": "pod-7"}
    found = doctor.examine_cluster(
        cluster, controller_settings(shared), gpus=1, queue=None, wait_seconds=60, tell=lambda _what: None
    )
    assert [check.id for check in found if check.outcome == "failed"] == ["rbac"]
    assert failed(examine(MadeUpCluster([WELL]))) == []


@pytest.mark.parametrize(
    ("refusal", "id"),
    [
        (ClusterUnavailable("no answer"), "rbac"),
        (AccessDenied("admission webhook says no"), "schedulable"),
        (PermanentError("422 Invalid"), "schedulable"),
    ],
    ids=str,
)
def test_a_cluster_that_refuses_or_does_not_answer_is_told_with_its_words(refusal: Exception, id: str) -> None:
    cluster = MadeUpCluster([])
    cluster.refusal = refusal
    found = examine(cluster)
    assert failed(found) == [id]
    assert found[id].found == str(refusal)
    assert list(found) == list(CLUSTER_IDS)


@pytest.mark.parametrize(
    ("program", "seconds", "words"),
    [
        ("import sys; sys.exit('no TensorFlow')", 60.0, "no TensorFlow"),
        ("import time; time.sleep(60)", 0.5, "no answer"),
    ],
)
def test_a_worker_process_that_does_not_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, program: str, seconds: float, words: str
) -> None:
    monkeypatch.setattr(doctor, "WORKER_COMMAND", (sys.executable, "-c", program))
    found = doctor.examine_local_worker(TEMPLATE, gpus=0, environment={}, seconds=seconds)
    assert [check.id for check in found] == ["worker", *WORKER_IDS]
    assert found[0].outcome == "failed"
    assert words in found[0].found


# --- the command ----------------------------------------------------------------------------------------------------


Run = Callable[..., Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr("signal.signal", lambda *_: None)

    def run(*arguments: str, found: list[Check] | None = None, **variables: str) -> Any:
        if found is not None:
            monkeypatch.setattr(doctor, "examine", lambda *_, **__: found)
        return CliRunner().invoke(app, ["doctor", *arguments], env={"STYLEFLEET_BUCKET": "service"} | variables)

    return run


def test_the_exit_code_says_whether_all_is_well(run: Run) -> None:
    assert run(found=[checks.ok("bucket", "fine")]).exit_code == 0
    assert run(found=[*checks.skipped(["queue"], "none")]).exit_code == 0
    assert run(found=[checks.failed("bucket", "gone", "make it")]).exit_code == 1


def test_json_is_for_machines(run: Run) -> None:
    document = json.loads(run("--json", found=[checks.failed("bucket", "gone", "make it")]).stdout)
    assert document == {
        "ok": False,
        "checks": [{"id": "bucket", "outcome": "failed", "found": "gone", "remedy": "make it"}],
    }


def test_a_setting_without_a_usable_value_is_a_finding_like_any_other(run: Run) -> None:
    done = run("--json", STYLEFLEET_HTTP_PORT="many")
    found = {c.id: c for c in checks.from_json(done.stdout)}
    assert done.exit_code == 1
    assert failed(found) == ["settings"]
    assert found["settings"].found.startswith("STYLEFLEET_HTTP_PORT: found 'many'")
    assert set(found) == {"settings", *doctor.STORE_IDS, *CLUSTER_IDS}
