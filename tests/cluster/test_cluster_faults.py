"""What befalls a cluster while a run is under way: every picture is made all the same, and none twice."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from typing import Any

import pytest

from stylefleet import naming
from tests.cluster.conftest import Kubernetes
from tests.fleet import Fleet, eventually
from tests.lab import Lab
from tests.lab.cluster import component_pid
from tests.lab.components import COMPONENTS

pytestmark = pytest.mark.timeout(2400)  # the first test also builds the lab and the image

PICTURES = 8
AWAY_SECONDS = 60


def _begun(fleet: Fleet, name: str) -> None:
    """A run whose first pictures are done and whose last are not begun."""
    fleet.put_shapes(PICTURES)
    fleet.submit(name, recipe={"preset": "draft", "size": 128}, run={"parallelism": 1})
    eventually(lambda: fleet.receipts(name), "a first receipt")


def _check_every_picture_is_done_once(fleet: Fleet, name: str) -> None:
    fleet.wait(name, "Succeeded")
    receipts = fleet.receipts(name)
    assert Counter(r.content for r in receipts) == {f"s3://{fleet.bucket}/catalog/{i}.jpg": 1 for i in range(PICTURES)}
    for one in receipts:
        assert fleet.store.get(naming.parse_uri(one.result)).etag == one.result_etag
    assert fleet.report(name)["totals"]["done"] == PICTURES


def _job(kubernetes: Kubernetes, namespace: str, name: str) -> dict[str, Any]:
    (job,) = kubernetes.get("jobs", f"--namespace={namespace}", f"--selector={naming.LABEL_NAME}={name}")["items"]
    found: dict[str, Any] = job
    return found


def _worker(kubernetes: Kubernetes, namespace: str, name: str) -> str:
    """The name of the run's pod that is at work."""
    pods = kubernetes.get("pods", f"--namespace={namespace}", f"--selector={naming.LABEL_NAME}={name}")["items"]
    (found,) = [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] == "Running"]
    return str(found)


def test_an_evicted_pod_is_no_failure_of_its_shard(kubernetes: Kubernetes, namespace: str, fleet: Fleet) -> None:
    _begun(fleet, "evicted")
    pod = _worker(kubernetes, namespace, "evicted")
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    }
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction"
    kubernetes.kubectl("create", f"--raw={path}", "--filename=-", data=json.dumps(eviction))
    _check_every_picture_is_done_once(fleet, "evicted")
    status = _job(kubernetes, namespace, "evicted")["status"]
    assert status.get("failed", 0) == 0, "a disruption costs none of the shard's attempts"
    assert len({r.attempt for r in fleet.receipts("evicted")}) == 2


def test_a_job_that_was_deleted_by_hand_is_made_again_and_only_the_rest_is_done(
    kubernetes: Kubernetes, namespace: str, fleet: Fleet
) -> None:
    _begun(fleet, "by-hand")
    job = _job(kubernetes, namespace, "by-hand")
    kubernetes.kubectl("delete", "job", job["metadata"]["name"], f"--namespace={namespace}", "--wait=false")
    _check_every_picture_is_done_once(fleet, "by-hand")
    assert _job(kubernetes, namespace, "by-hand")["metadata"]["uid"] != job["metadata"]["uid"]


def _job_of(kubernetes: Kubernetes, namespace: str, fleet: Fleet, name: str) -> dict[str, Any]:
    """The Job of a run, once its controller has made it and was stopped."""
    selector = f"--selector={naming.LABEL_NAME}={name}"
    eventually(lambda: kubernetes.get("jobs", f"--namespace={namespace}", selector)["items"], "the run has a Job")
    fleet.stop()
    return _job(kubernetes, namespace, name)


def test_a_finished_job_whose_time_is_up_is_kept_until_its_run_is_reported(
    kubernetes: Kubernetes, namespace: str, fleet: Fleet
) -> None:
    fleet.put_shapes(2)
    fleet.submit("expired")
    job = _job_of(kubernetes, namespace, fleet, "expired")["metadata"]["name"]
    at_once = '{"spec": {"ttlSecondsAfterFinished": 0}}'
    kubernetes.kubectl("patch", "job", job, f"--namespace={namespace}", "--type=merge", f"--patch={at_once}")

    deleted = eventually(
        lambda: (
            "deletionTimestamp" in (found := _job(kubernetes, namespace, "expired"))["metadata"]
            and "foregroundDeletion" not in found["metadata"]["finalizers"]
            and found
        ),
        "Kubernetes has done all of its clean-up",
    )
    assert [c["type"] for c in deleted["status"]["conditions"]][-1] == "Complete"
    assert fleet.status("expired")["phase"] == "Running"

    fleet.start()
    fleet.wait("expired", "Succeeded")
    assert fleet.report("expired")["totals"]["done"] == 2
    selector = f"--selector={naming.LABEL_NAME}=expired"
    eventually(lambda: kubernetes.get("jobs", f"--namespace={namespace}", selector)["items"] == [], "the Job is let go")


def test_a_worker_that_is_killed_for_its_memory_is_told_in_status_and_report(
    kubernetes: Kubernetes, namespace: str, fleet: Fleet
) -> None:
    """Its Job is made anew with less memory than TensorFlow takes, and with a single attempt."""
    fleet.put_shapes(1)
    fleet.submit("starved")
    job = _job_of(kubernetes, namespace, fleet, "starved")
    metadata, spec = job["metadata"], job["spec"]
    name = metadata["name"]
    let_go = '{"metadata": {"finalizers": null}}'
    kubernetes.kubectl("patch", "job", name, f"--namespace={namespace}", "--type=merge", f"--patch={let_go}")
    kubernetes.kubectl("delete", "job", name, f"--namespace={namespace}", "--cascade=foreground", "--wait=true")
    del spec["selector"]
    spec["template"]["metadata"]["labels"] = metadata["labels"]
    spec["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "100Mi"}}
    spec["backoffLimitPerIndex"] = 0
    kept = {key: metadata[key] for key in ("name", "labels", "finalizers")}
    document = {"apiVersion": "batch/v1", "kind": "Job", "metadata": kept, "spec": spec}
    kubernetes.kubectl("create", f"--namespace={namespace}", "--filename=-", data=json.dumps(document))

    fleet.start()

    status = fleet.wait("starved", "Failed")
    assert "OOMKilled: killed for its memory (exit code 137)" in status["message"]
    assert "STYLEFLEET_WORKER_MEMORY" in status["message"]
    assert fleet.report("starved")["message"] == status["message"]


def _kill(component: str) -> None:
    if os.environ.get("KUBECONFIG"):
        pytest.skip("only the lab's own components may be killed")
    (found,) = [each for each in COMPONENTS if each.name == component]
    pid = component_pid(Lab().paths, found)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_an_api_server_that_is_away_for_a_minute_costs_nothing(
    kubernetes: Kubernetes, namespace: str, fleet: Fleet
) -> None:
    _begun(fleet, "headless")
    _kill("kube-apiserver")
    time.sleep(AWAY_SECONDS)
    Lab().up()
    _check_every_picture_is_done_once(fleet, "headless")
    assert "tick_failed" in fleet.log()
    assert len(_job(kubernetes, namespace, "headless")["metadata"]["uid"]) > 0


def test_a_node_that_is_gone_costs_the_picture_in_flight(kubernetes: Kubernetes, namespace: str, fleet: Fleet) -> None:
    """Its kubelet dies, and it is taken out of the cluster; its container works on unseen until the node is back."""
    _begun(fleet, "no-node")
    pod = _worker(kubernetes, namespace, "no-node")
    (node,) = kubernetes.get("nodes")["items"]
    _kill("kubelet")
    kubernetes.kubectl("delete", "node", node["metadata"]["name"])
    eventually(
        lambda: (
            not any(
                each["metadata"]["name"] == pod for each in kubernetes.get("pods", f"--namespace={namespace}")["items"]
            )
        ),
        "the pod of the gone node is removed",
    )
    Lab().up()
    fleet.wait("no-node", "Succeeded")
    assert fleet.report("no-node")["totals"]["done"] == PICTURES
    newest = {r.result: r.result_etag for r in sorted(fleet.receipts("no-node"), key=lambda r: r.finished_at)}
    assert len(newest) == PICTURES
    for uri, etag in newest.items():
        assert fleet.store.get(naming.parse_uri(uri)).etag == etag
    assert _job(kubernetes, namespace, "no-node")["status"].get("failed", 0) == 0
