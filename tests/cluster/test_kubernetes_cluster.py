"""KubernetesCluster keeps the promises of the Cluster protocol against a real API server."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from stylefleet import naming
from stylefleet.cluster_kubernetes import KubernetesCluster
from stylefleet.errors import AccessDenied, PermanentError, PreconditionFailed
from stylefleet.jobs import JobView, Json, job_for
from stylefleet.kubernetes_api import connect
from tests import kubernetes_answers
from tests.builders import make_plan
from tests.cluster.conftest import Kubernetes, idle_template
from tests.fleet import eventually

pytestmark = pytest.mark.timeout(2400)  # the first test also builds the lab and the image


@pytest.fixture
def bucket() -> str:
    return f"bucket-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def cluster(kubernetes: Kubernetes, namespace: str, bucket: str) -> Iterator[KubernetesCluster]:
    cluster = KubernetesCluster(connect(kubernetes.kubeconfig), namespace)
    yield cluster
    for job in _own(cluster, bucket):
        cluster.delete_job(job)


def _run(bucket: str) -> str:
    """A run of the test's own, so that its Job's name is its own: that of the test before may still be going."""
    return bucket[-8:] * 2


def _job(namespace: str, bucket: str) -> Json:
    """A Job whose image nobody has, so that its pods never run; without GPUs, which others may hold."""
    template = idle_template(namespace, bucket)
    return job_for(replace(make_plan(), name="contract", run=_run(bucket), queue=None, gpus=0), template)


def _own(cluster: KubernetesCluster, bucket: str) -> list[JobView]:
    return [j for j in cluster.list_jobs() if j.bucket == bucket]


def test_the_api_server_answers_as_the_tests_double_does(
    cluster: KubernetesCluster, namespace: str, bucket: str
) -> None:
    kubernetes_answers.check(cluster, _job(namespace, bucket))


def test_creating_the_same_job_twice_is_success_and_leaves_one(
    cluster: KubernetesCluster, namespace: str, bucket: str
) -> None:
    cluster.create_job(_job(namespace, bucket))
    cluster.create_job(_job(namespace, bucket))

    (job,) = _own(cluster, bucket)
    assert (job.owner_name, job.run, job.held, job.finished) == ("contract", _run(bucket), True, "")


def test_a_job_of_that_name_for_another_run_is_refused(cluster: KubernetesCluster, namespace: str, bucket: str) -> None:
    job = _job(namespace, bucket)
    cluster.create_job(job)
    job["metadata"]["labels"][naming.LABEL_RUN] = "another"
    with pytest.raises(PreconditionFailed, match="belongs to another run"):
        cluster.create_job(job)


def test_a_deleted_job_is_gone_with_its_pods_and_deleting_again_is_no_error(
    cluster: KubernetesCluster, kubernetes: Kubernetes, namespace: str, bucket: str
) -> None:
    cluster.create_job(_job(namespace, bucket))
    (job,) = _own(cluster, bucket)
    selector = f"--selector=batch.kubernetes.io/job-name={job.name}"
    eventually(lambda: kubernetes.get("pods", f"--namespace={namespace}", selector)["items"], "a pod of the Job")

    cluster.delete_job(job)
    cluster.delete_job(job)

    eventually(lambda: not _own(cluster, bucket), "the Job is gone")
    assert kubernetes.get("pods", f"--namespace={namespace}", selector)["items"] == [], "and not before its pods"


def test_a_newer_job_of_the_same_name_is_not_deleted_in_place_of_the_old(
    cluster: KubernetesCluster, namespace: str, bucket: str
) -> None:
    cluster.create_job(_job(namespace, bucket))
    (old,) = _own(cluster, bucket)
    cluster.delete_job(old)
    eventually(lambda: not _own(cluster, bucket), "the old Job is gone")
    cluster.create_job(_job(namespace, bucket))

    cluster.delete_job(old)
    cluster.release_job(old)

    (new,) = _own(cluster, bucket)
    assert new.uid != old.uid
    assert new.held


def test_releasing_takes_only_our_finalizer_off_and_may_be_repeated(
    cluster: KubernetesCluster, kubernetes: Kubernetes, namespace: str, bucket: str
) -> None:
    job = _job(namespace, bucket)
    job["metadata"]["finalizers"].append("example.com/another")
    cluster.create_job(job)
    (view,) = _own(cluster, bucket)

    cluster.release_job(view)
    cluster.release_job(view)

    found = kubernetes.get("job", view.name, f"--namespace={namespace}")
    assert found["metadata"]["finalizers"] == ["example.com/another"]
    patch = '{"metadata": {"finalizers": null}}'
    kubernetes.kubectl("patch", "job", view.name, f"--namespace={namespace}", "--type=merge", f"--patch={patch}")


def test_this_very_job_may_get_more_pods_at_a_time(
    cluster: KubernetesCluster, kubernetes: Kubernetes, namespace: str, bucket: str
) -> None:
    job = _job(namespace, bucket)
    job["spec"]["parallelism"] = 1
    cluster.create_job(job)
    (view,) = _own(cluster, bucket)
    assert (view.parallelism, view.open_indexes, view.workers) == (1, 2, 1)
    with pytest.raises(PermanentError):
        cluster.resize_job(replace(view, uid="another"), 2)
    cluster.resize_job(view, 2)
    (view,) = _own(cluster, bucket)
    assert view.parallelism == 2
    selector = f"--selector=batch.kubernetes.io/job-name={view.name}"
    eventually(lambda: len(kubernetes.get("pods", f"--namespace={namespace}", selector)["items"]) == 2, "two pods")
    cluster.resize_job(replace(view, name="gone"), 2)


def test_an_image_that_nobody_has_is_told_as_the_reason_to_wait(
    cluster: KubernetesCluster, namespace: str, bucket: str
) -> None:
    job = _job(namespace, bucket)
    cluster.create_job(job)
    (view,) = _own(cluster, bucket)

    def told() -> str:
        reason = cluster.waiting_because(view)
        assert reason, "a run that waits never does so silently"
        return reason if reason.startswith(("ErrImagePull", "ImagePullBackOff")) else ""

    assert "localhost/no-such-image:1" in eventually(told, "the image is told as the reason")


def test_an_identity_without_rights_is_told_so(cluster: KubernetesCluster, namespace: str) -> None:
    cluster._api._client.default_headers["Impersonate-User"] = "nobody"
    with pytest.raises(AccessDenied, match=f'cannot list resource "jobs".*namespace "{namespace}"'):
        cluster.list_jobs()
    del cluster._api._client.default_headers["Impersonate-User"]
