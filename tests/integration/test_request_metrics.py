"""Requests are counted where they are made, by how they end: each attempt for itself, and the time of all together."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from stylefleet import kubernetes_api
from stylefleet.cluster_kubernetes import KubernetesCluster
from stylefleet.errors import StylefleetError
from stylefleet.kubernetes_api import connect
from stylefleet.naming import Ref
from stylefleet.request_metrics import KubernetesMetrics, S3Metrics
from stylefleet.store_s3 import S3Store, make_client
from stylefleet.traffic import KUBERNETES_RESULTS, KUBERNETES_VERBS, S3_OPERATIONS, S3_RESULTS
from tests.builders import make_job_view
from tests.fake_kubernetes import NAMESPACE, FakeKubernetes, Fault, fake_kubernetes
from tests.integration.fault_server import Answer, FaultServer, Request, fault, page
from tests.integration.test_store_s3_faults import FOUND, STORED, STORM, in_order

REF = Ref("shop", "a.jpg")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE7")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")


class Counted:
    """What a registry has of requests, without what is 0."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    def of(self, name: str) -> dict[tuple[str, ...], float]:
        return {
            tuple(sample.labels.values()): sample.value
            for family in self.registry.collect()
            for sample in family.samples
            if sample.name == name and sample.value
        }


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def server() -> Iterator[FaultServer]:
    server = FaultServer()
    yield server
    server.close()


@pytest.fixture
def store(server: FaultServer, counted: Counted) -> S3Store:
    return S3Store(make_client(server.url, None), traffic=S3Metrics(counted.registry))


def test_all_that_may_be_counted_is_there_from_the_start_with_0(counted: Counted) -> None:
    S3Metrics(counted.registry)
    KubernetesMetrics(counted.registry)
    samples = [s for family in counted.registry.collect() for s in family.samples if s.name.endswith("requests_total")]
    assert len(samples) == len(S3_OPERATIONS) * len(S3_RESULTS) + len(KUBERNETES_VERBS) * len(KUBERNETES_RESULTS)
    assert {sample.value for sample in samples} == {0.0}


def test_each_operation_of_a_store_is_counted_by_its_name(
    server: FaultServer, store: S3Store, counted: Counted
) -> None:

    def respond(request: Request) -> Answer:
        if "list-type=2" in request.path:
            return page(["a"])
        return FOUND if request.command in ("GET", "HEAD") else STORED

    server.respond = respond
    store.get(REF)
    store.head(REF)
    store.put(REF, b"x")
    store.delete(REF)
    list(store.list(Ref("shop", "")))
    assert counted.of("stylefleet_s3_requests_total") == {(operation, "ok"): 1.0 for operation in S3_OPERATIONS}
    times = counted.of("stylefleet_s3_request_duration_seconds_count")
    assert times == {(operation,): 1.0 for operation in S3_OPERATIONS}


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (fault(404, "NoSuchKey"), "not_found"),
        (fault(412, "PreconditionFailed"), "precondition_failed"),
        (fault(403, "AccessDenied"), "denied"),
        (fault(400, "ExpiredToken"), "denied"),
        (Answer(status=401), "denied"),
        (STORM, "throttled"),
        (fault(429, "TooManyRequests"), "throttled"),
        (Answer(status=429), "throttled"),
        (fault(500, "InternalError"), "unavailable"),
        (Answer(status=504, body=b"<html>gateway</html>"), "unavailable"),
        (fault(501, "NotImplemented"), "unavailable"),
        (Answer(dropped=True), "unavailable"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{value.status}{'-dropped' if value.dropped else ''}",
)
def test_an_answer_of_the_store_has_one_word(
    server: FaultServer, counted: Counted, answer: Answer, result: str
) -> None:
    client = make_client(server.url, None, retries=0)
    store = S3Store(client, attempts=1, traffic=S3Metrics(counted.registry))
    server.respond = lambda _: answer
    with pytest.raises(StylefleetError):
        store.get(REF)
    assert counted.of("stylefleet_s3_requests_total") == {("GetObject", result): len(server.requests)}


def test_attempts_that_botocore_makes_by_itself_are_counted_each_and_their_time_together(
    server: FaultServer, store: S3Store, counted: Counted
) -> None:
    server.respond = in_order(STORM, STORM, fault(500, "InternalError"), STORED)
    store.put(REF, b"x")
    assert counted.of("stylefleet_s3_requests_total") == {
        ("PutObject", "throttled"): 2.0,
        ("PutObject", "unavailable"): 1.0,
        ("PutObject", "ok"): 1.0,
    }
    assert counted.of("stylefleet_s3_request_duration_seconds_count") == {("PutObject",): 1.0}


@pytest.fixture
def api() -> Iterator[FakeKubernetes]:
    with fake_kubernetes() as server:
        yield server


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (401, "denied"),
        (403, "denied"),
        (404, "not_found"),
        (409, "conflict"),
        (410, "not_found"),
        (422, "invalid"),
        (429, "throttled"),
        (503, "unavailable"),
    ],
)
def test_an_answer_of_the_api_server_has_one_word(
    api: FakeKubernetes, counted: Counted, tmp_path: Path, status: int, result: str
) -> None:
    connection = connect(api.kubeconfig(tmp_path, "one"), traffic=KubernetesMetrics(counted.registry))
    api.faults.append(Fault(who="one", method="GET", kind="", status=status))
    with pytest.raises(StylefleetError):
        kubernetes_api.KubernetesApi(connection).ask(
            "GET", "/apis/batch/v1/namespaces/{namespace}/jobs", names={"namespace": NAMESPACE}
        )
    assert counted.of("stylefleet_kubernetes_requests_total") == {("GET", result): 1.0}
    assert counted.of("stylefleet_kubernetes_request_duration_seconds_count") == {("GET",): 1.0}


def test_requests_of_a_cluster_are_counted_by_verb_and_lost_answers_as_unavailable(
    api: FakeKubernetes, counted: Counted, tmp_path: Path
) -> None:
    connection = connect(api.kubeconfig(tmp_path, "one"), traffic=KubernetesMetrics(counted.registry))
    cluster = KubernetesCluster(connection, NAMESPACE)
    api.faults.append(Fault(who="one", method="GET", kind="", lose_answer=True))
    assert cluster.list_jobs() == []
    cluster.delete_job(make_job_view(namespace=NAMESPACE))
    found = counted.of("stylefleet_kubernetes_requests_total")
    assert found["GET", "unavailable"] == 1.0
    assert found["GET", "ok"] >= 1.0
    assert sum(found.values()) == len(api.requests)


def test_what_keeps_a_request_from_going_out_is_no_request(
    api: FakeKubernetes, counted: Counted, tmp_path: Path
) -> None:
    class Refused(BaseException):
        pass

    def refuse() -> None:
        raise Refused

    traffic = KubernetesMetrics(counted.registry)
    connection = connect(api.kubeconfig(tmp_path, "one"), before_send=refuse, traffic=traffic)
    with pytest.raises(Refused):
        KubernetesCluster(connection, NAMESPACE).list_jobs()
    assert counted.of("stylefleet_kubernetes_requests_total") == {}
