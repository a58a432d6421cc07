"""How a run stands, asked of the bucket until it has ended: what `status`, `wait` and the Python API have in common."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

from stylefleet import naming
from stylefleet import status as statuses
from stylefleet.errors import AccessDenied, NotFound, RecordUnreadable
from stylefleet.naming import Ref
from stylefleet.status import Status
from stylefleet.store import Store

POLL_SECONDS = 1.0
ANSWER_SECONDS_MAX = 120.0
"""How long to wait for a controller's first word on a submission."""


def manifests_called(store: Store, bucket: str, name: str) -> list[Ref]:
    """The files in the inbox that are called `name`; the first is the one that counts."""
    listed = store.list(Ref(bucket, f"{naming.INBOX_PREFIX}{name}."))
    return [o.ref for o in listed if naming.manifest_name(o.ref.key) == name]


def submitted_run(store: Store, bucket: str, name: str) -> str | None:
    """The run of the manifest that is in the inbox now; None where there is none. Raises NotFound (bucket)."""
    refs = manifests_called(store, bucket, name)
    if not refs:
        return None
    found = store.get(refs[0])
    return naming.run_id(name, found.data, found.modified_at)


def asked_run(store: Store, bucket: str, name: str) -> str | None:
    """The run that somebody means who names a manifest: the one in the inbox. None where it was deleted and its run
    still has a status; raises NotFound where nobody knows the name."""
    run = submitted_run(store, bucket, name)
    if run is None:
        read_status(store, bucket, name)
    return run


def is_paused(store: Store, bucket: str, name: str) -> bool:
    """Whether the marker is there."""
    ref = Ref(bucket, naming.pause_key(name))
    return any(o.ref == ref for o in store.list(ref))


def read_status(store: Store, bucket: str, name: str) -> Status:
    """Raises NotFound where the controller has not seen the manifest yet, or there is none."""
    ref = Ref(bucket, naming.status_key(name))
    try:
        data = store.get(ref).data
    except (NotFound, AccessDenied) as error:
        # To who may list some folders only, S3 says 403 of what is not there.
        if isinstance(error, AccessDenied) and any(found.ref == ref for found in store.list(ref)):
            raise
        raise NotFound(
            f"{name}: no status in s3://{bucket}/{naming.STATUS_PREFIX}; is a controller running?"
        ) from error
    try:
        return statuses.from_json(data)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"{ref}: this is no status that this version reads: {error!r}") from error


def status_or_none(store: Store, bucket: str, name: str) -> Status | None:
    """None where the controller has not seen the manifest yet."""
    try:
        return read_status(store, bucket, name)
    except NotFound:
        return None


def follow(store: Store, bucket: str, name: str, *, run: str | None) -> Iterator[Status]:
    """The status each second until it is final. Of `run`, where given: an older one's is not what is asked for.

    Raises NotFound where no controller speaks of it within ANSWER_SECONDS_MAX.
    """
    answered = False
    for waited in itertools.count():
        found = status_or_none(store, bucket, name)
        if found is not None and (run is None or found.run == run):
            yield found
            if found.phase.final:
                return
            run, answered = found.run, True
        if not answered and waited * POLL_SECONDS > ANSWER_SECONDS_MAX:
            raise NotFound(f"{name}: no controller has answered within {ANSWER_SECONDS_MAX:.0f} s; is one running?")
        time.sleep(POLL_SECONDS)
