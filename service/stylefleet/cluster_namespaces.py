"""Several namespaces as one Cluster: each Job is made, looked at and removed where it belongs.

A namespace that does not answer, or whose rights were taken away, holds up its own tenants and nobody else.
"""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from stylefleet.cluster import Cluster
from stylefleet.errors import StylefleetError
from stylefleet.jobs import JobView, Json

log = structlog.get_logger(__name__)


class NamespacedCluster:
    """A Cluster for each namespace."""

    def __init__(self, clusters: Mapping[str, Cluster]) -> None:
        self._clusters = clusters
        self._unlisted: dict[str, StylefleetError] = {}
        """What the last listing met, by namespace."""

    def create_job(self, job: Json) -> None:
        self._clusters[job["metadata"]["namespace"]].create_job(job)

    def list_jobs(self) -> list[JobView]:
        """Of all namespaces that answer; raises what the last one met where none does."""
        jobs: list[JobView] = []
        self._unlisted = {}
        for namespace, cluster in self._clusters.items():
            try:
                jobs += cluster.list_jobs()
            except StylefleetError as error:
                self._unlisted[namespace] = error
                log.warning("jobs_not_listed", namespace=namespace, error=str(error))
                if len(self._unlisted) == len(self._clusters):
                    raise
        return jobs

    def require_listed(self, namespace: str) -> None:
        if namespace in self._unlisted:
            raise self._unlisted[namespace]

    def release_job(self, job: JobView) -> None:
        self._clusters[job.namespace].release_job(job)

    def resize_job(self, job: JobView, parallelism: int) -> None:
        self._clusters[job.namespace].resize_job(job, parallelism)

    def delete_job(self, job: JobView) -> None:
        self._clusters[job.namespace].delete_job(job)

    def waiting_because(self, job: JobView) -> str:
        return self._clusters[job.namespace].waiting_because(job)

    def suspended_because(self, job: JobView, *, ran: bool) -> str:
        return self._clusters[job.namespace].suspended_because(job, ran=ran)

    def failed_because(self, job: JobView) -> str:
        return self._clusters[job.namespace].failed_because(job)
