"""Whom KubernetesCluster asks why nobody is at work, and whom it believes: with an API server that a test makes up."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from kubernetes import client

from stylefleet.cluster_kubernetes import KubernetesCluster
from stylefleet.diagnosis import EVENTS_UNREADABLE, NO_POD, STARTING
from stylefleet.jobs import Json
from stylefleet.rights import rights
from tests.builders import make_job_view
from tests.integration.fault_server import Answer, FaultServer, Request
from tests.unit.test_diagnosis import ended, unscheduled, waiting, warning

JOB = make_job_view(uid="uid-of-the-job", active=0, ready=0)


def pending(pod: Json) -> Json:
    return {"metadata": {"uid": "uid-of-the-pod"}, **pod}


class ApiServer:
    """Pods by phase, events by the uid of what they are about."""

    def __init__(self) -> None:
        self.pods: dict[str, list[Json]] = {}
        self.events: dict[str, list[Json]] = {}
        self.events_allowed = True
        self.granted = True
        self.asked: list[dict[str, str]] = []

    def __call__(self, request: Request) -> Answer:
        url = urllib.parse.urlsplit(request.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        self.asked.append(query)
        if url.path.endswith("/selfsubjectaccessreviews"):
            return _json({"status": {"allowed": self.granted}})
        fields = dict(part.split("=") for part in query["fieldSelector"].split(","))
        if url.path.endswith("/pods"):
            return _json({"items": self.pods.get(fields["status.phase"], [])})
        if not self.events_allowed:
            return Answer(status=403, body=b'{"message": "events is forbidden"}')
        assert fields["type"] == "Warning"
        return _json({"items": self.events.get(fields["involvedObject.uid"], [])})


def _json(document: Any) -> Answer:
    return Answer(body=json.dumps(document).encode(), headers={"Content-Type": "application/json"})


@pytest.fixture
def api() -> ApiServer:
    return ApiServer()


@pytest.fixture
def cluster(api: ApiServer) -> Iterator[KubernetesCluster]:
    server = FaultServer()
    server.respond = api
    configuration = client.Configuration(host=server.url)
    yield KubernetesCluster(client.ApiClient(configuration), "art")
    server.close()


def test_a_pod_that_says_why_it_waits_is_believed_and_nobody_else_asked(
    cluster: KubernetesCluster, api: ApiServer
) -> None:
    api.pods["Pending"] = [pending(waiting("ImagePullBackOff", "registry.example/worker:7: not found"))]
    assert cluster.waiting_because(JOB).startswith(
        "ImagePullBackOff: registry.example/worker:7: not found. The registry"
    )
    assert len(api.asked) == 1


def test_a_pod_that_is_being_set_up_is_asked_for_its_events(cluster: KubernetesCluster, api: ApiServer) -> None:
    api.pods["Pending"] = [pending(waiting("ContainerCreating"))]
    assert cluster.waiting_because(JOB) == str(STARTING)
    api.events["uid-of-the-pod"] = [warning("FailedMount", "no such claim")]
    assert cluster.waiting_because(JOB).startswith("FailedMount: no such claim")


def test_a_job_without_pods_is_asked_for_its_own_events(cluster: KubernetesCluster, api: ApiServer) -> None:
    assert cluster.waiting_because(JOB) == str(NO_POD)
    api.events["uid-of-the-job"] = [warning("FailedCreate", "exceeded quota: compute")]
    assert cluster.waiting_because(JOB).startswith("FailedCreate: exceeded quota: compute")


def test_events_that_may_not_be_read_are_told_rather_than_silence(cluster: KubernetesCluster, api: ApiServer) -> None:
    api.events_allowed = False
    assert cluster.waiting_because(JOB) == str(EVENTS_UNREADABLE)
    api.pods["Pending"] = [pending(unscheduled("0/1 nodes are available"))]
    assert cluster.waiting_because(JOB).startswith("Unschedulable"), "what a pod says needs no events"


def test_between_two_attempts_the_last_words_of_the_failed_one_are_told(
    cluster: KubernetesCluster, api: ApiServer
) -> None:
    api.pods["Failed"] = [ended(5, '{"error": "the store did not answer"}', created="2026-03-01T12:05:00Z")]
    api.events["uid-of-the-job"] = [warning("FailedCreate", "exceeded quota", at="2026-03-01T12:00:00Z")]
    assert cluster.waiting_because(JOB) == "WorkerFailed: the store did not answer (exit code 5)"
    api.events["uid-of-the-job"] = [warning("FailedCreate", "exceeded quota", at="2026-03-01T12:06:00Z")]
    assert cluster.waiting_because(JOB).startswith("FailedCreate: exceeded quota"), "that is newer"


def test_a_job_that_failed_is_asked_for_the_last_words_of_its_workers(
    cluster: KubernetesCluster, api: ApiServer
) -> None:
    assert cluster.failed_because(JOB) == ""
    api.pods["Failed"] = [ended(42, '{"error": "s3://gone: no such bucket"}')]
    assert cluster.failed_because(JOB).startswith("WorkerRefused: s3://gone: no such bucket")


@pytest.mark.parametrize("granted", [True, False])
def test_a_right_is_asked_of_the_api_server_itself(cluster: KubernetesCluster, api: ApiServer, granted: bool) -> None:
    api.granted = granted
    assert cluster.allows(rights(None)[0]) is granted
