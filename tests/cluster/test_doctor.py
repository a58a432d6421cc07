"""`stylefleet doctor` in a real cluster, with an identity that has the controller's rights and no other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from stylefleet.checks import Check, from_json
from stylefleet.local_s3 import SECRET_KEY, LocalS3
from stylefleet.rights import Right, rights
from tests.cluster.conftest import GPU_RESOURCE, Kubernetes
from tests.fleet import eventually

pytestmark = pytest.mark.timeout(2400)  # the first test also builds the lab and the image

ALL = rights(lease=None)
Examine = Callable[..., dict[str, Check]]


@pytest.fixture
def bucket(s3: LocalS3) -> str:
    name = f"doctor-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(name)
    return name


def _grant(kubernetes: Kubernetes, namespace: str, account: str, granted: tuple[Right, ...]) -> None:
    rules = [{"apiGroups": [r.group], "resources": [r.resource], "verbs": [r.verb]} for r in granted]
    metadata = {"name": account, "namespace": namespace}
    subject = {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}
    objects = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": metadata,
            "subjects": [subject],
            "roleRef": role,
        },
    ]
    kubernetes.kubectl("apply", "--filename=-", data=yaml.safe_dump_all(objects))


@pytest.fixture
def examine(kubernetes: Kubernetes, namespace: str, s3: LocalS3, bucket: str, tmp_path: Path) -> Iterator[Examine]:
    """Run the doctor as a service account with `granted` rights; `changes` are variables of the controller."""

    def run(*arguments: str, granted: tuple[Right, ...] = ALL, **changes: str) -> dict[str, Check]:
        _grant(kubernetes, namespace, "controller", granted)
        token = kubernetes.kubectl("create", "token", "controller", f"--namespace={namespace}").strip()
        config = yaml.safe_load(kubernetes.kubeconfig.read_text())
        config["users"] = [{"name": user["name"], "user": {"token": token}} for user in config["users"]]
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        environment = {
            **s3.process_environment(os.environ),
            "STYLEFLEET_BUCKET": bucket,
            "KUBECONFIG": str(path),
            "STYLEFLEET_NAMESPACE": namespace,
            "STYLEFLEET_WORKER_IMAGE": kubernetes.worker_image,
            "STYLEFLEET_WORKER_SECRET": "stylefleet-s3",
            "STYLEFLEET_WORKER_CPU": "100m",
            "STYLEFLEET_WORKER_MEMORY": "3Gi",
            **changes,
        }
        # A slow machine is not a broken cluster; of an option that is given twice the last counts.
        command = [sys.executable, "-m", "stylefleet.cli.main", "doctor", "--json", "--wait-seconds=600", *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        print(done.stdout)  # shown where a test fails
        checks = from_json(done.stdout)
        assert done.returncode == (1 if any(c.outcome == "failed" for c in checks) else 0), done.stderr
        assert token not in done.stdout + done.stderr
        assert SECRET_KEY not in done.stdout + done.stderr
        return {check.id: check for check in checks}

    yield run
    selector = "--selector=app.kubernetes.io/managed-by=stylefleet-doctor"

    def removed() -> bool:
        return kubernetes.get("jobs", f"--namespace={namespace}", selector)["items"] == []

    eventually(removed, "the probe is removed", seconds=60)  # a Job that its controller just wrote goes a moment later


def _failed(checks: dict[str, Check]) -> list[str]:
    return [check.id for check in checks.values() if check.outcome == "failed"]


def test_a_cluster_where_all_is_well_passes_with_the_controllers_rights_alone(examine: Examine) -> None:
    checks = examine("--gpus=0")
    assert _failed(checks) == []
    assert {c.id for c in checks.values() if c.outcome == "skipped"} == {"queue"}
    assert "TensorFlow" in checks["engine"].found


def test_a_missing_right_is_named_with_what_it_is_for(examine: Examine) -> None:
    granted = tuple(r for r in ALL if str(r) not in ("patch jobs.batch", "list pods"))
    checks = examine(granted=granted)
    assert _failed(checks) == ["rbac"]
    assert "may not patch jobs.batch" in checks["rbac"].found
    assert "may not list pods" in checks["rbac"].found
    assert checks["image"].outcome == "skipped"


def test_an_image_that_cannot_be_pulled_is_named(examine: Examine) -> None:
    checks = examine("--gpus=0", STYLEFLEET_WORKER_IMAGE="localhost/no-such-image:7")
    assert _failed(checks) == ["image"]
    assert checks["schedulable"].outcome == "ok"
    assert "localhost/no-such-image:7" in checks["image"].found


def test_a_gpu_that_no_node_has_is_named(examine: Examine) -> None:
    checks = examine("--wait-seconds=5", STYLEFLEET_GPU_RESOURCE="example.com/no-such-gpu")
    assert _failed(checks) == ["schedulable"]
    assert "Insufficient example.com/no-such-gpu" in checks["schedulable"].found
    assert "STYLEFLEET_GPU_RESOURCE" in checks["schedulable"].remedy


def test_a_gpu_that_the_worker_does_not_see_is_told(examine: Examine) -> None:
    """The lab's node says that it has GPUs, and has none: as a node does whose driver is broken."""
    checks = examine("--gpus=1", STYLEFLEET_GPU_RESOURCE=GPU_RESOURCE)
    assert _failed(checks) == ["engine"]
    assert "asked for a GPU" in checks["engine"].found


def test_a_secret_that_is_not_there_is_named(examine: Examine) -> None:
    checks = examine("--gpus=0", STYLEFLEET_WORKER_SECRET="gone")
    assert _failed(checks) == ["worker"]
    assert 'secret "gone" not found' in checks["worker"].found


def test_a_service_account_that_is_not_there_is_named(examine: Examine) -> None:
    checks = examine("--gpus=0", STYLEFLEET_WORKER_SERVICE_ACCOUNT="gone")
    assert _failed(checks) == ["schedulable"]
    assert 'serviceaccount "gone" not found' in checks["schedulable"].found


def test_weights_with_a_wrong_hash_are_told_by_the_worker(examine: Examine) -> None:
    weights = {"STYLEFLEET_VGG19_WEIGHTS": "/etc/os-release", "STYLEFLEET_VGG19_SHA256": "ab" * 32}
    checks = examine("--gpus=0", **weights)
    assert _failed(checks) == ["weights"]
    assert f"expected {'ab' * 32}" in checks["weights"].found


def test_a_bucket_that_only_the_workers_do_not_reach_is_told_by_the_worker(examine: Examine) -> None:
    checks = examine("--gpus=0", STYLEFLEET_WORKER_S3_ENDPOINT="http://127.0.0.1:9")
    assert _failed(checks) == ["worker-bucket"]
    assert checks["bucket"].outcome == "ok"


def test_a_queue_that_nobody_looks_after_is_told(examine: Examine) -> None:
    checks = examine("--gpus=0", "--queue=gpu-batch")
    assert _failed(checks) == ["queue"]
    assert "nobody looks after the queue gpu-batch" in checks["queue"].found
