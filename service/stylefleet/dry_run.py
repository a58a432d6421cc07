"""Outside systems that are read and never changed: what would be written is kept in memory and logged.

With these the controller runs exactly as ever, so a dry run says what the real one would do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import structlog

from stylefleet.cluster import Cluster
from stylefleet.errors import NotFound
from stylefleet.jobs import JobView, Json
from stylefleet.naming import Ref
from stylefleet.store import Head, Listed, Object, Page, Store
from stylefleet.store_memory import MemoryStore

log = structlog.get_logger(__name__)


class DryRunStore:
    """Reads come from the real store; writes go to an overlay in memory that later reads see first."""

    def __init__(self, real: Store, *buckets: str) -> None:
        self._real = real
        self._overlay = MemoryStore(*buckets)

    def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
        try:
            return self._overlay.get(ref)
        except NotFound:
            return self._real.get(ref, if_match=if_match)

    def head(self, ref: Ref) -> Head:
        try:
            return self._overlay.head(ref)
        except NotFound:
            return self._real.head(ref)

    def put(
        self,
        ref: Ref,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        log.info(
            "would_put", object=str(ref), size_bytes=len(data), condition=if_match or ("absent" if if_absent else "")
        )
        return self._overlay.put(ref, data, content_type=content_type, metadata=metadata)

    def delete(self, ref: Ref) -> None:
        log.info("would_delete", object=str(ref))

    def list(self, prefix: Ref, *, after: str = "") -> Iterator[Listed]:
        return self._real.list(prefix, after=after)

    def pages(self, prefix: Ref, *, after: str = "", known: Mapping[bytes, Page]) -> Iterator[Page]:
        return self._real.pages(prefix, after=after, known=known)

    def now(self) -> datetime:
        return self._real.now()


class DryRunCluster:
    """Jobs are listed, never made or removed."""

    def __init__(self, real: Cluster) -> None:
        self._real = real

    def create_job(self, job: Json) -> None:
        spec = job["spec"]
        log.info(
            "would_create_job",
            job=job["metadata"]["name"],
            indexes=spec["completions"],
            parallelism=spec["parallelism"],
        )

    def list_jobs(self) -> list[JobView]:
        return self._real.list_jobs()

    def require_listed(self, namespace: str) -> None:
        self._real.require_listed(namespace)

    def release_job(self, job: JobView) -> None:
        log.info("would_release_job", job=job.name)

    def resize_job(self, job: JobView, parallelism: int) -> None:
        log.info("would_resize_job", job=job.name, parallelism=parallelism)

    def delete_job(self, job: JobView) -> None:
        log.info("would_delete_job", job=job.name)

    def waiting_because(self, job: JobView) -> str:
        return self._real.waiting_because(job)

    def suspended_because(self, job: JobView, *, ran: bool) -> str:
        return self._real.suspended_because(job, ran=ran)

    def failed_because(self, job: JobView) -> str:
        return self._real.failed_because(job)
