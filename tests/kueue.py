"""What Kueue does to a Job, replayed on its JSON: the same changes in the same order as Kueue 0.19 makes them.

From `pkg/controller/jobs/job` and `pkg/controller/jobframework` of kubernetes-sigs/kueue: the webhook suspends,
admission merges what the flavor says into the template, eviction suspends, resets the start and restores the template.
"""

from __future__ import annotations

import copy
from typing import Any

from stylefleet import naming
from stylefleet.kueue import ANNOTATION_MIN_PARALLELISM

Json = dict[str, Any]
STOPPING = "kueue.x-k8s.io/stopping"
FLAVOR_LABELS = {"cloud.example.com/gpu": "l4"}
TOLERATION = {"key": "spot", "operator": "Exists", "effect": "NoSchedule"}


class Kueue:
    """One Job of a queue and its Workload."""

    def __init__(self, job: Json) -> None:
        """As the webhook does when the Job is made."""
        assert naming.LABEL_QUEUE in job["metadata"]["labels"], "Kueue leaves other Jobs alone"
        self.job = job
        self.spec = job["spec"]
        self._restored = copy.deepcopy({k: self.spec[k] for k in ("parallelism", "template")})
        smallest = self._min_parallelism()
        assert smallest is None or 0 < smallest < self.spec["parallelism"], "what the webhook refuses"
        self.spec["suspend"] = True
        self._condition("Suspended", "True", "JobSuspended", "Job suspended")
        name = f"job-{job['metadata']['name']}-1a2b3"
        self.workload: Json = {
            "metadata": {"name": name, "labels": {"kueue.x-k8s.io/job-uid": job["metadata"]["uid"]}},
            "spec": {"active": True},
            "status": {"conditions": []},
        }
        self.job_events: list[Json] = [_event("CreatedWorkload", f"Created Workload: art/{name}")]
        self.workload_events: list[Json] = []

    def _min_parallelism(self) -> int | None:
        text = self.job["metadata"].get("annotations", {}).get(ANNOTATION_MIN_PARALLELISM)
        return None if text is None else int(text)

    def pend(self, message: str) -> None:
        """There is no room for it."""
        self._says("QuotaReserved", "False", "Pending", message)
        self.workload_events.append(_event("Pending", message))

    def admit(self, *, count: int | None = None) -> None:
        """There is room for all of its pods, or, where it allows that, for `count`."""
        assert self.spec["suspend"]
        self._says("QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue gpus")
        self._says("Admitted", "True", "Admitted", "The workload is admitted")
        for condition in self.workload["status"]["conditions"]:
            if condition["type"] == "Evicted":
                condition["status"] = "False"
        if self._min_parallelism() is not None and count is not None:
            self.spec["parallelism"] = count
        pod = self.spec["template"]["spec"]
        pod["nodeSelector"] = pod.get("nodeSelector", {}) | FLAVOR_LABELS
        pod["tolerations"] = [*pod.get("tolerations", []), TOLERATION]
        self.spec["template"]["metadata"]["labels"]["kueue.x-k8s.io/podset"] = "main"
        self.spec["suspend"] = False
        self._condition("Suspended", "False", "JobResumed", "Job resumed")
        self.job["status"]["startTime"] = "2026-03-01T12:00:00Z"
        self.job_events.append(_event("Started", "Admitted by clusterQueue gpus"))

    def evict(self, reason: str, message: str) -> None:
        """Its pods are stopped; what succeeded so far stays in the Job's status."""
        self._says("Evicted", "True", reason, message)
        self._says("QuotaReserved", "False", "Pending", message)
        self._says("Admitted", "False", "NoReservation", "The workload has no reservation")
        self.spec["suspend"] = True
        self.job["metadata"].setdefault("annotations", {})[STOPPING] = "true"
        self.job["status"].pop("startTime", None)
        self.job["status"] |= {"active": 0, "ready": 0}
        self._condition("Suspended", "True", "JobSuspended", "Job suspended")
        self.spec |= copy.deepcopy(self._restored)
        del self.job["metadata"]["annotations"][STOPPING]
        self.job_events.append(_event("Stopped", message))

    def deactivate(self, message: str) -> None:
        """It is not requeued any more."""
        self.workload["spec"]["active"] = False
        self._says("Evicted", "True", "Deactivated", message)

    def _says(self, kind: str, status: str, reason: str, message: str) -> None:
        conditions = self.workload["status"]["conditions"]
        conditions[:] = [c for c in conditions if c["type"] != kind]
        conditions.append({"type": kind, "status": status, "reason": reason, "message": message})

    def _condition(self, kind: str, status: str, reason: str, message: str) -> None:
        conditions = [c for c in self.job["status"].get("conditions", []) if c["type"] != kind]
        conditions.append({"type": kind, "status": status, "reason": reason, "message": message})
        self.job["status"]["conditions"] = conditions


def _event(reason: str, message: str) -> Json:
    return {"type": "Normal", "reason": reason, "message": message, "lastTimestamp": "2026-03-01T12:00:00Z"}
