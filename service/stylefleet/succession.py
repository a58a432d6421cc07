"""Which run of a name may store results: the newest. The fence between the workers of two runs.

Where a run follows on another, the controller says so in one object of the name before it has workers made for it; a
worker reads that directly before it stores a result. Usually the old workers are gone by then, but a node that is cut
off keeps its own, unseen, and both runs' results lie at the same places.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import structlog

from stylefleet import naming
from stylefleet.errors import NotFound, RecordUnreadable, Superseded
from stylefleet.naming import Ref
from stylefleet.store import Store

log = structlog.get_logger(__name__)


def any_run(store: Store, bucket: str, name: str) -> bool:
    """Whether a run of this name was ever planned, as far as the bucket tells."""
    return next(store.list(Ref(bucket, naming.run_prefix(name, "")[:-1])), None) is not None


def require_newest(store: Store, bucket: str, name: str, run: str) -> None:
    """Nothing, where this run is the newest of its name; raises Superseded where another one is."""
    try:
        newest = _run_in(store.get(Ref(bucket, naming.newest_key(name))).data)
    except NotFound:
        return  # it follows on no other, and none follows on it
    if newest != run:
        raise Superseded(f"run {run} of {name} is superseded by run {newest}, so it stores no result any more")


def hand_over(store: Store, bucket: str, name: str, run: str, *, confirm: Callable[[], None]) -> None:
    """Say that this run is the newest. `confirm` raises where it is not; it is asked between our read and our write.

    So of two controllers the one that slept cannot take back what the other said: if it wakes before it has confirmed,
    it learns of the newer run, and after that its write is one over a version that is gone. Raises PreconditionFailed.
    """
    ref = Ref(bucket, naming.newest_key(name))
    etag: str | None = None
    newest = ""
    try:
        found = store.get(ref)
        etag = found.etag
        newest = _run_in(found.data)
    except NotFound:
        pass
    except RecordUnreadable as error:
        # Somebody's hand: it is overwritten by what is true now.
        log.warning("newest_run_unreadable", object=str(ref), error=str(error))
    confirm()
    if newest != run:
        data = json.dumps({"run": run}).encode()
        store.put(ref, data, if_match=etag, if_absent=etag is None, content_type="application/json")


def _run_in(data: bytes) -> str:
    try:
        return str(json.loads(data)["run"])
    except (KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"the record of a name's newest run cannot be read: {error!r}") from error
