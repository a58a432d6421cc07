"""`report.html` of a run that ends: written beside the report, bounded, and never in the way."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from stylefleet import naming, receipt, report_book
from stylefleet.naming import Ref
from stylefleet.report_book import evenly, spread
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, RUN, make_plan, make_receipt
from tests.unit.test_gallery import Parsed
from tests.world import World


def page(world: World, name: str = "spring") -> str:
    key = naming.report_page_key(name, world.status(name).run)
    return world.memory.get(Ref("service", key)).data.decode()


def test_a_run_that_ends_has_a_page_beside_its_report() -> None:
    world = World()
    world.submit()
    world.work_to_the_end(bad={"catalog/b.jpg": "truncated"})
    text = Parsed(page(world)).text
    for expected in ("spring", "Partially succeeded", "truncated", "vgg16-hed"):
        assert expected in text
    assert "Cost of this run" not in text, "there is no price"


def test_a_run_of_nothing_new_has_a_page_that_says_so() -> None:
    world = World()
    world.submit()
    world.work_to_the_end()
    world.submit()
    world.now += timedelta(seconds=5)
    world.tick(3)
    assert world.status().skipped == 3
    assert "No picture was computed in this run." in Parsed(page(world)).text


def test_a_run_that_was_cancelled_before_any_picture_has_a_page() -> None:
    world = World()
    world.submit()
    world.tick()
    world.put("spring.cancel")
    world.tick(4)
    assert "Cancelled" in Parsed(page(world)).text


def test_no_picture_outside_the_allowed_folders_is_read_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Ref, ...]] = []
    real = report_book.pairs_of
    monkeypatch.setattr(
        report_book, "pairs_of", lambda store, of, allowed: (seen.append(allowed), real(store, of, allowed))[1]
    )
    world = World()
    world.submit()
    world.work_to_the_end()
    assert seen == [(Ref("shop", ""),)]


@pytest.mark.parametrize("count", [1, 7, 100, 10_000])
def test_every_beginning_of_the_order_of_shards_is_spread_over_the_run(count: int) -> None:
    order = spread(count)
    assert sorted(order) == list(range(count))
    for part in (count // 10, count // 2):
        if part >= 3:
            beginning = sorted(order[:part])
            gaps = [b - a for a, b in itertools.pairwise(beginning)]
            assert max(gaps) <= 4 * count / part


def test_of_a_long_list_evenly_spaced_ones_are_taken() -> None:
    refs = [Ref("b", str(number)) for number in range(10)]
    assert [r.key for r in evenly(refs, 3)] == ["0", "3", "6"]
    assert evenly(refs, 10) == refs


def test_of_a_run_with_very_many_receipts_a_sample_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_book, "PARTS_READ_MAX", 12)
    store = MemoryStore("service")
    plan = make_plan(shards=(5,) * 20)
    for shard in range(20):
        for part in range(5):
            key = naming.receipts_key("spring", RUN, shard, "a", part)
            one = make_receipt(f"catalog/{shard}-{part}.jpg", shard=shard, finished_at=NOW)
            store.put(Ref("service", key), receipt.to_lines([one]))
    found = list(report_book._receipts(store, "service", plan, 20))
    assert len(found) == 12
    shards = sorted({one.shard for one in found})
    assert len(shards) == 3
    assert max(shards) - min(shards) >= 7, "not all from the beginning"


def test_a_picture_that_two_attempts_have_done_counts_once() -> None:
    store = MemoryStore("service")
    for attempt in ("a", "b"):
        key = naming.receipts_key("spring", RUN, 0, attempt, 0)
        store.put(Ref("service", key), receipt.to_lines([make_receipt("catalog/a.jpg", attempt=attempt)]))
    found = list(report_book._receipts(store, "service", make_plan(shards=(1,)), 1))
    assert [one.attempt for one in found] == ["a"]
