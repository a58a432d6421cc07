"""`report.html` beside `report.json`: what it needs is read, bounded, and the page is written."""

from __future__ import annotations

import json
from collections.abc import Iterator

from stylefleet import naming, receipt, report_page
from stylefleet.naming import Ref
from stylefleet.plan import Plan
from stylefleet.receipt import Receipt
from stylefleet.run_digest import RunDigest
from stylefleet.store import Store
from stylefleet.streams import in_order
from stylefleet.thumbnails import pairs_of

PARTS_READ_MAX = 2000
"""Objects of receipts that are read: of a run with more, those of shards that are spread over it evenly."""
GOLDEN = 0.6180339887498949


def write(store: Store, bucket: str, report: Ref, plan: Plan, *, shards: int, allowed: tuple[Ref, ...]) -> Ref:
    """Write the page of a run whose report is there; where it is. Pictures are read in `allowed` folders only."""
    document = json.loads(store.get(report).data)
    ended = document["totals"]["done"] + document["totals"]["failed"] - document["unfinishedShards"]["pictures"]
    digest = RunDigest(
        started_at=plan.planned_at, finished_at=report_page.time_of(document["finishedAt"]), pictures=ended
    )
    for one in _receipts(store, bucket, plan, shards):
        digest.add(one)
    data = report_page.render(document, digest, pairs_of(store, digest.candidates, allowed), ended=ended).encode()
    ref = Ref(bucket, naming.report_page_key(plan.name, plan.run))
    store.put(ref, data, content_type="text/html; charset=utf-8")
    return ref


def _receipts(store: Store, bucket: str, plan: Plan, shards: int) -> Iterator[Receipt]:
    """Receipts, one for each picture, shard by shard: all, or those of PARTS_READ_MAX objects. One shard's are held."""

    def parts_of(shard: int) -> list[Ref]:
        prefix = Ref(bucket, naming.shard_receipts_prefix(plan.name, plan.run, shard))
        return [listed.ref for listed in store.list(prefix)]

    left = PARTS_READ_MAX
    for parts in in_order(parts_of, spread(shards)):
        chosen = evenly(parts, left)
        left -= len(chosen)
        seen: set[str] = set()
        for data in in_order(lambda ref: store.get(ref).data, chosen):
            for one in receipt.from_lines(data):
                if one.task_id not in seen:
                    seen.add(one.task_id)
                    yield one
        if left <= 0:
            return


def spread(count: int) -> list[int]:
    """0 to `count` - 1 in an order of which every beginning is spread evenly: by multiples of the golden ratio."""
    return sorted(range(count), key=lambda number: number * GOLDEN % 1.0)


def evenly(items: list[Ref], most: int) -> list[Ref]:
    """At most so many of them, evenly spaced."""
    if len(items) <= most:
        return items
    return [items[number * len(items) // most] for number in range(most)]
