from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import pytest

from stylefleet import failures, naming, receipt
from stylefleet.failures import LINES_A_PAGE, FailurePages
from stylefleet.naming import Ref
from stylefleet.plan import Plan, ShardEntry
from stylefleet.receipt import Receipt
from stylefleet.store_memory import MemoryStore
from stylefleet.tasks import Task, shard_bytes
from tests.builders import RUN, failed_receipt, make_plan, make_receipt, make_task


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("service")


def planned(store: MemoryStore, *shards: list[Task]) -> Plan:
    """A run with these shards in the bucket."""
    entries = []
    for index, tasks in enumerate(shards):
        data = shard_bytes(tasks)
        digest = hashlib.sha256(data).hexdigest()
        store.put(Ref("service", naming.shard_key("spring", RUN, index, digest)), data)
        entries.append(ShardEntry(index=index, tasks=len(tasks), digest=digest))
    return replace(make_plan(shards=tuple(len(s) for s in shards)), shards=tuple(entries))


def told(store: MemoryStore, shard: int, *receipts: Receipt, attempt: str = "a", part: int = 0) -> None:
    key = naming.receipts_key("spring", RUN, shard, attempt, part)
    data = receipt.to_lines([replace(r, shard=shard, attempt=attempt) for r in receipts])
    store.put(Ref("service", key), data)


def lines(store: MemoryStore, page: int) -> list[dict[str, str]]:
    data = store.get(Ref("service", naming.failures_key("spring", RUN, page))).data
    return [json.loads(line) for line in data.splitlines()]


def write(
    store: MemoryStore, plan: Plan, shards: list[int], *, unfinished: dict[int, int] | None = None, shown: int = 5
) -> FailurePages:
    return failures.write(
        store, "service", plan, shards=shards, unfinished=unfinished or {}, because="its node is gone", shown=shown
    )


def test_each_failed_picture_has_its_line_with_reason_and_sentence(store: MemoryStore) -> None:
    a, b = make_task("catalog/a.jpg"), make_task("catalog/b.jpg")
    plan = planned(store, [a, b])
    told(store, 0, make_receipt(a), failed_receipt(b, reason="too_small", message="8 px"))
    found = write(store, plan, [0])
    assert (found.pages, found.failures) == (1, 1)
    assert lines(store, 0) == [
        {"content": "s3://shop/catalog/b.jpg", "reason": "too_small", "message": "8 px", "attempt": "a"}
    ]
    assert [f.content for f in found.first] == ["s3://shop/catalog/b.jpg"]


def test_pictures_that_a_given_up_shard_left_have_a_line_with_the_shards_fault(store: MemoryStore) -> None:
    a, b, c = (make_task(f"catalog/{name}.jpg") for name in "abc")
    plan = planned(store, [a, b], [c])
    told(store, 0, make_receipt(a))
    found = write(store, plan, [0, 1], unfinished={0: 1, 1: 1})
    assert [(f.content, f.reason, f.message) for f in found.first] == [
        ("s3://shop/catalog/b.jpg", "shard_failed", "its node is gone"),
        ("s3://shop/catalog/c.jpg", "shard_failed", "its node is gone"),
    ]


def test_pictures_that_a_cancelled_run_left_are_no_failures(store: MemoryStore) -> None:
    a, b = make_task("catalog/a.jpg"), make_task("catalog/b.jpg")
    plan = planned(store, [a, b])
    told(store, 0, failed_receipt(a))
    assert write(store, plan, [0]).failures == 1


def test_a_picture_that_two_attempts_told_of_has_one_line(store: MemoryStore) -> None:
    a = make_task("catalog/a.jpg")
    plan = planned(store, [a])
    told(store, 0, failed_receipt(a), attempt="a")
    told(store, 0, failed_receipt(a), attempt="b")
    assert write(store, plan, [0]).failures == 1


def test_failures_beyond_a_page_go_to_the_next_and_the_report_has_the_first_ones(store: MemoryStore) -> None:
    tasks = [make_task(f"catalog/{number:05d}.jpg") for number in range(LINES_A_PAGE + 2)]
    plan = planned(store, tasks[:700], tasks[700:])
    told(store, 0, *(failed_receipt(t) for t in tasks[:700]))
    told(store, 1, *(failed_receipt(t) for t in tasks[700:]))
    found = write(store, plan, [0, 1], shown=3)
    assert (found.pages, found.failures) == (2, LINES_A_PAGE + 2)
    assert [f.content for f in found.first] == [str(t.content) for t in tasks[:3]]
    assert [line["content"] for page in (0, 1) for line in lines(store, page)] == [str(t.content) for t in tasks]


def test_a_run_without_failures_writes_no_page(store: MemoryStore) -> None:
    plan = planned(store, [make_task()])
    assert write(store, plan, []) == FailurePages(pages=0, failures=0, first=())
    assert list(store.list(Ref("service", naming.failures_prefix("spring", RUN)))) == []
