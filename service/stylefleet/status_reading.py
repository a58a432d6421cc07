"""The statuses of a bucket for who only looks: those that changed are read, so many at the most."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from stylefleet import naming, status
from stylefleet.errors import NotFound
from stylefleet.naming import Ref
from stylefleet.status import Status
from stylefleet.store import Listed, Store
from stylefleet.streams import in_order

STATUSES_MAX = 1000
"""That are looked at: those that were written last."""


@dataclass(frozen=True, kw_only=True)
class Statuses:
    """What one look found."""

    found: tuple[Status, ...]
    not_read: int
    """More than STATUSES_MAX, and what is no status."""


class StatusReader:
    """Reads again only what was written again."""

    def __init__(self, store: Store, bucket: str, *, tenant: str = "") -> None:
        self._store = store
        self._place = Ref(bucket, f"{naming.STATUS_PREFIX}{tenant}/" if tenant else naming.STATUS_PREFIX)
        self._known: dict[Ref, tuple[str, Status | None]] = {}
        """ETag, and what stands there; None where it cannot be read."""

    def read(self) -> Statuses:
        """All statuses. Raises what the store raises."""
        listed = sorted(self._store.list(self._place), key=lambda each: each.modified_at, reverse=True)
        newest = listed[:STATUSES_MAX]
        changed = [one for one in newest if one.ref not in self._known or self._known[one.ref][0] != one.etag]
        self._known.update(zip((one.ref for one in changed), in_order(self._get, changed), strict=True))
        self._known = {one.ref: self._known[one.ref] for one in newest}
        found = tuple(_readable(known for _, known in self._known.values()))
        return Statuses(found=found, not_read=len(listed) - len(found))

    def _get(self, listed: Listed) -> tuple[str, Status | None]:
        try:
            found = self._store.get(listed.ref)
        except NotFound:
            return listed.etag, None
        try:
            return found.etag, status.from_json(found.data)
        except (AttributeError, KeyError, TypeError, ValueError):
            # Somebody's hand, or another version: it counts among what was not read.
            return found.etag, None


def _readable(statuses: Iterable[Status | None]) -> Iterable[Status]:
    return (each for each in statuses if each is not None)
