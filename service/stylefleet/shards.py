"""What lies in the bucket of one shard: its tasks, and the receipts of all attempts at it."""

from __future__ import annotations

from collections.abc import Iterator

from stylefleet import naming, receipt
from stylefleet.naming import Ref
from stylefleet.plan import Plan
from stylefleet.receipt import Receipt
from stylefleet.store import Store
from stylefleet.tasks import Task, tasks_from_bytes


def tasks_of(store: Store, bucket: str, plan: Plan, shard: int) -> list[Task]:
    """Its tasks, in their order. Raises NotFound, RecordUnreadable."""
    entry = plan.shards[shard]
    key = naming.shard_key(plan.name, plan.run, entry.index, entry.digest)
    return tasks_from_bytes(store.get(Ref(bucket, key)).data)


def receipts_of(store: Store, bucket: str, plan: Plan, shard: int) -> Iterator[Receipt]:
    """Its receipts in the order of their keys: of those of one task the first counts. Raises RecordUnreadable."""
    for part in store.list(Ref(bucket, naming.shard_receipts_prefix(plan.name, plan.run, shard))):
        yield from receipt.from_lines(store.get(part.ref).data)
