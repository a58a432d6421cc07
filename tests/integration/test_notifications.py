"""Notifications from a real queue server, to a listener and to a whole controller."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stylefleet.errors import QueueUnavailable
from stylefleet.local_s3 import LocalS3
from stylefleet.naming import Ref
from stylefleet.notifications import SqsQueue, listening
from tests.bucket_messages import TEST_EVENT, by_eventbridge, by_sns, s3_event
from tests.fake_kubernetes import NAMESPACE, FakeKubernetes, fake_kubernetes
from tests.fleet import Fleet, eventually, picture
from tests.sqs import QueueServer, queue_server

HOUR = "3600"


@pytest.fixture(scope="module")
def queues() -> Iterator[QueueServer]:
    with queue_server() as server:
        yield server


@pytest.fixture
def url(queues: QueueServer) -> str:
    return queues.create(f"inbox-{uuid.uuid4().hex[:8]}")


@pytest.mark.usefixtures("s3_server")  # for its credentials, which any queue server takes here
def test_each_form_of_message_wakes_and_every_message_is_deleted(queues: QueueServer, url: str) -> None:
    for message in (s3_event(), by_sns(s3_event()), by_eventbridge()):
        wake = threading.Event()
        queues.send(url, TEST_EVENT, "no JSON", message)
        with listening(SqsQueue(url, None), "service", wake=wake):
            assert wake.wait(60)
            eventually(lambda: queues.left(url) == 0, "the queue is empty")


@pytest.mark.usefixtures("s3_server")
def test_a_hundred_messages_at_once_are_all_taken(queues: QueueServer, url: str) -> None:
    queues.send(url, *[s3_event(f"jobs/{index}.yaml") for index in range(100)])
    with listening(SqsQueue(url, None), "service", wake=threading.Event()):
        eventually(lambda: queues.left(url) == 0, "the queue is empty")


@pytest.mark.usefixtures("s3_server")
def test_a_queue_that_is_not_there_and_a_server_that_is_not_there_are_told_with_the_url(queues: QueueServer) -> None:
    for gone in (f"{queues.endpoint_url}/123456789012/gone", "http://127.0.0.1:9/123456789012/inbox"):
        with pytest.raises(QueueUnavailable, match=f"^{gone}: no message can be received"):
            SqsQueue(gone, None).receive()


# --- a whole controller ---------------------------------------------------------------------------------------------


@pytest.fixture
def api() -> Iterator[FakeKubernetes]:
    with fake_kubernetes() as api:
        yield api


@pytest.fixture
def fleet(s3_server: LocalS3, api: FakeKubernetes, tmp_path: Path) -> Iterator[Fleet]:
    bucket = f"notified-{uuid.uuid4().hex[:8]}"
    s3_server.create_bucket(bucket)
    environment = {"STYLEFLEET_NAMESPACE": NAMESPACE, "KUBECONFIG": str(api.kubeconfig(tmp_path, "one"))}
    fleet = Fleet(s3=s3_server, store=s3_server.store(), bucket=bucket, folder=tmp_path, environment=environment)
    fleet.put("styles/style.jpg", picture(96, 64, seed=99))
    fleet.put("catalog/0.jpg", picture())
    yield fleet
    fleet.stop()


def test_a_manifest_gets_its_job_without_waiting_for_the_interval(
    fleet: Fleet, api: FakeKubernetes, queues: QueueServer, url: str
) -> None:
    fleet.environment = {**fleet.environment, "STYLEFLEET_POLL_SECONDS": HOUR, "STYLEFLEET_NOTIFICATIONS": url}
    fleet.start()
    eventually(lambda: api.of("one", kind="job"), "the first look, which finds nothing")
    fleet.submit("spring")
    queues.send(url, s3_event("jobs/spring.yaml", bucket=fleet.bucket))
    eventually(lambda: api.jobs, "a Job")
    eventually(lambda: queues.left(url) == 0, "the message is deleted")


@pytest.mark.parametrize("queue", ["gone", "silent"])
def test_losing_every_notification_changes_nothing(
    fleet: Fleet, api: FakeKubernetes, queues: QueueServer, url: str, queue: str
) -> None:
    lost = f"{queues.endpoint_url}/123456789012/gone" if queue == "gone" else url
    fleet.environment = {**fleet.environment, "STYLEFLEET_NOTIFICATIONS": lost}
    fleet.start()
    fleet.submit("spring")
    eventually(lambda: api.jobs, "a Job")
    assert fleet.status("spring")["phase"] in ("Pending", "Running")
    if queue == "gone":
        eventually(lambda: '"event": "notifications_away"' in fleet.log(), "the queue is told of")
        assert fleet.log().count("notifications_away") == 1


def test_forged_messages_cost_looks_and_nothing_else(
    fleet: Fleet, api: FakeKubernetes, queues: QueueServer, url: str
) -> None:
    fleet.environment = {**fleet.environment, "STYLEFLEET_POLL_SECONDS": HOUR, "STYLEFLEET_NOTIFICATIONS": url}
    fleet.start()
    eventually(lambda: api.of("one", kind="job"), "the first look")
    looks = len(api.of("one", kind="job"))
    forged = [s3_event("jobs/../../etc.yaml", bucket=fleet.bucket), "[" * 100_000, TEST_EVENT]
    queues.send(url, *forged, *[s3_event(f"jobs/{index}.yaml", bucket=fleet.bucket) for index in range(30)])
    eventually(lambda: queues.left(url) == 0, "the queue is empty")
    eventually(lambda: len(api.of("one", kind="job")) > looks, "another look")
    assert api.jobs == {}
    written = ("status/", "runs/")
    assert [o for o in fleet.store.list(Ref(fleet.bucket, "")) if o.ref.key.startswith(written)] == []
    assert fleet.controller is not None
    assert fleet.controller.poll() is None
