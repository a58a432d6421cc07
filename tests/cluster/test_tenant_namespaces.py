"""Two tenants' namespaces, and the controller with the rights that the chart gives, before a real API server."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stylefleet.cluster_kubernetes import KubernetesCluster
from stylefleet.cluster_namespaces import NamespacedCluster
from stylefleet.errors import AccessDenied
from stylefleet.jobs import Json, job_for
from stylefleet.kubernetes_api import connect
from stylefleet.retire import retire
from tests.builders import TEMPLATE, make_plan
from tests.cluster.conftest import Kubernetes, restricted_namespace
from tests.fleet import eventually

pytestmark = pytest.mark.timeout(2400)  # the first test also builds the lab and the image

CHART = Path(__file__).parents[2] / "helm/stylefleet"
RIGHTS = ("Role", "RoleBinding", "ServiceAccount")


@dataclass(frozen=True, kw_only=True)
class Shared:
    """A release's namespace and those of two tenants."""

    kubernetes: Kubernetes
    own: str
    art: str
    toys: str
    bucket: str
    config: Path
    """Of the controller's identity."""

    def cluster(self) -> NamespacedCluster:
        connection = connect(self.config)
        names = (self.own, self.art, self.toys)
        return NamespacedCluster({name: KubernetesCluster(connection, name) for name in names})

    def job(self, tenant: str) -> Json:
        """A Job whose image nobody has; as restricted as any."""
        changes = {"image": "localhost/no-such-image:1", "cpu": "100m", "memory": "64Mi", "credentials_secret": None}
        account, namespace = "art-stylefleet-worker", getattr(self, tenant)
        template = replace(TEMPLATE, **changes, service_account=account, namespace=namespace, bucket=self.bucket)
        run = uuid.uuid5(uuid.NAMESPACE_URL, self.bucket + tenant).hex[:16]
        return job_for(make_plan(name=f"{tenant}/spring", run=run, gpus=0), template)


@pytest.fixture
def shared(kubernetes: Kubernetes, tmp_path: Path) -> Iterator[Shared]:
    own, art, toys = (restricted_namespace(kubernetes) for _ in range(3))
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    tenants = [{"name": n, "allowed": [f"s3://{n}/"], "namespace": ns} for n, ns in (("art", art), ("toys", toys))]
    values = json.dumps({"storage": {"bucket": bucket}, "tenants": tenants})
    command = [kubernetes.helm, "template", "art", CHART, f"--namespace={own}", "--values=-", "--no-hooks"]
    rendered = subprocess.run(command, input=values, capture_output=True, text=True, check=True).stdout
    documents = [text for text in rendered.split("\n---\n") if any(f"\nkind: {kind}\n" in text for kind in RIGHTS)]
    kubernetes.kubectl("apply", "--filename=-", data="\n---\n".join(documents))
    token = kubernetes.kubectl("create", "token", "art-stylefleet", f"--namespace={own}").strip()
    config = json.loads(kubernetes.kubectl("config", "view", "--raw", "--output=json"))
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    yield Shared(kubernetes=kubernetes, own=own, art=art, toys=toys, bucket=bucket, config=path)
    for namespace in (own, art, toys):
        kubernetes.kubectl("delete", "namespace", namespace, "--wait=false")


def test_the_controller_does_its_work_in_each_tenants_namespace_and_no_more(shared: Shared) -> None:
    cluster = shared.cluster()
    for tenant in ("art", "toys"):
        cluster.create_job(shared.job(tenant))
    views = {view.namespace: view for view in cluster.list_jobs()}
    assert {ns: view.owner_name for ns, view in views.items()} == {
        shared.art: "art/spring",
        shared.toys: "toys/spring",
    }
    art = views[shared.art]
    cluster.resize_job(art, 1)
    assert eventually(lambda: cluster.waiting_because(art), "why it waits")
    assert cluster.failed_because(art) == ""
    with pytest.raises(AccessDenied):
        KubernetesCluster(connect(shared.config), "default").list_jobs()
    for path in (f"/api/v1/namespaces/{shared.art}/secrets", f"/apis/batch/v1/namespaces/{shared.art}/cronjobs"):
        asked = ["kubectl", f"--kubeconfig={shared.config}", "get", "--raw", path]
        assert "forbidden" in subprocess.run(asked, capture_output=True, text=True, check=False).stderr.lower()
    spaces = (shared.own, shared.art, shared.toys)
    retire(cluster, shared.bucket, namespaces=spaces, seconds=300)
    assert cluster.list_jobs() == []


def test_a_tenant_whose_namespace_lost_its_role_holds_up_nobody_else(shared: Shared) -> None:
    cluster = shared.cluster()
    cluster.create_job(shared.job("toys"))
    shared.kubernetes.kubectl("delete", "rolebinding", "art-stylefleet", f"--namespace={shared.art}")
    eventually(lambda: _denied(cluster, shared.art), "the right is gone")
    assert [view.namespace for view in cluster.list_jobs()] == [shared.toys]
    cluster.require_listed(shared.toys)
    retire(cluster, shared.bucket, namespaces=(shared.own, shared.toys), seconds=300)


def _denied(cluster: NamespacedCluster, namespace: str) -> bool:
    cluster.list_jobs()
    try:
        cluster.require_listed(namespace)
    except AccessDenied as error:
        return "cannot list resource" in str(error)
    return False
