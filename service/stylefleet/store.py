"""Object storage as Stylefleet sees it. Two implementations obey one contract: `S3Store` and `MemoryStore`.

Every correctness argument of the service rests on three promises: a put is atomic, a read or list after it sees it, and
of N simultaneous conditional puts exactly one wins. `probe` checks the last one on the real thing.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from stylefleet.errors import PreconditionFailed, StoreUnfit
from stylefleet.naming import Ref


@dataclass(frozen=True, kw_only=True)
class Listed:
    """One object of a listing."""

    ref: Ref
    etag: str
    """Opaque version of the content, without quotes."""
    size_bytes: int
    modified_at: datetime
    """Time of the put, whole seconds, with time zone."""


@dataclass(frozen=True, kw_only=True)
class Object:
    """An object that was read."""

    ref: Ref
    data: bytes = field(repr=False)
    etag: str
    """Opaque version of the content, without quotes."""
    modified_at: datetime
    metadata: Mapping[str, str]
    """User metadata, lower-case names."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """What is known of an object without its content."""

    ref: Ref
    etag: str
    """Opaque version of the content, without quotes."""
    size_bytes: int
    metadata: Mapping[str, str]
    """User metadata, lower-case names."""


@dataclass(frozen=True, kw_only=True)
class Page:
    """A piece of a listing, as the store hands it out."""

    objects: tuple[Listed, ...]
    """In the listing's order."""
    digest: bytes
    """The same for pages with the same objects, and for no others; empty where that is not known."""


class Store(Protocol):
    """Buckets of objects.

    Every method may raise AccessDenied (permanent) and StoreUnavailable (transient, after retries of its own).
    """

    def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
        """Read one object. Raises NotFound, and PreconditionFailed where its ETag is not `if_match`."""
        ...

    def head(self, ref: Ref) -> Head:
        """What is known of one object without reading it. Raises NotFound, also without bucket."""
        ...

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
        """Write one object atomically and return its ETag.

        With `if_absent` only where no object is; with `if_match` only over that version: PreconditionFailed otherwise.
        Raises NotFound where the bucket does not exist.
        """
        ...

    def delete(self, ref: Ref) -> None:
        """Remove one object; no error where there is none."""
        ...

    def list(self, prefix: Ref, *, after: str = "") -> Iterator[Listed]:
        """All objects whose key begins with the prefix's key, each once; with `after`, those with a greater key (UTF-8
        bytes). Raises NotFound without bucket.

        Keys of one folder come in the order of UTF-8 bytes; how folders and files mix is the store's affair.
        """
        ...

    def pages(self, prefix: Ref, *, after: str = "", known: Mapping[bytes, Page]) -> Iterator[Page]:
        """As `list`, in pieces, each asked for when it is wanted. One that is among the `known` pages by digest is that
        very object: who lists a folder again and again need not look at it once more."""
        ...

    def now(self) -> datetime:
        """The store's own time, by which it dates objects, told by its newest answer; no request.

        Raises StoreUnfit where no answer has told it.
        """
        ...


PROBE_WRITERS = 8
PROBE_ROUNDS = 3


def race(store: Store, folder: Ref) -> int:
    """How many of PROBE_WRITERS simultaneous puts of one new key, each only where nothing is there, went through."""
    ref = Ref(folder.bucket, f"{folder.key}probe-{uuid.uuid4().hex}")
    start = threading.Barrier(PROBE_WRITERS)

    def write(writer: int) -> bool:
        start.wait()
        try:
            store.put(ref, f"writer {writer}".encode(), if_absent=True)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(PROBE_WRITERS) as pool:
        try:
            return sum(pool.map(write, range(PROBE_WRITERS)))
        finally:
            store.delete(ref)


def unfit_because(winners: int) -> str:
    """What is wrong with a store in whose `race` so many won; empty where it keeps its promise."""
    if winners == 1:
        return ""
    if winners == PROBE_WRITERS:
        how = "it seems to ignore If-None-Match"
    elif winners > 1:
        how = "it seems to check and to write in two steps"
    else:
        how = "it refuses If-None-Match also where no object is"
    return f"of {PROBE_WRITERS} simultaneous conditional puts exactly one must succeed, but {winners} did: {how}"


UNFIT_REMEDY = (
    "This store cannot keep two controllers apart. Use one with atomic conditional writes (AWS S3, MinIO, "
    "SeaweedFS 4.17 or newer)"
)


def probe(store: Store, folder: Ref) -> None:
    """Check that conditional puts have exactly one winner, and that the store tells its time; raises StoreUnfit with
    what was seen otherwise.

    Some S3-like servers check and write in two steps: every writer wins, and two controllers would both plan a run.
    """
    for _ in range(PROBE_ROUNDS):
        fault = unfit_because(race(store, folder))
        if fault:
            raise StoreUnfit(f"{folder.bucket}: {fault}. {UNFIT_REMEDY}")
    store.now()
