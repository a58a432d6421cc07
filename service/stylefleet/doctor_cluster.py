"""The doctor's judgement of a cluster: rights, and what became of the probe. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stylefleet import diagnosis
from stylefleet.checks import Check, failed, from_json, ok, skipped
from stylefleet.diagnosis import IMAGE_REASONS, Diagnosis
from stylefleet.errors import RecordUnreadable
from stylefleet.naming import LABEL_QUEUE
from stylefleet.probe_job import ProbeFacts
from stylefleet.rights import Right

WORKER_IDS = ("worker-credentials", "worker-bucket", "weights", "engine")
"""What a worker says of itself."""
PROBE_IDS = ("queue", "schedulable", "image", "worker", *WORKER_IDS)
CLUSTER_IDS = ("rbac", *PROBE_IDS)


def judge_rights(allowed: Mapping[Right, bool], namespace: str) -> Check:
    """The check rbac."""
    missing = [right for right, granted in allowed.items() if not granted]
    if not missing:
        return ok("rbac", f"all {len(allowed)} rights that the controller uses in namespace {namespace} are granted")
    found = "; ".join(f"may not {right} ({right.purpose})" for right in missing)
    remedy = f"Add to the Role of this service account in namespace {namespace}: {', '.join(map(str, missing))}"
    return failed("rbac", f"in namespace {namespace}: {found}", remedy)


def judge_probe(facts: ProbeFacts) -> list[Check]:
    """The checks queue, schedulable, image, worker, and what the worker says of itself."""
    queue = _queue(facts)
    if facts.suspended:
        return [queue, *skipped(PROBE_IDS[1:], "the queue has not let the probe start")]
    if facts.pod is None:
        seen = diagnosis.of_events(facts.warnings) or diagnosis.NO_POD
        return [queue, _failed("schedulable", seen), *skipped(PROBE_IDS[2:], "no pod was made")]
    node = (facts.pod.get("spec") or {}).get("nodeName")
    if not node:
        seen = diagnosis.unscheduled_because(facts.pod) or diagnosis.NO_POD
        return [queue, _failed("schedulable", seen), *skipped(PROBE_IDS[2:], "no node takes the pod")]
    return [
        queue,
        ok("schedulable", f"node {node} takes the pod ({_requests(facts.pod)})"),
        *_on_node(facts, facts.pod),
    ]


def _failed(id: str, seen: Diagnosis) -> Check:
    return failed(id, f"{seen.reason}: {seen.found}".rstrip(": "), seen.remedy)


def _queue(facts: ProbeFacts) -> Check:
    queue = (facts.job["metadata"].get("labels") or {}).get(LABEL_QUEUE)
    if facts.suspended:
        return _failed("queue", diagnosis.of_suspended(queue, evicted=False, said=""))
    if queue is None:
        return skipped(["queue"], "no queue was asked for")[0]
    # A queue's webhook suspends a Job when it is made; without that nobody queues it, whatever its label says.
    if not facts.job["spec"].get("suspend"):
        return failed(
            "queue",
            f"nobody looks after the queue {queue}: the Job was started at once",
            "Install Kueue with its integration for batch/job and let it manage this namespace, or unset the queue",
        )
    return ok("queue", f"{queue} admitted the Job")


def _on_node(facts: ProbeFacts, pod: Mapping[str, Any]) -> list[Check]:
    """The checks image, worker and the worker's own."""
    phase, image = pod["status"].get("phase"), pod["spec"]["containers"][0]["image"]
    pulled = ok("image", f"{image} was pulled")
    if phase in ("Succeeded", "Failed"):
        return [pulled, *_ended(pod)]
    if phase == "Running":
        late = failed(
            "worker",
            f"the pod runs, but has not finished its checks after {facts.seconds:.0f} s",
            "Its node is slow, or the store does not answer it: see the pod's log, or wait longer (--wait-seconds)",
        )
        return [pulled, late, *skipped(WORKER_IDS, "the worker did not say in time")]
    waits = diagnosis.of_waiting([pod])
    if waits is not None and waits.reason not in IMAGE_REASONS:
        return [pulled, _failed("worker", waits), *skipped(WORKER_IDS, "the container cannot start")]
    if waits is not None:
        return [_failed("image", waits), *skipped(PROBE_IDS[3:], "there is no image to run")]
    return _being_set_up(facts, image)


def _ended(pod: Mapping[str, Any]) -> list[Check]:
    states = [c.get("state") or {} for c in pod["status"].get("containerStatuses") or []]
    message = "".join((state.get("terminated") or {}).get("message") or "" for state in states)
    try:
        return [ok("worker", "the pod ran and told what it met"), *from_json(message)]
    except RecordUnreadable:
        seen = diagnosis.of_ended([pod]) or Diagnosis(reason="Silent", found="the pod ended without a word", remedy="")
        remedy = seen.remedy or "See the pod's log; is the image of this version, and its entry point `stylefleet`?"
        worker = failed("worker", f"{seen.reason}: {seen.found}", remedy)
        return [worker, *skipped(WORKER_IDS, "the worker did not say")]


def _being_set_up(facts: ProbeFacts, image: str) -> list[Check]:
    trouble = diagnosis.of_events(facts.warnings)
    if trouble is not None:
        why = "the pod could not be set up"
        return [*skipped(["image"], why), _failed("worker", trouble), *skipped(WORKER_IDS, why)]
    late = failed(
        "image",
        f"{image} is still being pulled, or a volume mounted, after {facts.seconds:.0f} s",
        "Large images take minutes the first time: wait longer (--wait-seconds), or see kubectl describe pod",
    )
    return [late, *skipped(PROBE_IDS[3:], "the container has not started")]


def _requests(pod: Mapping[str, Any]) -> str:
    requests = pod["spec"]["containers"][0].get("resources", {}).get("requests") or {}
    return ", ".join(f"{name} {amount}" for name, amount in requests.items())
