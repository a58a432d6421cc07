"""Why nobody is at work on a Job, or why it failed: pods and events (JSON from the API) -> words and what to do. Pure.

The cluster's own words stand first, since they name what is missing; ours say where that is set.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stylefleet.errors import ExitCode

_STARTING = (None, "ContainerCreating", "PodInitializing")
"""Reasons to wait that pass by themselves."""
IMAGE_REASONS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
)
_SAID_CHARACTERS_MAX = 600
_OOM_EXIT_CODE = 137


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One thing that is wrong."""

    reason: str
    """One word, Kubernetes' own where it has one."""
    found: str
    """What is seen, in the words of who saw it."""
    remedy: str
    """What to do."""

    def __str__(self) -> str:
        return ". ".join(part for part in (f"{self.reason}: {self.found}".rstrip(". :"), self.remedy) if part)


@dataclass(frozen=True, kw_only=True)
class _Remedy:
    """What to do where one of `reasons` comes with words that match `pattern`."""

    reasons: frozenset[str]
    pattern: str
    remedy: str


def _of(reasons: str | frozenset[str], pattern: str, remedy: str) -> _Remedy:
    return _Remedy(
        reasons=frozenset(reasons.split()) if isinstance(reasons, str) else reasons, pattern=pattern, remedy=remedy
    )


_CREATE = "FailedCreate"
_MOUNT = "FailedMount FailedAttachVolume FailedMapVolume"
_START = "CreateContainerError RunContainerError StartError ContainerCannotRun"
_REMEDIES = (
    _of("InvalidImageName", "", "Correct STYLEFLEET_WORKER_IMAGE: this is not the name of an image"),
    _of(
        "ErrImageNeverPull", "", "Load the image on every node, or set another imagePullPolicy in STYLEFLEET_WORKER_POD"
    ),
    _of(
        IMAGE_REASONS,
        r"not found|manifest unknown|does not exist",
        "The registry has no such image: push it, or correct STYLEFLEET_WORKER_IMAGE",
    ),
    _of(
        IMAGE_REASONS,
        r"unauthorized|denied|authentication|authorization|credential|\b40[13]\b",
        "The registry refuses the nodes: name imagePullSecrets in STYLEFLEET_WORKER_POD, or let the nodes pull",
    ),
    _of(
        IMAGE_REASONS,
        r"dial tcp|no such host|i/o timeout|connection refused|deadline exceeded",
        "The nodes do not reach the registry: check its name in STYLEFLEET_WORKER_IMAGE, and the nodes' network",
    ),
    _of(
        "CreateContainerConfigError",
        r"secret .*not found|couldn't find key",
        "Create that Secret in the Jobs' namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or correct "
        "STYLEFLEET_WORKER_SECRET",
    ),
    _of(
        "CreateContainerConfigError",
        r"runAsNonRoot|non-root",
        "The image's user is root and the pods must not be: build it from this project's Dockerfile",
    ),
    _of(
        "Unschedulable",
        r"Insufficient (?!cpu\b|memory\b|ephemeral-storage\b|pods\b)\S+",
        "No node offers so many of this resource, or all are taken. Compare STYLEFLEET_GPU_RESOURCE with what nodes "
        "list as allocatable (is the device plugin running?), or wait for a GPU; a manifest with `resources: {gpu: 0}` "
        "computes on CPUs",
    ),
    _of(
        "Unschedulable",
        r"Insufficient (cpu|memory|ephemeral-storage)",
        "No node has that much left: lower STYLEFLEET_WORKER_CPU, STYLEFLEET_WORKER_MEMORY or "
        "STYLEFLEET_WORKER_SCRATCH, or add larger nodes",
    ),
    _of("Unschedulable", r"Insufficient pods|Too many pods", "The nodes are full of pods: add nodes, or wait"),
    _of(
        "Unschedulable",
        r"untolerated taint",
        "Add a toleration for that taint to STYLEFLEET_WORKER_POD, if workers are meant to run on such nodes",
    ),
    _of(
        "Unschedulable",
        r"node affinity/selector",
        "No node has the labels of the nodeSelector in STYLEFLEET_WORKER_POD: correct it, or label the nodes",
    ),
    _of(
        "Unschedulable",
        r"persistentvolumeclaim|PersistentVolume",
        "Create that PersistentVolumeClaim in the Jobs' namespace and see that it is bound, or correct its name",
    ),
    _of("SchedulingGated", "", "A controller of the cluster holds the pod back; see the pod's schedulingGates"),
    _of(
        _CREATE,
        r"exceeded quota",
        "The namespace's ResourceQuota leaves no room: raise it, wait, or lower the workers' requests",
    ),
    _of(
        _CREATE,
        r"violates PodSecurity",
        "The namespace's Pod Security Standard refuses the workers' pods: undo the setting that is named",
    ),
    _of(
        _CREATE,
        r"serviceaccount .*not found",
        "Create that ServiceAccount in the Jobs' namespace, or correct STYLEFLEET_WORKER_SERVICE_ACCOUNT",
    ),
    _of(_CREATE, r"PriorityClass", "Create that PriorityClass, or correct priorityClassName in STYLEFLEET_WORKER_POD"),
    _of(_CREATE, r"RuntimeClass", "Create that RuntimeClass, or correct runtimeClassName in STYLEFLEET_WORKER_POD"),
    _of(_CREATE, r"(?:maximum|minimum) \S+ usage", "A LimitRange of the namespace refuses the workers' requests"),
    _of(_CREATE, r"admission webhook|ValidatingAdmissionPolicy", "A policy of the cluster refuses the workers' pods"),
    _of(_MOUNT, "", "A volume of the pod cannot be mounted: check the claim or Secret that is named"),
    _of("FailedCreatePodSandBox", "", "The node cannot set the pod up: check its network plugin and runtime class"),
    _of(_START, "", "The node cannot start the container: check the image's entry point and the GPU's runtime"),
    _of("Evicted", "", "The node ran short, or the pod wrote more than STYLEFLEET_WORKER_SCRATCH"),
    _of("OOMKilled", "", "The worker needs more memory than STYLEFLEET_WORKER_MEMORY: raise it"),
)
_GENERAL = {
    **dict.fromkeys(IMAGE_REASONS, "Check STYLEFLEET_WORKER_IMAGE, and that the nodes may pull it"),
    "CreateContainerConfigError": "Check the Secrets and ConfigMaps that the workers use",
    "Unschedulable": "Check the workers' requests, nodeSelector and tolerations against the nodes",
    _CREATE: "The cluster refuses the workers' pods as they are",
}


def remedy(reason: str, found: str) -> str:
    """What to do about `reason` that was told with the words `found`; empty where nothing is known."""
    fitting = [
        r.remedy for r in _REMEDIES if reason in r.reasons and (not r.pattern or re.search(r.pattern, found, re.I))
    ]
    return ". ".join(fitting) or _GENERAL.get(reason, "")


def _diagnosis(reason: str, found: str) -> Diagnosis:
    return Diagnosis(reason=reason, found=found, remedy=remedy(reason, found))


def of_waiting(pods: Iterable[Mapping[str, Any]]) -> Diagnosis | None:
    """What holds up pods that are not at work; None where none of them says anything."""
    for pod in pods:
        status = pod.get("status") or {}
        for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") not in _STARTING:
                return _diagnosis(waiting["reason"], waiting.get("message") or "")
        unscheduled = unscheduled_because(pod)
        if unscheduled is not None:
            return unscheduled
    return None


def unscheduled_because(pod: Mapping[str, Any]) -> Diagnosis | None:
    """Why no node takes the pod; None where one did, or the scheduler has not looked yet."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return _diagnosis(condition.get("reason") or "Unscheduled", condition.get("message") or "")
    return None


def of_events(events: Iterable[Mapping[str, Any]], *, since: str = "") -> Diagnosis | None:
    """The newest warning that is not older than `since` (RFC 3339): before that it is history."""
    warnings = [e for e in events if e.get("type") == "Warning" and seen_at(e) >= since]
    if not warnings:
        return None
    newest = max(warnings, key=seen_at)
    return _diagnosis(newest.get("reason") or "Warning", newest.get("message") or "")


def seen_at(event: Mapping[str, Any]) -> str:
    """When it was seen last; whole seconds, so that both of the API's forms of time compare."""
    series = event.get("series") or {}
    time = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    return f"{(time or event['metadata'].get('creationTimestamp') or '')[:19]}Z"


def of_ended(pods: Sequence[Mapping[str, Any]]) -> Diagnosis | None:
    """What the newest pod that failed said last; None where none failed."""
    failed = [p for p in pods if (p.get("status") or {}).get("phase") == "Failed"]
    if not failed:
        return None
    pod = max(failed, key=lambda p: p["metadata"].get("creationTimestamp") or "")
    status = pod["status"]
    ended = [(c.get("state") or {}).get("terminated") for c in status.get("containerStatuses") or []]
    for terminated in filter(None, ended):
        code, reason = terminated.get("exitCode"), terminated.get("reason") or "Error"
        if code == 0:
            continue
        if reason == "OOMKilled":
            return _diagnosis(reason, f"killed for its memory (exit code {code})")
        return of_exit(code, terminated.get("message") or "")
    return _diagnosis(status.get("reason") or "PodFailed", status.get("message") or "")


def of_exit(code: int, log: str) -> Diagnosis:
    """What a worker process that ended badly says by its exit code and the end of its log."""
    said = last_words(log) or "it left no word"
    if code == ExitCode.SHARD_INVALID:
        return Diagnosis(
            reason="WorkerRefused", found=said, remedy="Mend that and submit again; trying again would not"
        )
    if code in (_OOM_EXIT_CODE, -9):
        return Diagnosis(reason="WorkerKilled", found=said, remedy="It was killed, perhaps for its memory")
    return Diagnosis(reason="WorkerFailed", found=f"{said} (exit code {code})", remedy="")


def last_words(log: str) -> str:
    """The error that a worker logged last (a JSON line that has one), or else its last line."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # no line of our log; if none is, the last one is told as it is
        if isinstance(entry, dict) and entry.get("error"):
            return _shortened(str(entry["error"]))
    return _shortened(lines[-1]) if lines else ""


def _shortened(text: str) -> str:
    return text if len(text) <= _SAID_CHARACTERS_MAX else text[: _SAID_CHARACTERS_MAX - 1] + "…"


def of_suspended(queue: str | None, *, evicted: bool, said: str) -> Diagnosis:
    """Of a Job that is suspended. `said` is what its queue says, or the Job itself; empty where that is nothing."""
    more = f": {_shortened(said)}" if said else ""
    if queue is None:
        return Diagnosis(
            reason="Suspended",
            found=f"the Job is suspended{more}",
            remedy="A queue has not admitted it yet, or somebody suspended it by hand (kubectl describe job)",
        )
    if evicted:
        return Diagnosis(
            reason="Evicted",
            found=f"the queue {queue} has stopped the Job, which was at work{more}",
            remedy="It goes on when the queue admits it again; what is finished stays",
        )
    lost = "Its quota is in use, or there is no LocalQueue of that name here: kubectl get localqueues,workloads"
    return Diagnosis(
        reason="QueueNotAdmitted",
        found=f"the queue {queue} has not admitted the Job{more}",
        remedy="" if said else lost,
    )


STARTING = Diagnosis(
    reason="Starting",
    found="pods have a node and are being set up",
    remedy="The image is being pulled or a volume mounted; the first time this takes some minutes",
)
NO_POD = Diagnosis(
    reason="NoPod",
    found="the cluster has made no pod for the Job yet and names no reason",
    remedy="If this stays, see kubectl describe job",
)
EVENTS_UNREADABLE = Diagnosis(
    reason="EventsUnreadable",
    found="the cluster has made no pod, or cannot set it up, and the events that say why may not be read",
    remedy="Allow the controller to list events in the Jobs' namespace, or see kubectl describe job",
)
