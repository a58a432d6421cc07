"""Runs that ended, as they lie in a bucket, with pictures that can be shown."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from datetime import timedelta

from PIL import Image

from stylefleet import naming, plan, receipt, status
from stylefleet.naming import Ref
from stylefleet.plan import Plan, ShardEntry
from stylefleet.receipt import Receipt
from stylefleet.status import Phase, Status
from stylefleet.store_memory import MemoryStore
from stylefleet.tasks import shard_bytes
from tests.builders import NOW, RUN, failed_receipt, make_plan, make_receipt, make_task

BUCKET = "service"
BEFORE, AFTER = (30, 60, 200), (240, 200, 40)


def picture(colour: tuple[int, int, int], *, format: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format)
    return buffer.getvalue()


def put_run(
    store: MemoryStore,
    name: str = "spring",
    *,
    keys: tuple[str, ...] = ("catalog/a.jpg", "catalog/b.jpg"),
    failed: tuple[str, ...] = (),
    skipped: int = 0,
    run: str = RUN,
    colour: tuple[int, int, int] = AFTER,
    **plan_changes: object,
) -> Plan:
    """A run that ended, of these photos in s3://shop; the photos are put too."""
    tasks = shard_bytes(make_task(key) for key in (*keys, *failed))
    entry = ShardEntry(index=0, tasks=len(keys) + len(failed), digest=hashlib.sha256(tasks).hexdigest())
    planned = make_plan(
        name=name, run=run, shards=(entry.tasks,), skipped=skipped, output_prefix=Ref("shop", f"restyled/{name}/")
    )
    planned = replace(planned, shards=(entry,), **plan_changes)  # type: ignore[arg-type]
    store.put(Ref(BUCKET, naming.shard_key(name, run, 0, entry.digest)), tasks)
    receipts: list[Receipt] = []
    for key in keys:
        result = Ref("shop", f"restyled/{name}/{key.removeprefix('catalog/')}")
        store.put(Ref("shop", key), picture(BEFORE))
        etag = store.put(result, picture(colour))
        receipts.append(make_receipt(key, result=str(result), result_etag=etag))
    receipts += [failed_receipt(key) for key in failed]
    store.put(Ref(BUCKET, naming.plan_key(name, run)), plan.plan_to_json(planned))
    store.put(Ref(BUCKET, naming.receipts_key(name, run, 0, "pod", 0)), receipt.to_lines(receipts))
    found = Status(
        name=name,
        run=run,
        phase=Phase.PARTIALLY_SUCCEEDED if failed else Phase.SUCCEEDED,
        pictures=planned.pictures,
        skipped=planned.skipped,
        done=len(keys),
        failed=len(failed),
        started_at=NOW,
        finished_at=NOW + timedelta(minutes=2),
    )
    store.put(Ref(BUCKET, naming.status_key(name)), status.to_json(found))
    return planned
