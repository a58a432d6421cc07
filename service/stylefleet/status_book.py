"""The statuses in the bucket, remembered between ticks and written only over the version that was read.

The ETag is the fence between two controllers: the slower one loses its write, forgets, and looks again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from stylefleet import naming, status
from stylefleet.errors import NotFound, PreconditionFailed
from stylefleet.naming import Ref
from stylefleet.status import Status
from stylefleet.store import Store
from stylefleet.streams import in_order

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Page:
    """One status as it is in the bucket."""

    status: Status | None
    etag: str | None
    """None where there is no object yet."""
    outdated: bool = False
    """Whether somebody wrote over it. It is not forgotten before it is read again: nobody would know of a run whose
    manifest is gone as well."""


class StatusBook:
    """Statuses of one bucket by name."""

    def __init__(self, store: Store, bucket: str) -> None:
        self._store = store
        self._bucket = bucket
        self._pages: dict[str, _Page] = {}
        self._live: set[str] = set()
        self._all_loaded = False

    def load_all(self) -> None:
        """Read every status of the bucket: also those of runs whose manifest is gone."""
        listing = self._store.list(Ref(self._bucket, naming.STATUS_PREFIX))
        names = [o.ref.key.removeprefix(naming.STATUS_PREFIX).removesuffix(".json") for o in listing]
        for name, page in zip(names, in_order(self._read, names), strict=True):
            self._keep(name, page)
        self._all_loaded = True

    def remembered(self, name: str) -> Status | None:
        """The status as it was read or written last; None also where it was not read yet."""
        page = self._pages.get(name)
        return page.status if page else None

    def get(self, name: str) -> Status | None:
        """The newest status of `name`; None where there is none, or none that can be read."""
        return self._page(name).status

    def live_names(self) -> set[str]:
        """Names whose run is not final."""
        return set(self._live)

    def confirm(self, name: str) -> None:
        """Raises PreconditionFailed where another controller has written since our last look."""
        page = self._pages.get(name)
        if page is not None and self._read(name).etag != page.etag:
            self._keep(name, replace(page, outdated=True))
            raise PreconditionFailed(f"{name}: another controller wrote the status")

    def put(self, new: Status, now: datetime) -> bool:
        """Write `new` where it says something new; whether it did. Raises PreconditionFailed where another controller
        wrote."""
        old = self._page(new.name)
        if new.same_as(old.status):
            return False
        try:
            etag = self._store.put(
                Ref(self._bucket, naming.status_key(new.name)),
                status.to_json(replace(new, updated_at=now)),
                if_match=old.etag,
                if_absent=old.etag is None,
                content_type="application/json",
            )
        except PreconditionFailed:
            self._keep(new.name, replace(old, outdated=True))
            raise
        self._keep(new.name, _Page(status=new, etag=etag))
        return True

    def _page(self, name: str) -> _Page:
        page = self._pages.get(name)
        if page is None and self._all_loaded:
            # Nobody but another controller can have written it since; then our first write fails, and we look.
            page = self._keep(name, _Page(status=None, etag=None))
        if page is None or page.outdated:
            page = self._keep(name, self._read(name))
        return page

    def _keep(self, name: str, page: _Page) -> _Page:
        self._pages[name] = page
        if page.status is not None and not page.status.phase.final:
            self._live.add(name)
        else:
            self._live.discard(name)
        return page

    def _read(self, name: str) -> _Page:
        try:
            found = self._store.get(Ref(self._bucket, naming.status_key(name)))
        except NotFound:
            return _Page(status=None, etag=None)
        try:
            return _Page(status=status.from_json(found.data), etag=found.etag)
        except (ValueError, KeyError, TypeError) as error:
            # Somebody's hand, or an older version: it will be overwritten by what is true now.
            log.warning("status_unreadable", manifest=name, error=str(error))
            return _Page(status=None, etag=found.etag)
