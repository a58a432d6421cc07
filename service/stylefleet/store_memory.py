"""The in-memory twin of S3, for tests and for trying things out. Obeys the contract tests of `S3Store`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime

from stylefleet.errors import NotFound, PreconditionFailed
from stylefleet.naming import Ref
from stylefleet.store import Head, Listed, Object, Page
from stylefleet.streams import chunks

PAGE_OBJECTS = 1000


def _now() -> datetime:
    return datetime.now(UTC)


class MemoryStore:
    """Buckets in a dictionary; safe to use from several threads."""

    def __init__(self, *buckets: str, clock: Callable[[], datetime] = _now) -> None:
        self._objects_by_bucket: dict[str, dict[str, Object]] = {bucket: {} for bucket in buckets}
        self._clock = clock
        self._lock = threading.Lock()

    def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
        with self._lock:
            found = self._bucket(ref).get(ref.key)
        if found is None:
            raise NotFound(f"{ref}: no such object")
        if if_match is not None and found.etag != if_match:
            raise PreconditionFailed(f"{ref}: the object has changed")
        return found

    def head(self, ref: Ref) -> Head:
        found = self.get(ref)
        return Head(ref=ref, etag=found.etag, size_bytes=len(found.data), metadata=found.metadata)

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
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        with self._lock:
            bucket = self._bucket(ref)
            existing = bucket.get(ref.key)
            if if_absent and existing is not None:
                raise PreconditionFailed(f"{ref}: the object exists already")
            if if_match is not None and (existing is None or existing.etag != if_match):
                raise PreconditionFailed(f"{ref}: the object has changed")
            modified_at = self._clock().replace(microsecond=0)
            bucket[ref.key] = Object(
                ref=ref, data=data, etag=etag, modified_at=modified_at, metadata=dict(metadata or {})
            )
        return etag

    def delete(self, ref: Ref) -> None:
        with self._lock:
            self._bucket(ref).pop(ref.key, None)

    def list(self, prefix: Ref, *, after: str = "") -> Iterator[Listed]:
        first = after.encode()
        with self._lock:
            found = [
                o for key, o in self._bucket(prefix).items() if key.startswith(prefix.key) and key.encode() > first
            ]
        for o in sorted(found, key=lambda o: o.ref.key.encode()):
            yield Listed(ref=o.ref, etag=o.etag, size_bytes=len(o.data), modified_at=o.modified_at)

    def pages(self, prefix: Ref, *, after: str = "", known: Mapping[bytes, Page]) -> Iterator[Page]:
        for objects in chunks(self.list(prefix, after=after), PAGE_OBJECTS):
            digest = hashlib.sha256(repr(objects).encode()).digest()
            yield known.get(digest) or Page(objects=tuple(objects), digest=digest)

    def now(self) -> datetime:
        return self._clock()

    def _bucket(self, ref: Ref) -> dict[str, Object]:
        if ref.bucket not in self._objects_by_bucket:
            raise NotFound(f"s3://{ref.bucket}: no such bucket")
        return self._objects_by_bucket[ref.bucket]
