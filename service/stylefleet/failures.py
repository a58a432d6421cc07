"""The failures of a run that ended, in pages of JSON Lines beside its report, which a catalog of any size may have.

Written shard by shard from the receipts, of those shards only that have failures: memory is that of one shard.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from stylefleet import naming
from stylefleet.naming import Ref
from stylefleet.plan import Plan
from stylefleet.receipt import Receipt
from stylefleet.shards import receipts_of, tasks_of
from stylefleet.store import Store
from stylefleet.streams import chunks

LINES_A_PAGE = 1000
SHARD_FAILED = "shard_failed"
"""Reason of a picture without receipt: its shard was given up."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One picture without result."""

    content: str
    """URI."""
    reason: str
    """One word."""
    message: str
    attempt: str
    """Which execution of the shard said so; empty where none did."""


@dataclass(frozen=True, kw_only=True)
class FailurePages:
    """What was written."""

    pages: int
    failures: int
    first: tuple[Failure, ...]
    """The first ones, for the report."""


def write(
    store: Store,
    bucket: str,
    plan: Plan,
    *,
    shards: Sequence[int],
    unfinished: dict[int, int],
    because: str,
    shown: int,
) -> FailurePages:
    """Write the failures of `shards`; of those in `unfinished` also the tasks without receipt, with `because` as their
    message. `shown` are returned."""
    first: list[Failure] = []
    failures = pages = 0
    of_all = itertools.chain.from_iterable(
        _of_shard(store, bucket, plan, shard, because=because if shard in unfinished else None) for shard in shards
    )
    for page in chunks(of_all, LINES_A_PAGE):
        data = "".join(json.dumps(vars(f), ensure_ascii=False) + "\n" for f in page).encode()
        key = naming.failures_key(plan.name, plan.run, pages)
        store.put(Ref(bucket, key), data, content_type="application/jsonl")
        first += page[: shown - len(first)]
        failures, pages = failures + len(page), pages + 1
    return FailurePages(pages=pages, failures=failures, first=tuple(first))


def _of_shard(store: Store, bucket: str, plan: Plan, shard: int, *, because: str | None) -> Iterator[Failure]:
    """In the order of the receipts, then of the tasks without one (where there is a cause for these)."""
    counted: dict[str, Receipt] = {}
    for one in receipts_of(store, bucket, plan, shard):
        counted.setdefault(one.task_id, one)
    for one in counted.values():
        if one.outcome == "failed":
            yield Failure(content=one.content, reason=one.reason, message=one.message, attempt=one.attempt)
    if because is not None:
        for task in tasks_of(store, bucket, plan, shard):
            if task.task_id not in counted:
                yield Failure(content=str(task.content), reason=SHARD_FAILED, message=because, attempt="")
