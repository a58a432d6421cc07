"""What Kueue writes into a Job, written by an identity of its own before a real API server: it must be accepted for our
Jobs, which is not self-evident (a template may change only in a suspended Job that has not started), and understood.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from stylefleet.cluster_kubernetes import KubernetesCluster
from stylefleet.jobs import JobView, Json, job_for
from stylefleet.kubernetes_api import connect
from stylefleet.kueue import ANNOTATION_MIN_PARALLELISM
from stylefleet.terms import Terms
from tests.builders import make_plan
from tests.cluster.conftest import Kubernetes, idle_template
from tests.fleet import eventually

pytestmark = pytest.mark.timeout(2400)  # the first test also builds the lab and the image

FLAVOR = {"cloud.example.com/gpu": "l4"}
PREEMPTED = "Preempted to accommodate a workload (UID: d34468c2) due to prioritization in the ClusterQueue"


@dataclass(frozen=True, kw_only=True)
class Queue:
    """Kueue's part, as a user `kueue` who may change Jobs and write events."""

    kubernetes: Kubernetes
    namespace: str
    made: Json
    """The Job as we make it."""

    @property
    def job(self) -> str:
        name: str = self.made["metadata"]["name"]
        return name

    def patch(self, body: Json, *, status: bool = False) -> None:
        where = ("--subresource=status",) if status else ()
        self.kubernetes.kubectl(
            *("patch", "job", self.job, f"--namespace={self.namespace}", "--as=kueue", *where),
            *("--type=merge", f"--patch={json.dumps(body)}"),
        )

    def admit(self, *, count: int, labels: dict[str, str] | None = None) -> None:
        pod = {"nodeSelector": FLAVOR, "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule"}]}
        template = {"metadata": {"labels": labels or {"kueue.x-k8s.io/podset": "main"}}, "spec": pod}
        self.patch({"spec": {"suspend": False, "parallelism": count, "template": template}})
        self.tell("Started", "Admitted by clusterQueue gpus")

    def evict(self, *, parallelism: int) -> None:
        """In Kueue's three steps."""
        self.patch({"spec": {"suspend": True}, "metadata": {"annotations": {"kueue.x-k8s.io/stopping": "true"}}})
        self.patch({"status": {"startTime": None}}, status=True)
        template = {"metadata": {"labels": {"kueue.x-k8s.io/podset": None}}, "spec": {"nodeSelector": None}}
        annotations = {"annotations": {"kueue.x-k8s.io/stopping": None}}
        self.patch({"spec": {"parallelism": parallelism, "template": template}, "metadata": annotations})
        self.tell("Stopped", PREEMPTED)

    def tell(self, reason: str, message: str) -> None:
        job = self.read()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{self.job}.{uuid.uuid4().hex[:12]}", "namespace": self.namespace},
            "involvedObject": {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "name": self.job,
                "namespace": self.namespace,
                "uid": job["metadata"]["uid"],
            },
            "reason": reason,
            "message": message,
            "type": "Normal",
            "source": {"component": "batch/job-kueue-controller"},
        }
        self.kubernetes.kubectl("create", "--as=kueue", "--filename=-", data=json.dumps(event))

    def read(self) -> dict[str, Any]:
        return self.kubernetes.get("job", self.job, f"--namespace={self.namespace}")

    def pods(self) -> list[dict[str, Any]]:
        selector = f"--selector=batch.kubernetes.io/job-name={self.job}"
        found: list[dict[str, Any]] = self.kubernetes.get("pods", f"--namespace={self.namespace}", selector)["items"]
        return found


@pytest.fixture
def queue(kubernetes: Kubernetes, namespace: str) -> Iterator[Queue]:
    suffix = uuid.uuid4().hex[:8]
    role = f"kueue-{suffix}"
    kubernetes.kubectl(
        *("create", "role", role, f"--namespace={namespace}", "--verb=get,list,patch,update,create"),
        *("--resource=jobs.batch", "--resource=jobs.batch/status", "--resource=events"),
    )
    kubernetes.kubectl(*("create", "rolebinding", role, f"--namespace={namespace}", f"--role={role}", "--user=kueue"))
    bucket = f"bucket-{suffix}"
    template = idle_template(namespace, bucket)
    plan = make_plan(shards=(1,) * 5, name="queued", run=suffix * 2, queue="gpu", gpus=0, parallelism=4)
    job = job_for(replace(plan, terms=Terms(parallelism_min=1)), template)
    cluster = KubernetesCluster(connect(kubernetes.kubeconfig), namespace)
    cluster.create_job({**job, "spec": {**job["spec"], "suspend": True}})  # as Kueue's webhook has it
    yield Queue(kubernetes=kubernetes, namespace=namespace, made=job)
    for view in cluster.list_jobs():
        if view.bucket == bucket:
            cluster.delete_job(view)


@pytest.fixture
def cluster(kubernetes: Kubernetes, namespace: str) -> KubernetesCluster:
    return KubernetesCluster(connect(kubernetes.kubeconfig), namespace)


def seen(cluster: KubernetesCluster, queue: Queue) -> JobView:
    (view,) = [job for job in cluster.list_jobs() if job.name == queue.job]
    return view


def test_a_job_is_suspended_admitted_in_part_evicted_and_admitted_again(
    cluster: KubernetesCluster, queue: Queue
) -> None:
    view = seen(cluster, queue)
    assert (view.suspended, view.parallelism, view.queue) == (True, 4, "gpu")
    assert queue.read()["metadata"]["annotations"][ANNOTATION_MIN_PARALLELISM] == "1"
    assert queue.pods() == []
    assert "the queue gpu has not admitted the Job" in cluster.suspended_because(view, ran=False)

    queue.admit(count=2)
    pods = eventually(lambda: len(queue.pods()) == 2 and queue.pods(), "as many pods as were admitted")
    assert all(pod["spec"]["nodeSelector"] == FLAVOR for pod in pods)
    view = seen(cluster, queue)
    assert (view.suspended, view.parallelism, view.workers) == (False, 2, 2)
    assert view.message == ""
    before = queue.read()["spec"]
    cluster.create_job(queue.made)  # by a controller that does not know that it was here before
    assert queue.read()["spec"] == before, "and undoes nothing of what Kueue wrote"

    queue.evict(parallelism=4)
    eventually(lambda: queue.pods() == [], "its pods are gone")
    view = seen(cluster, queue)
    assert (view.suspended, view.parallelism, view.finished) == (True, 4, "")
    because = cluster.suspended_because(view, ran=False)
    assert because.startswith(f"Evicted: the queue gpu has stopped the Job, which was at work: {PREEMPTED}")

    queue.admit(count=4, labels={"kueue.x-k8s.io/podset": "again"})
    eventually(lambda: len(queue.pods()) == 4, "pods again")
    assert not seen(cluster, queue).suspended


def test_a_suspended_job_is_removed_like_any_other(cluster: KubernetesCluster, queue: Queue) -> None:
    cluster.delete_job(seen(cluster, queue))
    eventually(lambda: all(job.name != queue.job for job in cluster.list_jobs()), "the Job is gone")
