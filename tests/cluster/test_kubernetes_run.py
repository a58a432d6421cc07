"""A manifest in a bucket becomes pictures made by pods of a real Kubernetes that ask for a GPU."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from PIL import Image

from stylefleet import naming
from stylefleet.naming import Ref
from tests.cluster.conftest import GPU_RESOURCE, Kubernetes
from tests.fleet import Fleet, eventually, picture

pytestmark = pytest.mark.timeout(2400)  # the first test also builds the lab and the image


def _job_and_pods(kubernetes: Kubernetes, namespace: str, name: str) -> tuple[dict, list[dict]]:
    selector = f"{naming.LABEL_NAME}={name}"
    jobs = kubernetes.get("jobs", f"--namespace={namespace}", f"--selector={selector}")["items"]
    pods = kubernetes.get("pods", f"--namespace={namespace}", f"--selector={selector}")["items"]
    assert len(jobs) == 1
    return jobs[0], pods


def test_pods_that_ask_for_a_gpu_make_every_picture(kubernetes: Kubernetes, namespace: str, fleet: Fleet) -> None:
    for index in range(3):
        fleet.put(f"catalog/{index}.jpg", picture(48, 30 + index, seed=index))
    fleet.submit("pods", run={"parallelism": 2})

    status = fleet.wait("pods", "Succeeded")

    assert status["progress"] == {"pictures": 3, "skipped": 0, "done": 3, "failed": 0, "pending": 0}
    job, pods = _job_and_pods(kubernetes, namespace, "pods")
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == 2, "two workers share three pictures"
    assert {p["spec"]["containers"][0]["resources"]["limits"][GPU_RESOURCE] for p in pods} == {"1"}
    receipts = fleet.receipts("pods")
    assert {r.attempt for r in receipts} <= {p["metadata"]["name"] for p in pods}
    assert Counter(r.outcome for r in receipts) == {"done": 3}
    for one in receipts:
        result = fleet.store.get(naming.parse_uri(one.result))
        assert result.etag == one.result_etag
        assert Image.open(io.BytesIO(result.data)).size == (one.width_px, one.height_px)


def test_the_finished_job_is_let_go(kubernetes: Kubernetes, namespace: str, fleet: Fleet) -> None:
    fleet.put("catalog/0.jpg", picture())
    fleet.submit("released")
    fleet.wait("released", "Succeeded")

    def released() -> bool:
        job, _ = _job_and_pods(kubernetes, namespace, "released")
        return naming.FINALIZER not in job["metadata"].get("finalizers", [])

    eventually(released, "our finalizer is taken off")


def test_a_pod_killed_in_mid_shard_costs_only_the_picture_in_flight(
    kubernetes: Kubernetes, namespace: str, fleet: Fleet
) -> None:
    fleet.put_shapes(6)
    fleet.submit("killed", recipe={"preset": "draft", "size": 96}, run={"parallelism": 1})
    eventually(lambda: fleet.receipts("killed"), "a first receipt")

    _, pods = _job_and_pods(kubernetes, namespace, "killed")
    kubernetes.kubectl(
        *("delete", "pod", pods[0]["metadata"]["name"], f"--namespace={namespace}", "--grace-period=0", "--force")
    )

    fleet.wait("killed", "Succeeded")
    receipts = fleet.receipts("killed")
    assert Counter(r.content for r in receipts) == {f"s3://{fleet.bucket}/catalog/{i}.jpg": 1 for i in range(6)}
    assert len({r.attempt for r in receipts}) == 2
    # The pod that replaced it is another one, and did only what was left.
    done_by_first = [r for r in receipts if r.attempt == pods[0]["metadata"]["name"]]
    assert 1 <= len(done_by_first) < 6


def test_a_picture_that_cannot_be_decoded_is_named_and_the_rest_is_done(fleet: Fleet) -> None:
    fleet.put("catalog/good.jpg", picture(seed=1))
    fleet.put("catalog/broken.jpg", picture(seed=2)[:300])
    fleet.submit("partly")

    fleet.wait("partly", "PartiallySucceeded")

    report = fleet.report("partly")
    assert [(f["content"], f["reason"]) for f in report["failures"]["first"]] == [
        (f"s3://{fleet.bucket}/catalog/broken.jpg", "truncated")
    ]
    assert fleet.result_keys("partly") == ["out/partly/good.jpg"]


def test_a_cancelled_run_leaves_no_pod(kubernetes: Kubernetes, namespace: str, fleet: Fleet) -> None:
    fleet.put_shapes(8)
    fleet.submit("stopped", recipe={"preset": "draft", "size": 128}, run={"parallelism": 1})
    eventually(lambda: fleet.receipts("stopped"), "a first receipt")

    fleet.store.put(Ref(fleet.bucket, "jobs/stopped.cancel"), b"")

    fleet.wait("stopped", "Cancelled")
    selector = f"--selector={naming.LABEL_NAME}=stopped"
    assert kubernetes.get("jobs", f"--namespace={namespace}", selector)["items"] == []
    assert kubernetes.get("pods", f"--namespace={namespace}", selector)["items"] == [], "nobody writes any more"


def test_a_paused_run_has_no_pod_and_no_job_and_resumed_it_does_the_rest(
    kubernetes: Kubernetes, namespace: str, fleet: Fleet
) -> None:
    fleet.put_shapes(6)
    fleet.submit("paused", recipe={"preset": "draft", "size": 96}, run={"parallelism": 1})
    eventually(lambda: fleet.receipts("paused"), "a first receipt")
    marker = Ref(fleet.bucket, naming.pause_key("paused"))

    fleet.store.put(marker, b"")

    fleet.wait("paused", "Paused")
    selector = f"--selector={naming.LABEL_NAME}=paused"
    assert kubernetes.get("jobs,pods", f"--namespace={namespace}", selector)["items"] == [], "what they held is free"
    kept = fleet.receipts("paused")
    assert 1 <= len(kept) < 6

    fleet.store.delete(marker)

    fleet.wait("paused", "Succeeded")
    receipts = fleet.receipts("paused")
    assert Counter(r.content for r in receipts) == {f"s3://{fleet.bucket}/catalog/{i}.jpg": 1 for i in range(6)}
    assert [r for r in receipts if r.attempt == kept[0].attempt] == kept, "nothing was added by who was to end"
    assert len({r.attempt for r in receipts}) == 2


def test_a_job_that_no_node_can_take_says_why_it_waits(fleet: Fleet, kubernetes: Kubernetes, namespace: str) -> None:
    fleet.stop()
    fleet.environment = {**fleet.environment, "STYLEFLEET_GPU_RESOURCE": "example.com/no-such-gpu"}
    fleet.start()
    fleet.put("catalog/0.jpg", picture())
    fleet.submit("waiting")

    reason = eventually(lambda: fleet.status("waiting").get("waitingBecause"), "a reason in the status")

    assert "Insufficient example.com/no-such-gpu" in reason
    fleet.store.delete(Ref(fleet.bucket, "jobs/waiting.yaml"))
    fleet.wait("waiting", "Cancelled")
