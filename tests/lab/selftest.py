"""`python -m tests.lab.selftest`: does the running lab do what the service asks of a cluster?

One Indexed Job of three indexes, of which the second exits with 42 and is to be given up at once; every pod asks for
a GPU, runs restricted, and must reach a server that listens on this machine at the address meant for it.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from .errors import LabError
from .lab import Lab
from .settings import GPU_RESOURCE
from .shell import say

IMAGE = "localhost/stylefleet-selftest:1"
DOCKERFILE = 'ARG BASE_IMAGE=python:3.11-slim-bookworm\nFROM ${BASE_IMAGE} AS selftest\nCMD ["python3", "--version"]\n'
NAME = "selftest"
PORT = 18080
TIMEOUT_SECONDS = 90.0
EXPECTED = {"completedIndexes": "0,2", "failedIndexes": "1"}


def job(host: str) -> dict[str, Any]:
    """The Job: index 1 exits with 42, the others fetch a page from this machine."""
    script = (
        f"import os, sys, urllib.request; print(urllib.request.urlopen('http://{host}:{PORT}/', timeout=10).status); "
        "sys.exit(42 if os.environ['JOB_COMPLETION_INDEX'] == '1' else 0)"
    )
    container = {
        "name": "worker",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", script],
        "resources": {"limits": {GPU_RESOURCE: 1, "memory": "128Mi", "cpu": "500m"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    }
    pod = {
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "16Mi"}}],
    }
    fail_index = {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [42]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": NAME, "namespace": NAME},
        "spec": {
            "completionMode": "Indexed",
            "completions": 3,
            "parallelism": 3,
            "backoffLimitPerIndex": 1,
            "maxFailedIndexes": 3,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": [fail_index]},
            "template": {"spec": pod},
        },
    }


def namespace() -> dict[str, Any]:
    """A namespace that takes restricted pods only."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAME, "labels": labels}}


def load_test_image(lab: Lab) -> None:
    """Build and load the pods' image: a Dockerfile of a toy project, on the same base as the real one."""
    with tempfile.TemporaryDirectory(prefix="selftest-") as folder:
        (Path(folder) / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
        lab.load_image(lab.build_image(tag=IMAGE, context=Path(folder), target="selftest"))


def run_job(lab: Lab) -> dict[str, Any]:
    """Create the Job and wait until it ended; give its status."""
    for document in (namespace(), job(lab.host_ip_for_pods)):
        lab.kubectl("create", "--filename=-", input_text=json.dumps(document))
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        status: dict[str, Any] = json.loads(lab.kubectl("get", "job", NAME, f"--namespace={NAME}", "--output=json"))[
            "status"
        ]
        ends = {each["type"] for each in status.get("conditions", []) if each["status"] == "True"}
        if ends & {"Complete", "Failed"}:
            return status
        if time.monotonic() > deadline:
            seen = lab.kubectl("get", "pods,events", f"--namespace={NAME}")
            raise LabError(f"the Job did not end in {TIMEOUT_SECONDS:g} s: {json.dumps(status)}\n{seen}")
        time.sleep(0.5)


def selftest(lab: Lab) -> dict[str, Any]:
    """Serve a page in the lab's network, run the Job against it, and give the Job's status."""
    load_test_image(lab)
    server = [sys.executable, "-m", "http.server", str(PORT), f"--bind={lab.host_ip_for_pods}"]
    with tempfile.TemporaryDirectory(prefix="selftest-") as folder:
        serving = subprocess.Popen(
            [*lab.nsenter_prefix(), *server], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            return run_job(lab)
        finally:
            serving.kill()
            serving.wait()
            lab.kubectl("delete", "namespace", NAME, "--ignore-not-found", timeout_seconds=90)


def main() -> int:
    """Print what the Job says, and whether it is what was expected."""
    started = time.monotonic()
    try:
        status = selftest(Lab())
    except LabError as error:
        print(f"selftest: {error}", file=sys.stderr)
        return 1
    found = {key: status.get(key, "") for key in EXPECTED}
    print(json.dumps(found))
    say(f"selftest: {time.monotonic() - started:.1f} s")
    if found != EXPECTED:
        print(f"selftest: expected {json.dumps(EXPECTED)}; the whole status: {json.dumps(status)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
