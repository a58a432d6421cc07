"""A service that is taken out of its cluster leaves no Job behind."""

from __future__ import annotations

import pytest

from stylefleet.errors import ClusterUnavailable
from stylefleet.jobs import JobView, job_for
from stylefleet.retire import retire
from stylefleet.store_memory import MemoryStore
from tests.builders import TEMPLATE, make_plan
from tests.fake_cluster import FakeCluster

MANY_SECONDS = 3600.0


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylefleet.retire.PAUSE_SECONDS", 0.0)


@pytest.fixture
def cluster() -> FakeCluster:
    cluster = FakeCluster(MemoryStore("service"), "service")
    for name in ("spring", "summer"):
        cluster.create_job(job_for(make_plan(name=name), TEMPLATE))
    return cluster


def test_all_jobs_of_the_service_are_deleted(cluster: FakeCluster) -> None:
    assert retire(cluster, "service", namespaces=("art",), seconds=MANY_SECONDS) == 2
    assert cluster.jobs == {}


def test_jobs_of_another_service_in_the_namespace_stay(cluster: FakeCluster) -> None:
    assert retire(cluster, "another", namespaces=("art",), seconds=MANY_SECONDS) == 0
    assert len(cluster.jobs) == 2


def test_a_job_that_a_controller_makes_in_the_last_moment_is_deleted_too(cluster: FakeCluster) -> None:
    late = [job_for(make_plan(name="autumn"), TEMPLATE)]

    def make(method: str, _subject: object) -> None:
        if method == "delete_job" and late:
            cluster.create_job(late.pop())

    cluster.after = make
    assert retire(cluster, "service", namespaces=("art",), seconds=MANY_SECONDS) == 3
    assert cluster.jobs == {}


def test_jobs_that_do_not_go_are_named(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(_job: JobView) -> None:
        """Its node does not answer."""

    monkeypatch.setattr(cluster, "delete_job", stuck)
    with pytest.raises(ClusterUnavailable, match=r"after 0 s these Jobs are still there: sf-spring-.*, sf-summer-"):
        retire(cluster, "service", namespaces=("art",), seconds=0)
