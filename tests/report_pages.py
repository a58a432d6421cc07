"""Report pages for tests: every text that a user or a store chose is the one that a test gives."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

from stylefleet import naming, report_page, status
from stylefleet.failures import Failure, FailurePages
from stylefleet.price import Cost
from stylefleet.run_digest import RunDigest
from stylefleet.status import Phase
from stylefleet.store_memory import MemoryStore
from stylefleet.tally import Tally
from stylefleet.thumbnails import Pairs, pairs_of
from tests.builders import FACTS, NOW, failed_receipt, jpeg_bytes, make_plan, make_receipt

COST = Cost(currency="EUR", estimated=12.5, actual=10.25)


def document(
    text: str = "", *, done: int = 12, failed: int = 3, cost: Cost | None = COST, **changes: Any
) -> dict[str, Any]:
    """A report in which `text` stands wherever a text may come from outside."""
    plan = make_plan(shards=(done + failed, 2), skipped=4)
    tally = Tally([done + failed, 2])
    facts = replace(
        FACTS, backbone=f"vgg16-hed{text}", device=f"cpu{text}", precision_reason=f"asked for{text}", gpus=1
    )
    for number in range(done):
        tally.add(make_receipt(f"catalog/{number}.jpg", engine=facts, worker_seconds=30.0))
    for number in range(failed):
        tally.add(failed_receipt(f"catalog/bad-{number}.jpg", reason=f"truncated{text}"))
    first = tuple(
        Failure(
            content=f"s3://shop/catalog/{text}{n}.jpg", reason=f"truncated{text}", message=f"cut{text}", attempt="a"
        )
        for n in range(min(failed, status.FAILURES_SHOWN))
    )
    data = status.report_json(
        plan,
        tally,
        phase=Phase.PARTIALLY_SUCCEEDED,
        reason="",
        message=f"some failed{text}",
        missing_by_shard={1: 2},
        failures=FailurePages(pages=1, failures=failed + 2, first=first),
        finished_at=NOW + timedelta(minutes=10),
        cost=cost,
    )
    found: dict[str, Any] = json.loads(data)
    return found | {"name": f"spring{text}", "outputPrefix": f"s3://shop/restyled/{text}"} | changes


def digest(text: str = "", *, done: int = 12, failed: int = 3) -> RunDigest:
    of_run = RunDigest(started_at=NOW, finished_at=NOW + timedelta(minutes=10), pictures=done + failed)
    for number in range(done):
        at = NOW + timedelta(seconds=20 + 500 * number / max(1, done))
        one = make_receipt(f"catalog/{number}{text}.jpg", finished_at=at, stage_seconds={"optimize": 1.0 + number % 17})
        of_run.add(one)
    for number in range(failed):
        of_run.add(failed_receipt(f"catalog/bad-{number}{text}.jpg"))
    return of_run


def thumbnails(text: str = "", *, pictures: int = 4) -> Pairs:
    store, receipts = MemoryStore("shop"), []
    for number in range(pictures):
        receipt = make_receipt(f"catalog/{number}{text}.jpg")
        store.put(naming.parse_uri(receipt.content), jpeg_bytes(10, size=(60, 40)))
        etag = store.put(naming.parse_uri(receipt.result), jpeg_bytes(200, size=(60, 40)))
        receipts.append(replace(receipt, result_etag=etag))
    return pairs_of(store, receipts, (naming.Ref("shop", ""),))


def page(text: str = "", *, done: int = 12, failed: int = 3) -> str:
    """A whole page."""
    report = document(text, done=done, failed=failed)
    return report_page.render(report, digest(text, done=done, failed=failed), thumbnails(text), ended=done + failed)
