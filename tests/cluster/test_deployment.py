"""The chart in a real cluster, by a real Helm: restricted pods turn a manifest into pictures."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from stylefleet import naming
from stylefleet.local_s3 import LocalS3
from stylefleet.naming import Ref
from tests.cluster.conftest import Kubernetes, restricted_namespace
from tests.fleet import Fleet, eventually, picture

pytestmark = pytest.mark.timeout(2400)  # the first test also builds the lab and the images

CHART = Path(__file__).parents[2] / "helm/stylefleet"
OF_EVERY_NAMESPACE = {("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default"), ("Secret", "stylefleet-s3")}
KINDS = (
    "configmaps,deployments,endpoints,endpointslices,jobs,leases,networkpolicies,poddisruptionbudgets,pods,replicasets,"
    "rolebindings,roles,secrets,serviceaccounts,services"
)


def _image(name: str) -> dict[str, str]:
    repository, _, tag = name.rpartition(":")
    return {"repository": repository, "tag": tag}


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release of the chart, in a namespace of its own."""

    kubernetes: Kubernetes
    namespace: str
    fleet: Fleet
    """The bucket; the controllers are pods."""

    def helm(self, *arguments: str) -> str:
        done = subprocess.run(
            [
                self.kubernetes.helm,
                *arguments,
                f"--namespace={self.namespace}",
                f"--kubeconfig={self.kubernetes.kubeconfig}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stdout}{done.stderr}\n{self.events()}"
        return done.stdout

    def values(self, **changes: Any) -> str:
        """A file of values for this cluster."""
        values = {
            "storage": {
                "bucket": self.fleet.bucket,
                "endpoint": self.fleet.s3.endpoint_url,
                "region": "us-east-1",
                "existingSecret": "stylefleet-s3",
            },
            "controller": {"image": _image(self.kubernetes.controller_image), "pollSeconds": 1},
            "worker": {
                "image": _image(self.kubernetes.worker_image),
                "resources": {"cpu": "100m", "memory": "3Gi"},
            },
            "doctor": {"gpus": 0},
            **changes,
        }
        path = self.fleet.folder / f"values-{uuid.uuid4().hex[:6]}.json"
        path.write_text(json.dumps(values))
        return f"--values={path}"

    def install(self, **changes: Any) -> None:
        self.helm("install", "art", str(CHART), self.values(**changes), "--wait", "--timeout=10m")

    def get(self, *arguments: str) -> dict[str, Any]:
        return self.kubernetes.get(*arguments, f"--namespace={self.namespace}")

    def pods(self, selector: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("pods", f"--selector={selector}")["items"]
        return found

    def controllers(self) -> set[str]:
        """Names of the pods that are controllers and stay so."""
        pods = self.pods("app.kubernetes.io/component=controller")
        return {pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"]}

    def left(self) -> set[tuple[str, str]]:
        """Kind and name of everything in the namespace that is not in every one."""
        items = self.get(KINDS)["items"]
        return {(item["kind"], item["metadata"]["name"]) for item in items} - OF_EVERY_NAMESPACE

    def events(self) -> str:
        return self.kubernetes.kubectl("get", "events", f"--namespace={self.namespace}", "--sort-by=.lastTimestamp")


@pytest.fixture(scope="module")
def released(
    kubernetes: Kubernetes, s3: LocalS3, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[], Release]]:
    """Makes releases that are not installed yet; their namespaces are removed in the end."""
    namespaces = []

    def make() -> Release:
        namespace = restricted_namespace(kubernetes)
        namespaces.append(namespace)
        bucket = f"release-{uuid.uuid4().hex[:8]}"
        s3.create_bucket(bucket)
        folder = tmp_path_factory.mktemp("release")
        fleet = Fleet(s3=s3, store=s3.store(), bucket=bucket, folder=folder, environment={})
        fleet.put("styles/style.jpg", picture(96, 64, seed=99))
        return Release(kubernetes=kubernetes, namespace=namespace, fleet=fleet)

    yield make
    for namespace in namespaces:
        kubernetes.kubectl("delete", "namespace", namespace, "--wait=false")


@pytest.fixture(scope="module")
def release(released: Callable[[], Release]) -> Release:
    made = released()
    made.install()
    return made


def test_a_manifest_becomes_pictures_made_by_restricted_pods_without_a_token(
    released: Callable[[], Release], capsys: pytest.CaptureFixture[str]
) -> None:
    release = released()
    fleet = release.fleet
    fleet.put("catalog/0.jpg", picture(seed=1))
    started = time.monotonic()

    release.install()
    ready = time.monotonic()
    fleet.submit("first", run={"resources": {"gpu": 1}})
    status = fleet.wait("first", "Succeeded")

    with capsys.disabled():
        seconds = f"{ready - started:.0f} s until the controllers were ready, {time.monotonic() - started:.0f} s"
        print(f"\nfrom `helm install`: {seconds} until the first picture was done")
    assert status["progress"]["done"] == 1
    assert fleet.result_keys("first") == ["out/first/0.jpg"]
    workers = release.pods(f"{naming.LABEL_NAME}=first")
    assert workers
    for worker in workers:
        spec = worker["spec"]
        assert spec["serviceAccountName"] == "art-stylefleet-worker"
        assert not [v for v in spec["volumes"] if "projected" in v or "secret" in v], "no token is mounted"
        assert all(c["securityContext"]["readOnlyRootFilesystem"] for c in spec["containers"])
    controllers = release.pods("app.kubernetes.io/component=controller")
    assert len(controllers) == 2
    assert {c["spec"]["serviceAccountName"] for c in controllers} == {"art-stylefleet"}
    holder = release.get("lease", "art-stylefleet")["spec"]["holderIdentity"]
    assert [c for c in controllers if holder.startswith(c["metadata"]["name"])], "one of them leads"


def test_helm_test_finds_nothing_wrong(release: Release) -> None:
    told = release.helm("test", "art", "--logs", "--timeout=15m")
    assert "Succeeded" in told
    assert "conditional-writes" in told


def test_an_upgrade_in_mid_run_loses_nothing(release: Release) -> None:
    fleet = release.fleet
    fleet.put_shapes(6)
    fleet.submit("upgraded", recipe={"preset": "draft", "size": 96}, run={"parallelism": 1})
    eventually(lambda: fleet.receipts("upgraded"), "a first receipt")
    before = release.controllers()

    controller = {
        "image": _image(release.kubernetes.controller_image),
        "pollSeconds": 1,
        "podAnnotations": {"example.com/release": "next"},
    }
    release.helm("upgrade", "art", str(CHART), release.values(controller=controller), "--wait", "--timeout=10m")

    fleet.wait("upgraded", "Succeeded")
    assert not before & release.controllers(), "other controllers finished the run"
    receipts = Counter(r.content for r in fleet.receipts("upgraded"))
    assert receipts == {f"s3://{fleet.bucket}/catalog/{i}.jpg": 1 for i in range(6)}, "each picture was done once"
    assert len(release.get("jobs", f"--selector={naming.LABEL_NAME}=upgraded")["items"]) == 1


@pytest.mark.parametrize(
    ("account", "path", "allowed"),
    [
        ("art-stylefleet", "/apis/batch/v1/namespaces/{own}/jobs", True),
        ("art-stylefleet", "/api/v1/namespaces/{own}/secrets", False),
        ("art-stylefleet", "/api/v1/namespaces/{own}/secrets/stylefleet-s3", False),
        ("art-stylefleet", "/apis/batch/v1/namespaces/default/jobs", False),
        ("art-stylefleet", "/api/v1/nodes", False),
        ("art-stylefleet-worker", "/apis/batch/v1/namespaces/{own}/jobs", False),
        ("art-stylefleet-worker", "/api/v1/namespaces/{own}/pods", False),
    ],
)
def test_the_api_server_refuses_what_an_identity_does_not_need(
    release: Release, account: str, path: str, allowed: bool
) -> None:
    config = json.loads(release.kubernetes.kubectl("config", "view", "--raw", "--output=json"))
    token = release.kubernetes.kubectl("create", "token", account, f"--namespace={release.namespace}").strip()
    config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
    own = release.fleet.folder / f"{account}.json"
    own.write_text(json.dumps(config))
    asked = ["kubectl", f"--kubeconfig={own}", "get", "--raw", path.format(own=release.namespace)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is allowed, done.stderr
    assert allowed or "forbidden" in done.stderr.lower(), done.stderr


def test_a_tenants_manifest_becomes_pictures_made_in_the_tenants_namespace(
    released: Callable[[], Release], kubernetes: Kubernetes
) -> None:
    release, elsewhere = released(), restricted_namespace(kubernetes)
    fleet = release.fleet
    allowed = [f"s3://{fleet.bucket}/{folder}/" for folder in ("catalog", "styles", "out")]
    release.install(tenants=[{"name": "shop", "namespace": elsewhere, "allowed": allowed}])
    fleet.put("catalog/0.jpg", picture(seed=1))

    fleet.put("jobs/shop/first.yaml", fleet.manifest("first", run={"resources": {"gpu": 0}}))
    fleet.wait("shop/first", "Succeeded")

    assert fleet.result_keys("first") == ["out/first/0.jpg"]
    selector = f"--selector={naming.LABEL_NAME}=shop.first"
    (worker,) = kubernetes.get("pods", f"--namespace={elsewhere}", selector)["items"]
    assert worker["metadata"]["name"] == fleet.receipts("shop/first")[0].attempt
    assert worker["spec"]["serviceAccountName"] == "art-stylefleet-worker"
    assert release.get("pods,jobs", selector)["items"] == []
    release.helm("uninstall", "art", "--wait", "--timeout=10m")
    left = kubernetes.get(KINDS, f"--namespace={elsewhere}")["items"]
    assert {(item["kind"], item["metadata"]["name"]) for item in left} == OF_EVERY_NAMESPACE
    kubernetes.kubectl("delete", "namespace", elsewhere, "--wait=false")


def test_helm_uninstall_in_mid_run_leaves_no_orphan(released: Callable[[], Release]) -> None:
    release = released()
    release.install()
    fleet = release.fleet
    fleet.put_shapes(8)
    fleet.submit("abandoned", recipe={"preset": "draft", "size": 128}, run={"parallelism": 1})
    eventually(lambda: fleet.receipts("abandoned"), "a first receipt")

    release.helm("uninstall", "art", "--wait", "--timeout=10m")

    eventually(lambda: release.left() == set(), f"an empty namespace; events: {release.events()}", seconds=120)
    kept = fleet.receipts("abandoned")
    assert kept, "what was done stays in the bucket"
    for one in kept:
        assert fleet.store.get(naming.parse_uri(one.result)).etag == one.result_etag
    assert fleet.store.get(Ref(fleet.bucket, "jobs/abandoned.yaml")).data, "and so does the manifest"
