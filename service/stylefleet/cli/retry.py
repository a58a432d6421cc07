"""`stylefleet retry`: the same manifest once more, for what failed or was not done."""

from __future__ import annotations

import time

from stylefleet import naming
from stylefleet.cli import bucket as buckets
from stylefleet.errors import ExitCode, NotFound, NothingToDo, PreconditionFailed, RunUnderWay
from stylefleet.following import manifests_called, status_or_none, submitted_run
from stylefleet.naming import Ref
from stylefleet.policies.retry import retry_refused
from stylefleet.store import Object, Store


def retry(store: Store, bucket: str, name: str, *, wait_for_end: bool) -> ExitCode:
    """Put the manifest's own bytes again. Raises NotFound, RunUnderWay and NothingToDo where that is not for now."""
    refs = manifests_called(store, bucket, name)
    if not refs:
        raise NotFound(f"{name}: no manifest in s3://{bucket}/{naming.INBOX_PREFIX}; submit it again")
    found = store.get(refs[0])
    run = naming.run_id(name, found.data, found.modified_at)
    refusal = retry_refused(name, status_or_none(store, bucket, name), submitted_run=run)
    if refusal is not None:
        raise (RunUnderWay if refusal.later else NothingToDo)(refusal.message)
    store.delete(Ref(bucket, naming.cancel_key(name)))
    _put_again(store, found)
    while submitted_run(store, bucket, name) == run:
        # A run is known by the second of its put: the same bytes in the same second are the same run.
        time.sleep(1.0)
        _put_again(store, found)
    buckets.say_submitted(store, found.ref, name)
    return buckets.wait(store, bucket, name) if wait_for_end else ExitCode.OK


def _put_again(store: Store, manifest: Object) -> None:
    try:
        store.put(manifest.ref, manifest.data, if_match=manifest.etag, content_type="application/yaml")
    except PreconditionFailed as error:
        raise RunUnderWay(f"{manifest.ref}: somebody else changed it at this very moment") from error
