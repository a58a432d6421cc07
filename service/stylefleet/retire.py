"""The end of a service in a cluster: its Jobs go, whatever they were doing. Nothing in the bucket is touched."""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog

from stylefleet.cluster import Cluster
from stylefleet.errors import ClusterUnavailable

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 1.0


def retire(cluster: Cluster, bucket: str, *, namespaces: Sequence[str], seconds: float) -> int:
    """Delete every Job of this service's bucket and wait for the end of its pods; how many there were.

    Workers are told to stop and write what they have; a controller that is installed again goes on with the runs.
    Raises ClusterUnavailable where some are still there after `seconds`: a controller makes new ones or a node is away;
    and, at the end, what a namespace answered whose Jobs could not be listed.
    """
    retired: set[str] = set()
    deadline = time.monotonic() + seconds
    while jobs := [job for job in cluster.list_jobs() if job.bucket == bucket]:
        if time.monotonic() > deadline:
            left = ", ".join(job.name for job in jobs)
            why = "does a controller still run, or is a node away?"
            raise ClusterUnavailable(f"after {seconds:.0f} s these Jobs are still there: {left}; {why}")
        for job in jobs:
            cluster.delete_job(job)
            retired.add(job.uid)
        time.sleep(PAUSE_SECONDS)
    log.info("retired", jobs=len(retired))
    for namespace in namespaces:
        cluster.require_listed(namespace)
    return len(retired)
