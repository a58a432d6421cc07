"""What the doctor says of a cluster, given what its probe met: objects as the API of Kubernetes 1.34 has them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stylefleet import checks, doctor_cluster, naming
from stylefleet.checks import Check
from stylefleet.diagnosis import NO_POD
from stylefleet.doctor_cluster import PROBE_IDS
from stylefleet.jobs import Json, view
from stylefleet.probe_job import MANAGED_BY, ProbeFacts, probe_job
from stylefleet.rights import rights
from tests.builders import TEMPLATE
from tests.unit.test_diagnosis import NO_GPU, NOT_FOUND, unscheduled, waiting, warning

WELL = [checks.ok("weights", "vgg16-hed"), checks.ok("engine", "TensorFlow")]
FORBIDDEN = 'Error creating: pods "x" is forbidden: exceeded quota: compute'


def probe(**changes: Any) -> Json:
    return probe_job(TEMPLATE, **({"gpus": 1, "queue": None, "nonce": "n", "seconds": 60} | changes))


def pod(status: dict[str, Any], *, node: str = "node-7") -> Json:
    """The probe's pod; on no node where `node` is empty."""
    spec = probe()["spec"]["template"]["spec"] | ({"nodeName": node} if node else {})
    return {"metadata": {"uid": "u", "creationTimestamp": "2026-03-01T12:00:00Z"}, "spec": spec, **status}


def ended(code: int, message: str, reason: str = "Error") -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, "message": message, "reason": reason}}
    phase = "Failed" if code else "Succeeded"
    return {"status": {"phase": phase, "containerStatuses": [{"name": "worker", "state": state}]}}


def judge(status: dict[str, Any] | None = None, *, node: str = "node-7", **facts: Any) -> dict[str, Check]:
    made = None if status is None else pod(status, node=node)
    found = doctor_cluster.judge_probe(ProbeFacts(**({"job": probe(), "pod": made, "seconds": 60.0} | facts)))
    return {check.id: check for check in found}


def failed(found: dict[str, Check]) -> list[str]:
    return [check.id for check in found.values() if check.outcome == "failed"]


def test_a_probe_that_did_well_hands_on_what_the_worker_said() -> None:
    found = judge(ended(0, checks.to_json(WELL)))
    assert failed(found) == []
    assert found["schedulable"].found.startswith("node node-7 takes the pod")
    assert "nvidia.com/gpu 1" in found["schedulable"].found
    assert found["engine"] == WELL[1]


def test_a_probe_that_found_something_hands_that_on_and_did_its_work() -> None:
    wrong = checks.failed("weights", "another SHA-256", "Fetch it again")
    found = judge(ended(1, checks.to_json([wrong])))
    assert failed(found) == ["weights"]
    assert found["worker"].outcome == "ok"


CASES: list[tuple[str, dict[str, Any] | None, dict[str, Any], str, str, str]] = [
    (
        "no node has the GPU",
        unscheduled(NO_GPU),
        {"node": ""},
        "schedulable",
        "Insufficient",
        "STYLEFLEET_GPU_RESOURCE",
    ),
    ("no pod is allowed", None, {"warnings": [warning("FailedCreate", FORBIDDEN)]}, "schedulable", "quota", "Quota"),
    ("no pod and no word", None, {}, "schedulable", NO_POD.found, "kubectl describe job"),
    ("no image", waiting("ImagePullBackOff", NOT_FOUND), {}, "image", "registry.example/worker:7", "push it"),
    ("image not there in time", waiting("ContainerCreating"), {}, "image", "after 60 s", "--wait-seconds"),
    (
        "no Secret",
        waiting("CreateContainerConfigError", 'secret "gone" not found'),
        {},
        "worker",
        'secret "gone" not found',
        "STYLEFLEET_WORKER_SECRET",
    ),
    (
        "no volume",
        waiting("ContainerCreating"),
        {"warnings": [warning("FailedMount", "no such claim")]},
        "worker",
        "FailedMount: no such claim",
        "cannot be mounted",
    ),
    ("another program", ended(2, "Usage: python"), {}, "worker", "Usage: python", "entry point"),
    ("killed", ended(137, "", "OOMKilled"), {}, "worker", "OOMKilled", "STYLEFLEET_WORKER_MEMORY"),
    ("no word", ended(0, ""), {}, "worker", "without a word", "entry point"),
    ("too slow", {"status": {"phase": "Running"}}, {}, "worker", "after 60 s", "--wait-seconds"),
]


@pytest.mark.parametrize(
    ("status", "facts", "id", "words", "remedy"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_a_probe_that_comes_to_nothing_says_where_it_ended_and_what_to_do(
    status: dict[str, Any] | None, facts: dict[str, Any], id: str, words: str, remedy: str
) -> None:
    found = judge(status, **facts)
    assert failed(found) == [id]
    assert words in found[id].found
    assert remedy in found[id].remedy
    assert list(found) == list(PROBE_IDS), "each check is there once, also those that could not be made"


def test_an_image_is_not_said_to_be_pulled_where_the_pod_was_never_set_up() -> None:
    assert judge(waiting("ContainerCreating"), warnings=[warning("FailedMount")])["image"].outcome == "skipped"


def queued(*, by_webhook: bool) -> Json:
    job = probe(queue="gpu-batch")
    job["spec"]["suspend"] = by_webhook
    return job


def test_a_queue_that_admits_the_probe_is_well() -> None:
    found = judge(ended(0, checks.to_json(WELL)), job=queued(by_webhook=True))
    assert found["queue"] == checks.ok("queue", "gpu-batch admitted the Job")


def test_a_queue_that_does_not_admit_the_probe_is_told() -> None:
    found = judge(job=queued(by_webhook=True), suspended=True)
    assert failed(found) == ["queue"]
    assert "LocalQueue" in found["queue"].remedy
    assert list(found) == list(PROBE_IDS)


def test_a_queue_that_nobody_looks_after_is_told_and_the_rest_is_judged() -> None:
    found = judge(ended(0, checks.to_json(WELL)), job=queued(by_webhook=False))
    assert failed(found) == ["queue"]
    assert "Kueue" in found["queue"].remedy
    assert found["engine"].outcome == "ok"


@pytest.mark.parametrize(
    ("facts", "settled"),
    [
        ({"pod": None}, False),
        ({"pod": None, "warnings": [warning("FailedCreate")]}, True),
        ({"pod": None, "warnings": [warning("FailedCreate")], "suspended": True}, False),
        ({"pod": pod(unscheduled(NO_GPU), node="")}, False),  # a node may be on its way
        ({"pod": pod(waiting("ContainerCreating"))}, False),
        ({"pod": pod(waiting("ErrImagePull"))}, False),  # perhaps a hiccup of the registry
        ({"pod": pod(waiting("ImagePullBackOff"))}, True),
        ({"pod": pod(waiting("InvalidImageName"))}, True),
        ({"pod": pod(waiting("CreateContainerConfigError"))}, True),
        ({"pod": pod({"status": {"phase": "Running"}})}, False),
        ({"pod": pod(ended(0, ""))}, True),
        ({"pod": pod(ended(1, ""))}, True),
    ],
)
def test_the_probe_is_watched_until_nothing_more_is_to_be_learned(facts: dict[str, Any], settled: bool) -> None:
    assert ProbeFacts(job=probe(), **facts).settled is settled


def test_the_probe_is_a_workers_pod_in_all_but_what_it_does() -> None:
    job = probe(queue="gpu-batch")
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == TEMPLATE.image
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert container["args"] == ["doctor", "--worker", "/dev/termination-log", "--gpus", "1"]
    assert job["metadata"]["labels"][naming.LABEL_QUEUE] == "gpu-batch"
    assert "nvidia.com/gpu" not in json.dumps(probe(gpus=0))


def test_no_controller_takes_the_probe_for_a_run_and_it_ends_by_itself() -> None:
    job = probe()
    assert job["metadata"]["labels"][naming.LABEL_MANAGED_BY] == MANAGED_BY != naming.MANAGED_BY
    assert not view(job | {"metadata": job["metadata"] | {"uid": "u"}}).held
    assert job["spec"]["activeDeadlineSeconds"] == 60
    assert job["spec"]["ttlSecondsAfterFinished"] == 60
    assert job["spec"]["backoffLimitPerIndex"] == 0


def test_two_probes_at_once_have_names_of_their_own() -> None:
    assert probe(nonce="a")["metadata"]["name"] != probe(nonce="b")["metadata"]["name"]


def test_rights_that_are_all_granted_are_well() -> None:
    check = doctor_cluster.judge_rights(dict.fromkeys(rights(None), True), "art")
    assert (check.id, check.outcome) == ("rbac", "ok")


def test_each_missing_right_is_named_with_its_purpose() -> None:
    granted = {right: right.verb not in ("patch", "update") for right in rights("stylefleet")}
    check = doctor_cluster.judge_rights(granted, "art")
    assert check.outcome == "failed"
    assert "may not patch jobs.batch (to let a reported Job go)" in check.found
    assert "may not update leases.coordination.k8s.io stylefleet (to go on leading)" in check.found
    assert "in namespace art: patch jobs.batch, update leases.coordination.k8s.io stylefleet" in check.remedy


def test_leases_are_asked_for_only_where_controllers_share_one() -> None:
    assert not any(right.resource == "leases" for right in rights(None))
    assert {r.name for r in rights("stylefleet") if r.resource == "leases" and r.verb != "create"} == {"stylefleet"}


def test_template_settings_reach_the_probe() -> None:
    job = probe_job(replace(TEMPLATE, cpu="7"), gpus=0, queue=None, nonce="n", seconds=1)
    assert job["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "7"
