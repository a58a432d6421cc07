"""What Kueue says of a Job that it holds back: its Workload, or events (JSON from the API) -> words. Pure.

Kueue's webhook suspends a Job when it is made. To admit it, Kueue unsuspends it and writes node selectors, tolerations
and labels into the pod template and, where the Job allows fewer pods than it asks for, its parallelism. To evict it,
Kueue suspends it again, so that its pods end, takes all that back and forgets the start. Nothing of a queue's Job is
written by us after it was made, so nothing of this is undone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ANNOTATION_MIN_PARALLELISM = "kueue.x-k8s.io/job-min-parallelism"
"""How many pods are enough to begin with; must be less than the Job's parallelism."""
LABEL_JOB_UID = "kueue.x-k8s.io/job-uid"
"""Of a Workload: whose it is."""
_CREATED = re.compile(r"Created Workload: [^/\s]+/(?P<name>[a-z0-9.-]+)")

Json = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Said:
    """What is known of a Job's place in its queue."""

    words: str = ""
    evicted: bool = False
    """Whether it was admitted once, and was stopped."""


def of_workload(workload: Json) -> Said:
    """What the Workload of a suspended Job says."""
    status = workload.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    evicted, quota = conditions.get("Evicted", {}), conditions.get("QuotaReserved", {})
    parts = [evicted.get("message")] if evicted.get("status") == "True" else []
    if (workload.get("spec") or {}).get("active") is False:
        name = workload["metadata"]["name"]
        parts.append(f"the Workload {name} is deactivated, and stays so until somebody sets its spec.active to true")
    elif quota.get("status") == "True":
        checks = [c for c in status.get("admissionChecks") or [] if c.get("state") != "Ready"]
        parts += [f"its quota is reserved, but the check {c['name']} says {_check(c)}" for c in checks]
    else:
        parts.append(quota.get("message"))
    return Said(words=_sentences(parts), evicted=evicted.get("status") == "True")


def _check(check: Json) -> str:
    return ": ".join(filter(None, [check.get("state") or "nothing", check.get("message")]))


def workload_name(job_events: Iterable[Json]) -> str:
    """The name of a Job's Workload, as Kueue told when it made it; empty where that is not there any more."""
    for event in job_events:
        match = _CREATED.search(event.get("message") or "")
        if event.get("reason") == "CreatedWorkload" and match:
            return match["name"]
    return ""


def of_events(job_events: Sequence[Json], workload_events: Sequence[Json]) -> Said:
    """The same, from what is left of events, both oldest first."""
    started = any(e.get("reason") == "Started" for e in job_events)
    stopped = [e.get("message") for e in job_events if e.get("reason") == "Stopped"]
    pending = [e.get("message") for e in workload_events if e.get("reason") == "Pending"]
    return Said(words=_sentences([*stopped[-1:], *pending[-1:]]), evicted=started and bool(stopped))


def _sentences(parts: Iterable[str | None]) -> str:
    """Each once: right after an eviction two conditions have one message."""
    return ". ".join(dict.fromkeys(part.strip().rstrip(".") for part in parts if part and part.strip()))
