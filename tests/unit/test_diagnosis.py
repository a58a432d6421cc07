"""Why nobody is at work, in words with what to do: from objects as the API server of Kubernetes 1.34 gives them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stylefleet import diagnosis
from stylefleet.diagnosis import Diagnosis


def waiting(reason: str, message: str = "", *, init: bool = False) -> dict[str, Any]:
    statuses = "initContainerStatuses" if init else "containerStatuses"
    return {"status": {"phase": "Pending", statuses: [{"state": {"waiting": {"reason": reason, "message": message}}}]}}


def unscheduled(message: str, reason: str = "Unschedulable") -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return {"status": {"phase": "Pending", "conditions": [condition]}}


def warning(reason: str, message: str = "", at: str = "2026-03-01T12:00:00Z") -> dict[str, Any]:
    return {"type": "Warning", "reason": reason, "message": message, "lastTimestamp": at, "metadata": {}}


def ended(
    code: int, message: str = "", *, reason: str = "Error", created: str = "2026-03-01T12:00:00Z"
) -> dict[str, Any]:
    terminated = {"exitCode": code, "reason": reason} | ({"message": message} if message else {})
    return {
        "metadata": {"creationTimestamp": created},
        "status": {"phase": "Failed", "containerStatuses": [{"name": "worker", "state": {"terminated": terminated}}]},
    }


NOT_FOUND = (
    'Back-off pulling image "registry.example/worker:7": ErrImagePull: rpc error: code = NotFound desc = failed to '
    'pull and unpack image "registry.example/worker:7": failed to resolve reference: registry.example/worker:7: '
    "not found"
)
NO_GPU = (
    "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/3 nodes are "
    "available: 3 Preemption is not helpful for scheduling."
)

PENDING = [
    (
        waiting("ImagePullBackOff", NOT_FOUND),
        "registry.example/worker:7",
        "push it, or correct STYLEFLEET_WORKER_IMAGE",
    ),
    (
        waiting("ErrImagePull", "failed to authorize: 401 Unauthorized"),
        "401 Unauthorized",
        "name imagePullSecrets in STYLEFLEET_WORKER_POD",
    ),
    (
        waiting("ErrImagePull", 'Head "https://registry.example/v2/": dial tcp: lookup registry.example: no such host'),
        "no such host",
        "The nodes do not reach the registry",
    ),
    (waiting("ErrImagePull", "unexpected EOF"), "unexpected EOF", "Check STYLEFLEET_WORKER_IMAGE"),
    (
        waiting("InvalidImageName", 'Failed to apply default image tag "Registry/Worker": invalid reference format'),
        "invalid reference format",
        "Correct STYLEFLEET_WORKER_IMAGE",
    ),
    (waiting("ErrImageNeverPull", "not present with pull policy of Never"), "Never", "Load the image on every node"),
    (
        waiting("CreateContainerConfigError", 'secret "s3-credentials" not found'),
        'secret "s3-credentials" not found',
        "STYLEFLEET_WORKER_SECRET",
    ),
    (
        waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root"),
        "will run as root",
        "this project's Dockerfile",
    ),
    (waiting("RunContainerError", "exec: no such file"), "exec: no such file", "entry point"),
    (waiting("ErrImagePull", "not found", init=True), "ErrImagePull", "push it"),
    (unscheduled(NO_GPU), "3 Insufficient nvidia.com/gpu", "Compare STYLEFLEET_GPU_RESOURCE"),
    (unscheduled("0/1 nodes are available: 1 Insufficient memory."), "Insufficient memory", "STYLEFLEET_WORKER_MEMORY"),
    (
        unscheduled("0/1 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}."),
        "untolerated taint {nvidia.com/gpu: present}",
        "Add a toleration for that taint",
    ),
    (
        unscheduled("0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."),
        "node affinity/selector",
        "nodeSelector",
    ),
    (
        unscheduled('0/1 nodes are available: persistentvolumeclaim "weights" not found.'),
        '"weights" not found',
        "Create that PersistentVolumeClaim",
    ),
    (unscheduled("0/1 nodes are available: 1 node(s) were unschedulable."), "were unschedulable", "Check the workers'"),
    (unscheduled("waiting for a gate", "SchedulingGated"), "SchedulingGated", "schedulingGates"),
]


@pytest.mark.parametrize(("pod", "found", "remedy"), PENDING, ids=lambda v: v if isinstance(v, str) else "")
def test_a_pod_that_waits_says_what_it_waits_for_and_what_to_do(pod: dict[str, Any], found: str, remedy: str) -> None:
    seen = diagnosis.of_waiting([pod])
    assert seen is not None
    assert found in f"{seen.reason}: {seen.found}"
    assert remedy in seen.remedy


def test_a_pod_that_lacks_two_things_is_told_both_remedies() -> None:
    words = "0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {spot: true}."
    seen = diagnosis.of_waiting([unscheduled(words)])
    assert seen is not None
    assert "STYLEFLEET_GPU_RESOURCE" in seen.remedy
    assert "toleration" in seen.remedy


def test_lack_of_memory_is_not_taken_for_lack_of_a_gpu() -> None:
    assert "GPU" not in diagnosis.remedy("Unschedulable", "0/1 nodes are available: 1 Insufficient memory.")


@pytest.mark.parametrize(
    "pod",
    [
        {},
        {"status": {"phase": "Pending"}},
        waiting("ContainerCreating"),
        waiting("PodInitializing"),
        {"status": {"containerStatuses": [{"state": {"running": {}}}]}},
        {"status": {"conditions": [{"type": "PodScheduled", "status": "True"}]}},
    ],
    ids=str,
)
def test_a_pod_that_is_being_started_is_not_ill_and_the_next_one_is_asked(pod: dict[str, Any]) -> None:
    assert diagnosis.of_waiting([pod]) is None
    assert diagnosis.of_waiting([pod, unscheduled(NO_GPU)]) == diagnosis.of_waiting([unscheduled(NO_GPU)])


@pytest.mark.parametrize(
    ("message", "remedy"),
    [
        (
            'pods "sf-a-0-x" is forbidden: exceeded quota: compute, requested: requests.memory=8Gi, used: '
            "requests.memory=0, limited: requests.memory=4Gi",
            "ResourceQuota",
        ),
        (
            'pods "sf-a-0-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true',
            "Pod Security Standard",
        ),
        (
            'pods "sf-a-0-" is forbidden: error looking up service account art/painter: serviceaccount "painter" not '
            "found",
            "STYLEFLEET_WORKER_SERVICE_ACCOUNT",
        ),
        ('pods "sf-a-0-" is forbidden: no PriorityClass with name gold was found', "priorityClassName"),
        ('pods "x" is forbidden: pod rejected: RuntimeClass "nvidia" not found', "runtimeClassName"),
        ('pods "x" is forbidden: maximum memory usage per Container is 4Gi, but limit is 8Gi', "LimitRange"),
        ('admission webhook "validate.kyverno.svc" denied the request: label team is missing', "A policy"),
        ("something new", "refuses the workers' pods as they are"),
    ],
)
def test_a_pod_that_cannot_be_made_is_explained_by_the_jobs_event(message: str, remedy: str) -> None:
    seen = diagnosis.of_events([warning("FailedCreate", f"Error creating: {message}")])
    assert seen is not None
    assert (seen.reason, seen.found) == ("FailedCreate", f"Error creating: {message}")
    assert remedy in seen.remedy


def test_the_newest_warning_counts_and_what_is_older_than_the_newest_pod_is_history() -> None:
    old = warning("FailedCreate", "exceeded quota", "2026-03-01T12:00:00Z")
    new = warning("FailedMount", "no claim", "2026-03-01T12:05:00Z")
    usual = {"type": "Normal", "reason": "SuccessfulCreate", "metadata": {}, "lastTimestamp": "2026-03-01T12:09:00Z"}
    seen = diagnosis.of_events([new, old, usual])
    assert seen is not None
    assert seen.reason == "FailedMount"
    assert diagnosis.of_events([old, new, usual], since="2026-03-01T12:06:00Z") is None
    assert diagnosis.of_events([]) is None


@pytest.mark.parametrize(
    "times",
    [
        {"lastTimestamp": None, "eventTime": "2026-03-01T12:00:00.123456Z"},
        {"lastTimestamp": None, "eventTime": None, "metadata": {"creationTimestamp": "2026-03-01T12:00:00Z"}},
        {
            "lastTimestamp": None,
            "eventTime": "2026-03-01T11:00:00.1Z",
            "series": {"lastObservedTime": "2026-03-01T12:00:00.5Z"},
        },
    ],
    ids=str,
)
def test_an_events_time_is_read_in_every_form_that_the_api_has(times: dict[str, Any]) -> None:
    event = warning("FailedCreate") | times
    assert diagnosis.of_events([event], since="2026-03-01T12:00:00Z") is not None
    assert diagnosis.of_events([event], since="2026-03-01T12:00:01Z") is None


LOG = "\n".join(
    [
        'd": "shortened by the node"}',
        json.dumps({"manifest": "spring", "event": "shard_started", "level": "info"}),
        json.dumps({"error": "s3://shop: no such bucket", "retry": False, "event": "worker_failed"}),
        "E0000 some words of a library",
    ]
)


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (
            ended(42, LOG),
            Diagnosis(
                reason="WorkerRefused",
                found="s3://shop: no such bucket",
                remedy="Mend that and submit again; trying again would not",
            ),
        ),
        (
            ended(5, LOG),
            Diagnosis(reason="WorkerFailed", found="s3://shop: no such bucket (exit code 5)", remedy=""),
        ),
        (
            ended(1, "Traceback (most recent call last):\nValueError: 7\n"),
            Diagnosis(reason="WorkerFailed", found="ValueError: 7 (exit code 1)", remedy=""),
        ),
        (ended(1), Diagnosis(reason="WorkerFailed", found="it left no word (exit code 1)", remedy="")),
        (
            ended(137, reason="OOMKilled"),
            Diagnosis(
                reason="OOMKilled",
                found="killed for its memory (exit code 137)",
                remedy="The worker needs more memory than STYLEFLEET_WORKER_MEMORY: raise it",
            ),
        ),
        (
            {
                "metadata": {},
                "status": {"phase": "Failed", "reason": "Evicted", "message": "Usage of EmptyDir exceeds the limit."},
            },
            Diagnosis(
                reason="Evicted",
                found="Usage of EmptyDir exceeds the limit.",
                remedy="The node ran short, or the pod wrote more than STYLEFLEET_WORKER_SCRATCH",
            ),
        ),
    ],
)
def test_a_pod_that_failed_says_the_last_words_of_its_worker(pod: dict[str, Any], expected: Diagnosis) -> None:
    assert diagnosis.of_ended([pod]) == expected


def test_of_several_failed_pods_the_newest_speaks_and_those_that_did_well_do_not() -> None:
    pods = [
        ended(42, "first", created="2026-03-01T12:00:00Z"),
        ended(42, "second", created="2026-03-01T12:01:00Z"),
        {"metadata": {"creationTimestamp": "2026-03-01T12:02:00Z"}, "status": {"phase": "Succeeded"}},
    ]
    seen = diagnosis.of_ended(pods)
    assert seen is not None
    assert seen.found == "second"
    assert diagnosis.of_ended(pods[2:]) is None


def test_a_worker_that_says_a_great_deal_is_shortened() -> None:
    assert len(diagnosis.last_words("x" * 10_000)) < 1000


def test_words_and_remedy_read_as_two_sentences() -> None:
    seen = Diagnosis(reason="Unschedulable", found="0/1 nodes are available.", remedy="Add a node")
    assert str(seen) == "Unschedulable: 0/1 nodes are available. Add a node"
    assert str(Diagnosis(reason="Evicted", found="", remedy="")) == "Evicted"


def test_a_queue_that_has_not_admitted_the_job_is_named() -> None:
    assert "the queue gpu-batch has not admitted the Job" in str(
        diagnosis.of_suspended("gpu-batch", evicted=False, said="")
    )
    assert "suspended" in str(diagnosis.of_suspended(None, evicted=False, said=""))
