"""The doctor's probe: a Job of the workers' own template whose one pod says what a worker meets. Pure.

Scheduler, quota, Pod Security, registry, Secret, network and GPU are those that real workers will meet, and the rights
to create Jobs and to list pods and events, which the controller has, are enough to see it. It never looks like a run:
its Job has other labels, so that no controller takes it for an orphan. It ends by itself, whatever becomes of the
doctor.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from stylefleet import naming
from stylefleet.diagnosis import IMAGE_REASONS
from stylefleet.jobs import Json, WorkerTemplate, job_for
from stylefleet.naming import Ref
from stylefleet.plan import Plan, ShardEntry
from stylefleet.presets import recipe_for
from stylefleet.terms import Terms

NAME = "doctor"
MANAGED_BY = "stylefleet-doctor"
REPORT_PATH = "/dev/termination-log"
"""Where a pod leaves its last words, up to 4096 bytes; whoever may list pods can read them."""
TTL_SECONDS = 60
HOPELESS = (IMAGE_REASONS - {"ErrImagePull"}) | {"CreateContainerConfigError", "CreateContainerError"}
"""Reasons to wait that time alone does not mend. (A first ErrImagePull may be a hiccup of the registry.)"""


@dataclass(frozen=True, kw_only=True)
class ProbeFacts:
    """What became of the probe."""

    job: Json
    """As the API server answered to its creation."""
    suspended: bool = False
    """Whether a queue holds it back still."""
    pod: Json | None = None
    """None where none was made."""
    warnings: list[Json] = field(default_factory=list)
    """Events about the pod, or else about the Job."""
    seconds: float = 0.0
    """How long it was watched."""

    @property
    def settled(self) -> bool:
        """Whether nothing more is to be learned by waiting."""
        if self.pod is None:
            return not self.suspended and any(w.get("reason") == "FailedCreate" for w in self.warnings)
        status = self.pod.get("status") or {}
        waiting = [
            ((c.get("state") or {}).get("waiting") or {}).get("reason") for c in status.get("containerStatuses") or []
        ]
        return status.get("phase") in ("Succeeded", "Failed") or any(reason in HOPELESS for reason in waiting)


def probe_job(template: WorkerTemplate, *, gpus: int, queue: str | None, nonce: str, seconds: int) -> Json:
    """The Job: one index, one attempt, at most `seconds`; `nonce` makes its name its own."""
    job = job_for(_plan(template, gpus=gpus, queue=queue, nonce=nonce), template)
    del job["metadata"]["finalizers"]
    job["metadata"]["labels"][naming.LABEL_MANAGED_BY] = MANAGED_BY
    job["spec"] |= {
        "backoffLimitPerIndex": 0,
        "activeDeadlineSeconds": seconds,
        "ttlSecondsAfterFinished": TTL_SECONDS,
    }
    container = job["spec"]["template"]["spec"]["containers"][0]
    container["args"] = ["doctor", "--worker", REPORT_PATH, "--gpus", str(gpus)]
    return job


def _plan(template: WorkerTemplate, *, gpus: int, queue: str | None, nonce: str) -> Plan:
    """A run of one shard, of which only the Job's own fields matter: no worker reads it."""
    run = hashlib.sha256(nonce.encode()).hexdigest()[:16]
    return Plan(
        name=NAME,
        run=run,
        manifest_digest="",
        planned_at=datetime.fromtimestamp(0, UTC),
        styles=(),
        companions=(),
        recipe=recipe_for(preset="draft", size_px=64),
        image_format="jpeg",
        quality=92,
        depth=8,
        keep_metadata=(),
        output_prefix=Ref(template.bucket, naming.CACHE_PREFIX),
        pictures=1,
        skipped=0,
        shards=(ShardEntry(index=0, tasks=1, digest=""),),
        parallelism=1,
        queue=queue,
        gpus=gpus,
        terms=Terms(),
    )
