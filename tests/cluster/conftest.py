"""A real Kubernetes for these tests: the lab on this machine, or the cluster of KUBECONFIG where the user set it.

With a cluster of your own, set also
  STYLEFLEET_TEST_CONTROLLER_IMAGE, STYLEFLEET_TEST_WORKER_IMAGE
                                this Dockerfile's targets controller and worker-cpu, pullable by its nodes
  STYLEFLEET_TEST_S3_ADDRESS    an address of this machine that its pods reach
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from stylefleet.jobs import WorkerTemplate
from stylefleet.local_s3 import ACCESS_KEY, SECRET_KEY, LocalS3, local_s3
from tests import container_images
from tests.builders import TEMPLATE
from tests.cluster.network_namespace import inside
from tests.fleet import Fleet, picture
from tests.lab import Lab, packages
from tests.requirements import absent

GPU_RESOURCE = "nvidia.com/gpu"


@dataclass(frozen=True, kw_only=True)
class Kubernetes:
    """The cluster under test."""

    kubeconfig: Path
    controller_image: str
    worker_image: str
    s3_address: str
    """Where pods reach servers that the tests start."""
    helm: Path
    """A real Helm."""

    def kubectl(self, *arguments: str, data: str | None = None) -> str:
        done = subprocess.run(
            ["kubectl", f"--kubeconfig={self.kubeconfig}", *arguments],
            input=data,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found


@pytest.fixture(scope="package")
def kubernetes() -> Iterator[Kubernetes]:
    if os.environ.get("KUBECONFIG"):
        yield _own_cluster()
        return
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("apt-get") is None:
        absent("the Kubernetes lab needs root on Debian; or set KUBECONFIG to a cluster of yours")
    if shutil.which("go") is None:
        absent("the Kubernetes lab is built with Go: install Go 1.24 or newer; or set KUBECONFIG to a cluster of yours")
    missing = packages.missing_packages()
    if missing and os.environ.get("CI") != "true":  # in CI the lab installs them itself
        absent(f"the Kubernetes lab needs Debian packages: apt-get install {' '.join(missing)}")
    lab = Lab()
    # Before the namespace is entered: builds need the registries, which are outside.
    lab.up()
    try:
        controller = lab.load_image(container_images.archive("controller"))
        worker = lab.load_image(container_images.archive("worker-cpu"))
        helm = lab.chart_tool("helm")
        kubectl_folder = lab.kubectl_program.parent
        with pytest.MonkeyPatch.context() as patch, inside(lab.netns):
            patch.setenv("PATH", f"{kubectl_folder}:{os.environ['PATH']}")
            yield Kubernetes(
                kubeconfig=lab.kubeconfig,
                controller_image=controller,
                worker_image=worker,
                s3_address=lab.host_ip_for_pods,
                helm=helm,
            )
    finally:
        lab.down()


def _own_cluster() -> Kubernetes:
    names = (
        "KUBECONFIG",
        "STYLEFLEET_TEST_CONTROLLER_IMAGE",
        "STYLEFLEET_TEST_WORKER_IMAGE",
        "STYLEFLEET_TEST_S3_ADDRESS",
    )
    values = [os.environ.get(name, "") for name in names]
    if not all(values):
        absent(f"with KUBECONFIG set, these must be set too: {', '.join(names[1:])} (see {__file__})")
    return Kubernetes(
        kubeconfig=Path(values[0]),
        controller_image=values[1],
        worker_image=values[2],
        s3_address=values[3],
        helm=Lab().chart_tool("helm"),
    )


def idle_template(namespace: str, bucket: str) -> WorkerTemplate:
    """Of workers whose image nobody has, so that they never run, and which ask for little."""
    return replace(
        TEMPLATE,
        namespace=namespace,
        bucket=bucket,
        image="localhost/no-such-image:1",
        service_account="default",
        credentials_secret=None,
        cpu="100m",
        memory="64Mi",
    )


def restricted_namespace(kubernetes: Kubernetes) -> str:
    """A new namespace that enforces the restricted Pod Security Standard, with the S3 server's credentials."""
    name = f"stylefleet-{uuid.uuid4().hex[:6]}"
    kubernetes.kubectl("create", "namespace", name)
    kubernetes.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    kubernetes.kubectl(
        *("create", "secret", "generic", "stylefleet-s3", f"--namespace={name}"),
        f"--from-literal=AWS_ACCESS_KEY_ID={ACCESS_KEY}",
        f"--from-literal=AWS_SECRET_ACCESS_KEY={SECRET_KEY}",
    )
    return name


@pytest.fixture(scope="package")
def namespace(kubernetes: Kubernetes) -> Iterator[str]:
    name = restricted_namespace(kubernetes)
    yield name
    kubernetes.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="package")
def s3(kubernetes: Kubernetes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalS3]:
    with local_s3(tmp_path_factory.mktemp("s3"), address=kubernetes.s3_address) as server:
        yield server


@pytest.fixture
def fleet(kubernetes: Kubernetes, namespace: str, s3: LocalS3, tmp_path: Path) -> Iterator[Fleet]:
    """A bucket, and a controller process that spawns real pods."""
    bucket = f"fleet-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(bucket)
    environment = {
        "STYLEFLEET_CLUSTER": "kubernetes",
        "KUBECONFIG": str(kubernetes.kubeconfig),
        "STYLEFLEET_NAMESPACE": namespace,
        "STYLEFLEET_WORKER_IMAGE": kubernetes.worker_image,
        "STYLEFLEET_WORKER_SECRET": "stylefleet-s3",
        "STYLEFLEET_WORKER_CPU": "100m",
        "STYLEFLEET_WORKER_MEMORY": "3Gi",
        "STYLEFLEET_GPU_RESOURCE": GPU_RESOURCE,
    }
    fleet = Fleet(s3=s3, store=s3.store(), bucket=bucket, folder=tmp_path, environment=environment)
    fleet.put("styles/style.jpg", picture(96, 64, seed=99))
    fleet.start()
    yield fleet
    fleet.stop()
