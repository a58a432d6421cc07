"""The cluster as Stylefleet sees it: somewhere that carries out Indexed Jobs. Two real ones obey one contract:
`KubernetesCluster` and `LocalCluster` (processes on this machine). `NamespacedCluster` makes one of several.
"""

from __future__ import annotations

from typing import Protocol

from stylefleet.jobs import JobView, Json


class Cluster(Protocol):
    """Indexed Jobs; safe to use from several threads.

    Every method may raise AccessDenied (permanent) and ClusterUnavailable (transient).
    """

    def create_job(self, job: Json) -> None:
        """Create a Job. A Job of that name for the same run counts as success; PreconditionFailed for another run."""
        ...

    def list_jobs(self) -> list[JobView]:
        """All Jobs that Stylefleet made; of several namespaces, those that answer."""
        ...

    def require_listed(self, namespace: str) -> None:
        """Raises what the last `list_jobs` met in this namespace: nobody knows which Jobs are there."""
        ...

    def release_job(self, job: JobView) -> None:
        """Take our finalizer off, so that the cluster may clean the Job up; no error where that is done."""
        ...

    def resize_job(self, job: JobView, parallelism: int) -> None:
        """Let this very Job (by uid) have so many pods at a time; no error where it is gone. Not for a Job of a queue,
        whose parallelism is the queue's."""
        ...

    def delete_job(self, job: JobView) -> None:
        """Release and delete this very Job (by uid) and its pods; no error where it is gone."""
        ...

    def waiting_because(self, job: JobView) -> str:
        """Why pods of the Job are not at work, in words with what to do; empty where nothing holds them up."""
        ...

    def suspended_because(self, job: JobView, *, ran: bool) -> str:
        """Why the Job is suspended, in words with what to do; `ran` says that its pods were at work before."""
        ...

    def failed_because(self, job: JobView) -> str:
        """What the newest worker of the Job that failed said last, in words; empty where none left a word."""
        ...
