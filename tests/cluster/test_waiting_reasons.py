"""A run whose pods do not get to work says why and what to do; one whose workers gave up, what these said last."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from stylefleet.naming import Ref
from tests.cluster.conftest import Kubernetes
from tests.fleet import Fleet, eventually, picture

pytestmark = pytest.mark.timeout(2400)  # the first test also builds the lab and the image

Waiting = Callable[..., str]


@pytest.fixture
def waiting(fleet: Fleet) -> Iterator[Waiting]:
    """Why a run of a fleet with `changes` waits."""
    name = f"waits-{uuid.uuid4().hex[:6]}"

    def reason(words: str, **changes: str) -> str:
        fleet.stop()
        fleet.environment = {**fleet.environment, **changes}
        fleet.start()
        fleet.put("catalog/0.jpg", picture())
        fleet.submit(name, run={"parallelism": 1})

        def told() -> str:
            because: str = fleet.status(name).get("waitingBecause", "")
            return because if words in because else ""

        submitted = time.monotonic()
        found: str = eventually(told, f"{words!r} in the status")
        print(f"{time.monotonic() - submitted:.0f} s until the status said: {found}")
        return found

    yield reason
    fleet.store.delete(Ref(fleet.bucket, f"jobs/{name}.yaml"))
    fleet.wait(name, "Cancelled")


def test_an_image_that_cannot_be_pulled(waiting: Waiting) -> None:
    reason = waiting("localhost/no-such-image:7", STYLEFLEET_WORKER_IMAGE="localhost/no-such-image:7")
    assert reason.startswith(("ErrImagePull", "ImagePullBackOff"))
    assert "STYLEFLEET_WORKER_IMAGE" in reason


def test_a_name_that_is_no_image(waiting: Waiting) -> None:
    reason = waiting("InvalidImageName", STYLEFLEET_WORKER_IMAGE="localhost/Not An Image")
    assert "Correct STYLEFLEET_WORKER_IMAGE" in reason


def test_a_gpu_that_no_node_has(waiting: Waiting) -> None:
    reason = waiting("Insufficient example.com/no-such-gpu", STYLEFLEET_GPU_RESOURCE="example.com/no-such-gpu")
    assert reason.startswith("Unschedulable")
    assert "Compare STYLEFLEET_GPU_RESOURCE" in reason


def test_more_memory_than_any_node_has(waiting: Waiting) -> None:
    assert "STYLEFLEET_WORKER_MEMORY" in waiting("Insufficient memory", STYLEFLEET_WORKER_MEMORY="90Ti")


def test_a_secret_that_is_not_there(waiting: Waiting) -> None:
    reason = waiting('secret "gone" not found', STYLEFLEET_WORKER_SECRET="gone")
    assert reason.startswith("CreateContainerConfigError")
    assert "STYLEFLEET_WORKER_SECRET" in reason


def test_pods_that_cannot_be_made_for_lack_of_their_service_account(waiting: Waiting) -> None:
    reason = waiting('serviceaccount "gone" not found', STYLEFLEET_WORKER_SERVICE_ACCOUNT="gone")
    assert reason.startswith("FailedCreate")
    assert "STYLEFLEET_WORKER_SERVICE_ACCOUNT" in reason


def test_pods_that_cannot_be_made_for_the_namespaces_quota(waiting: Waiting, kubernetes: Kubernetes) -> None:
    namespace = f"quota-{uuid.uuid4().hex[:6]}"
    kubernetes.kubectl("create", "namespace", namespace)
    kubernetes.kubectl("create", "quota", "none", f"--namespace={namespace}", "--hard=pods=0")
    reason = waiting("exceeded quota: none", STYLEFLEET_NAMESPACE=namespace)
    assert reason.startswith("FailedCreate")
    assert "ResourceQuota" in reason


def test_the_last_words_of_workers_with_wrong_credentials_are_in_status_and_report(
    fleet: Fleet, kubernetes: Kubernetes, namespace: str
) -> None:
    kubernetes.kubectl(
        *("create", "secret", "generic", "wrong-s3", f"--namespace={namespace}"),
        *("--from-literal=AWS_ACCESS_KEY_ID=nobody", "--from-literal=AWS_SECRET_ACCESS_KEY=hush"),
    )
    fleet.stop()
    fleet.environment = {**fleet.environment, "STYLEFLEET_WORKER_SECRET": "wrong-s3"}
    fleet.start()
    fleet.put("catalog/0.jpg", picture())
    fleet.submit("refused")

    status = fleet.wait("refused", "Failed")

    assert "WorkerRefused" in status["message"]
    assert "the store refuses these credentials (InvalidAccessKeyId)" in status["message"]
    assert fleet.report("refused")["message"] == status["message"]
