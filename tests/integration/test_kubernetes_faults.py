"""KubernetesCluster over real HTTP, with the faults that networks, proxies and API servers have: at every request."""

from __future__ import annotations

import contextlib
import copy
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from stylefleet import diagnosis, naming
from stylefleet.cluster_kubernetes import LISTINGS, KubernetesCluster
from stylefleet.errors import ClusterUnavailable, PermanentError, PreconditionFailed
from stylefleet.jobs import job_for, view
from stylefleet.kubernetes_api import ATTEMPTS, WAIT_SECONDS_MAX, Expired, KubernetesApi, connect
from tests import kubernetes_answers
from tests.builders import TEMPLATE, make_plan
from tests.fake_kubernetes import NAMESPACE, FakeKubernetes, Fault, fake_kubernetes

JOB = job_for(make_plan(), TEMPLATE)
NAME: str = JOB["metadata"]["name"]
VIEW = view({**JOB, "metadata": {**JOB["metadata"], "uid": "uid-1"}})
"""Of the first Job that an API server has."""


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds of the pauses between attempts, none of which is made."""
    seconds: list[float] = []
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


@pytest.fixture
def api() -> Iterator[FakeKubernetes]:
    with fake_kubernetes() as server:
        yield server


@pytest.fixture
def cluster(api: FakeKubernetes, tmp_path: Path) -> KubernetesCluster:
    return cluster_of(api, tmp_path)


def cluster_of(api: FakeKubernetes, folder: Path) -> KubernetesCluster:
    """With a short time limit, by the name `one`."""
    connection = connect(api.kubeconfig(folder, "one"))
    cluster = KubernetesCluster(connection, NAMESPACE)
    cluster._api = KubernetesApi(connection, timeout_seconds=(5.0, 0.3))
    return cluster


def fault(**how: Any) -> Fault:
    return Fault(**{"who": "one", "method": "", "kind": "", **how})


PASSING: dict[str, dict[str, Any]] = {
    "429": {"status": 429},
    "429 that says when to come again": {"status": 429, "headers": {"Retry-After": "7"}},
    "500": {"status": 500},
    "503": {"status": 503},
    "504": {"status": 504},
    "an answer that is lost": {"lose_answer": True},
    "an answer that breaks off": {"truncated": True},
    "a proxy's page": {"page": True},
    "a connection that is half open": {"silent_until": threading.Event()},
}
"""Faults that pass, by what happens."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One call of the controller, and what it leaves behind."""

    call: Callable[[KubernetesCluster], object]
    gives: object = None
    leaves: tuple[str, ...] = (NAME,)
    """Jobs that are there afterwards."""
    held: bool = True
    """Whether our finalizer is on it."""
    job_before: bool = True


OPERATIONS = {
    "create": Operation(call=lambda c: c.create_job(copy.deepcopy(JOB)), job_before=False),
    "list": Operation(call=lambda c: [j.name for j in c.list_jobs()], gives=[NAME]),
    "release": Operation(call=lambda c: c.release_job(VIEW), held=False),
    "resize": Operation(call=lambda c: c.resize_job(VIEW, 1)),
    "delete": Operation(call=lambda c: c.delete_job(VIEW), leaves=()),
    "ask why nobody is at work": Operation(call=lambda c: c.waiting_because(VIEW), gives=str(diagnosis.NO_POD)),
    "ask why it failed": Operation(call=lambda c: c.failed_because(VIEW), gives=""),
}
QUEUED = replace(VIEW, queue="gpu", suspended=True)
ASKS_A_QUEUE = {
    "ask why it is suspended": Operation(
        call=lambda c: c.suspended_because(QUEUED, ran=False),
        gives=str(diagnosis.of_suspended("gpu", evicted=False, said="")),
    )
}
"""Which may refuse to answer: then others are asked."""
FAULTY = OPERATIONS | ASKS_A_QUEUE


def prepared(api: FakeKubernetes, operation: Operation) -> None:
    api.jobs.clear()
    api.version = 0
    api.requests.clear()
    api.faults.clear()
    if operation.job_before:
        api.jobs[NAME] = api.stored({"status": {}, **copy.deepcopy(JOB)})


def requests_of(operation: Operation, api: FakeKubernetes, cluster: KubernetesCluster) -> int:
    """How many requests it takes where nothing is wrong."""
    prepared(api, operation)
    operation.call(cluster)
    return len(api.requests)


@pytest.mark.parametrize("what", PASSING)
@pytest.mark.parametrize("operation", FAULTY.values(), ids=FAULTY.keys())
def test_a_fault_that_passes_costs_nothing_at_whatever_request_it_comes(
    api: FakeKubernetes, cluster: KubernetesCluster, operation: Operation, what: str
) -> None:
    points = requests_of(operation, api, cluster)
    assert points >= 1
    for number in range(points):
        prepared(api, operation)
        struck = api.strike(fault(spares=number, **PASSING[what]))

        given = operation.call(cluster)

        assert struck.struck.is_set()
        assert given == operation.gives
        assert tuple(api.jobs) == operation.leaves
        for job in api.jobs.values():
            assert (naming.FINALIZER in job["metadata"]["finalizers"]) is operation.held
    print(f"{points} requests")


@pytest.mark.parametrize("what", PASSING)
@pytest.mark.parametrize("operation", FAULTY.values(), ids=FAULTY.keys())
def test_a_fault_that_stays_is_given_up_after_some_attempts_and_told_as_weather(
    api: FakeKubernetes, cluster: KubernetesCluster, operation: Operation, what: str
) -> None:
    prepared(api, operation)
    for _ in range(ATTEMPTS):
        api.strike(fault(**PASSING[what]))
    with pytest.raises(ClusterUnavailable, match=r"^Kubernetes (did not answer|answered [45])"):
        operation.call(cluster)
    assert len(api.requests) == ATTEMPTS


@pytest.mark.parametrize("status", [400, 401, 403, 405, 422])
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS.keys())
def test_a_refusal_is_not_asked_for_again(
    api: FakeKubernetes, cluster: KubernetesCluster, operation: Operation, status: int
) -> None:
    prepared(api, operation)
    api.strike(fault(status=status))
    with pytest.raises(PermanentError, match=f"Kubernetes answered {status}"):
        operation.call(cluster)
    assert len(api.requests) == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_says_when_to_come_again_is_left_alone_until_then(
    api: FakeKubernetes, cluster: KubernetesCluster, waits: list[float], status: int
) -> None:
    api.strike(fault(status=status, headers={"Retry-After": "7"}))
    cluster.list_jobs()
    (waited,) = waits
    assert waited == 7


def test_a_server_that_wants_an_hour_is_asked_sooner(
    api: FakeKubernetes, cluster: KubernetesCluster, waits: list[float]
) -> None:
    api.strike(fault(status=429, headers={"Retry-After": "3600"}))
    cluster.list_jobs()
    assert waits == [WAIT_SECONDS_MAX]


def test_a_date_to_come_again_is_taken_for_none(
    api: FakeKubernetes, cluster: KubernetesCluster, waits: list[float]
) -> None:
    api.strike(fault(status=503, headers={"Retry-After": "Fri, 31 Dec 2027 23:59:59 GMT"}))
    cluster.list_jobs()
    assert len(waits) == 1


# --- listings ---------------------------------------------------------------------------------------------------


def fill(api: FakeKubernetes, jobs: int) -> list[str]:
    names = [f"sf-{number}" for number in range(jobs)]
    for name in names:
        api.jobs[name] = api.stored({"status": {}, **JOB, "metadata": {**JOB["metadata"], "name": name}})
    api.page_max = 2
    return names


def test_a_listing_that_is_forgotten_half_way_begins_anew_and_names_every_job_once(
    api: FakeKubernetes, cluster: KubernetesCluster
) -> None:
    names = fill(api, 5)
    for page in ("continue=2", "continue=4"):
        api.strike(fault(status=410, query=page))
    assert [job.name for job in cluster.list_jobs()] == names
    assert [r.query.rpartition("continue=")[2] if "continue" in r.query else "" for r in api.requests] == [
        *("", "2"),
        *("", "2", "4"),
        *("", "2", "4"),
    ]


def test_a_listing_that_is_always_forgotten_is_given_up(api: FakeKubernetes, cluster: KubernetesCluster) -> None:
    fill(api, 3)
    for _ in range(LISTINGS):
        api.strike(fault(status=410, query="continue=2"))
    with pytest.raises(Expired):
        cluster.list_jobs()


def test_jobs_of_the_pages_before_are_not_taken_for_all_where_a_page_does_not_come(
    api: FakeKubernetes, cluster: KubernetesCluster
) -> None:
    fill(api, 5)
    for _ in range(ATTEMPTS):
        api.strike(fault(status=500, query="continue=4"))
    with pytest.raises(ClusterUnavailable):
        cluster.list_jobs()


# --- conflicts --------------------------------------------------------------------------------------------------


def test_a_name_that_is_taken_by_the_same_run_is_success(api: FakeKubernetes, cluster: KubernetesCluster) -> None:
    cluster.create_job(copy.deepcopy(JOB))
    cluster.create_job(copy.deepcopy(JOB))
    assert api.jobs[NAME]["metadata"]["resourceVersion"] == "1", "it was made once"


@pytest.mark.parametrize("label", [naming.LABEL_RUN, naming.LABEL_BUCKET])
def test_a_name_that_is_taken_by_another_run_or_bucket_is_refused(
    api: FakeKubernetes, cluster: KubernetesCluster, label: str
) -> None:
    cluster.create_job(copy.deepcopy(JOB))
    api.jobs[NAME]["metadata"]["labels"][label] = "another"
    with pytest.raises(PreconditionFailed, match="belongs to another run"):
        cluster.create_job(copy.deepcopy(JOB))


def test_a_name_whose_job_vanishes_before_it_is_looked_at_is_weather(
    api: FakeKubernetes, cluster: KubernetesCluster
) -> None:
    api.strike(fault(method="POST", status=409))
    with pytest.raises(ClusterUnavailable, match="was there and is gone"):
        cluster.create_job(copy.deepcopy(JOB))
    cluster.create_job(copy.deepcopy(JOB))
    assert tuple(api.jobs) == (NAME,)


def test_a_job_that_others_change_while_it_is_let_go_is_looked_at_again(
    api: FakeKubernetes, cluster: KubernetesCluster
) -> None:
    prepared(api, OPERATIONS["release"])
    api.strike(fault(method="PATCH", status=422))
    cluster.release_job(VIEW)
    assert api.jobs[NAME]["metadata"]["finalizers"] == []


def test_a_job_that_others_change_all_the_time_is_told(api: FakeKubernetes, cluster: KubernetesCluster) -> None:
    prepared(api, OPERATIONS["release"])
    for _ in range(10):
        api.strike(fault(method="PATCH", status=422))
    with pytest.raises(PermanentError, match="answered 422"):
        cluster.release_job(VIEW)


# --- nobody there -----------------------------------------------------------------------------------------------


def test_an_api_server_that_is_back_before_the_attempts_run_out_was_never_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    cluster = cluster_of(FakeKubernetes(url=f"http://127.0.0.1:{port}"), tmp_path)
    with pytest.raises(ClusterUnavailable, match=r"did not answer.*refused"):
        cluster.list_jobs()
    with contextlib.ExitStack() as stack:
        pauses = []

        def start(_seconds: float) -> None:
            pauses.append(stack.enter_context(fake_kubernetes(port)))

        monkeypatch.setattr(time, "sleep", start)
        cluster.create_job(copy.deepcopy(JOB))
        (back,) = pauses
        assert tuple(back.jobs) == (NAME,)


def test_the_double_answers_as_a_real_api_server_does(cluster: KubernetesCluster) -> None:
    kubernetes_answers.check(cluster, copy.deepcopy(JOB))
