"""A pod that is deleted, as by a drained node or a spot notice: what it keeps, how long it takes, and who goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from stylefleet import naming
from stylefleet.jobs import GRACE_SECONDS
from tests.cluster.conftest import Kubernetes
from tests.fleet import Fleet, eventually

pytestmark = pytest.mark.timeout(2400)  # the first test also builds the lab and the image

PROMISE_SECONDS = 15
"""From the deletion to the end of the container; the kubelet would wait twice as long."""
KEPT = "example.com/kept"


@dataclass(frozen=True, kw_only=True)
class Pods:
    """Those of one run."""

    kubernetes: Kubernetes
    namespace: str
    name: str
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The last that was seen of each, by its name: of one that is gone, how it ended."""

    def look(self) -> list[dict[str, Any]]:
        selector = f"--selector={naming.LABEL_NAME}={self.name}"
        found = self.kubernetes.get("pods", f"--namespace={self.namespace}", selector)["items"]
        self.seen.update({pod["metadata"]["name"]: pod for pod in found})
        return list(found)

    def state(self, pod: str, state: str) -> dict[str, Any]:
        """What the container of a pod says of this state; empty where it is not in it."""
        self.look()
        statuses = self.seen[pod]["status"].get("containerStatuses") or [{"state": {}}]
        found: dict[str, Any] = statuses[0]["state"].get(state) or {}
        return found

    def running(self, *, besides: str = "") -> str:
        """The name of the pod whose container runs."""

        def one() -> str:
            names = [pod["metadata"]["name"] for pod in self.look()]
            return next((name for name in names if name != besides and self.state(name, "running")), "")

        name: str = eventually(one, "a container runs")
        return name

    @contextmanager
    def kept(self, pod: str) -> Iterator[None]:
        """Within, the object of a deleted pod stays to be looked at."""
        patch = ("patch", "pod", pod, f"--namespace={self.namespace}", "--type=strategic")
        self.kubernetes.kubectl(*patch, f'--patch={{"metadata": {{"finalizers": ["{KEPT}"]}}}}')
        try:
            yield
        finally:
            self.kubernetes.kubectl(
                *patch, f'--patch={{"metadata": {{"$deleteFromPrimitiveList/finalizers": ["{KEPT}"]}}}}'
            )

    def delete(self, pod: str) -> tuple[int, timedelta]:
        """Delete a pod; the exit code of its container, and the time from the deletion to its end (in whole seconds, as
        Kubernetes keeps them)."""
        with self.kept(pod):
            self.kubernetes.kubectl("delete", "pod", pod, f"--namespace={self.namespace}", "--wait=false")
            ended = eventually(lambda: self.state(pod, "terminated"), "the container has ended")
            metadata = self.seen[pod]["metadata"]
        assert metadata["deletionGracePeriodSeconds"] == GRACE_SECONDS
        deleted_at = datetime.fromisoformat(metadata["deletionTimestamp"]) - timedelta(seconds=GRACE_SECONDS)
        return ended["exitCode"], datetime.fromisoformat(ended["finishedAt"]) - deleted_at

    def log(self, pod: str, event: str) -> list[dict[str, Any]]:
        lines = self.kubernetes.kubectl("logs", pod, f"--namespace={self.namespace}").splitlines()
        parsed = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in parsed if line["event"] == event]


def test_a_deleted_pod_keeps_its_place_in_time_and_the_next_one_goes_on_from_there(
    kubernetes: Kubernetes, namespace: str, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet.put_shapes(3)
    recipe = {"scales": [{"size": 256, "iterations": 120}]}  # a picture takes longer than it takes to delete a pod
    fleet.submit("deleted", recipe=recipe, run={"parallelism": 1})
    pods = Pods(kubernetes=kubernetes, namespace=namespace, name="deleted")
    eventually(lambda: fleet.receipts("deleted"), "a first receipt")
    first = pods.running()

    exit_code, took = pods.delete(first)

    with capsys.disabled():
        print(f"\na pod in mid-picture: {took.total_seconds():.0f} s from its deletion to the end of its container")
    assert exit_code == 143
    assert took <= timedelta(seconds=PROMISE_SECONDS)
    second = pods.running(besides=first)
    fleet.wait("deleted", "Succeeded")
    assert len(pods.log(second, "checkpoint_found")) == 1, "it went on where the first was ended"
    receipts = fleet.receipts("deleted")
    assert sorted(r.content for r in receipts) == [f"s3://{fleet.bucket}/catalog/{i}.jpg" for i in range(3)]
    assert {r.attempt for r in receipts} == {first, second}
    job = kubernetes.get("job", pods.seen[second]["metadata"]["labels"]["job-name"], f"--namespace={namespace}")
    assert not job["status"].get("failed"), "a deletion counts as no failure"


def test_a_pod_that_is_deleted_while_it_starts_ends_at_once(
    kubernetes: Kubernetes, namespace: str, fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    """Process 1 of a container gets only signals that it waits for; it does so before it imports TensorFlow."""
    fleet.put_shapes(1)
    fleet.submit("early")
    pods = Pods(kubernetes=kubernetes, namespace=namespace, name="early")
    exit_code, took = pods.delete(pods.running())
    with capsys.disabled():
        print(f"\na pod that starts: {took.total_seconds():.0f} s from its deletion to the end of its container")
    assert exit_code == 143
    assert took <= timedelta(seconds=PROMISE_SECONDS)
    fleet.wait("early", "Succeeded")
