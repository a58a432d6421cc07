from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet import progress
from stylefleet.errors import RecordUnreadable
from stylefleet.tally import Tally
from tests.builders import FACTS, failed_receipt, make_receipt


def test_done_and_failed_tasks_are_counted_by_reason_and_shard() -> None:
    tally = Tally([5, 3, 2])
    for one in (
        make_receipt("catalog/a.jpg", shard=0),
        make_receipt("catalog/b.jpg", shard=1),
        failed_receipt("catalog/c.jpg", reason="undecodable"),
        failed_receipt("catalog/d.jpg", reason="too_small"),
        failed_receipt("catalog/e.jpg", reason="too_small"),
    ):
        assert tally.add(one)
    assert (tally.done, tally.failed, tally.ended) == (2, 3, 5)
    assert tally.sums.failed_by_reason == Counter(undecodable=1, too_small=2)
    assert dict(tally.missing()) == {0: 1, 1: 2, 2: 2}
    assert tally.shards_with_failures == {0}


def test_a_task_counts_once_and_its_first_receipt_stands() -> None:
    tally = Tally([2])
    assert tally.add(make_receipt("catalog/a.jpg", stage_seconds={"optimize": 2.0}))
    assert not tally.add(make_receipt("catalog/a.jpg", stage_seconds={"optimize": 5.0}, attempt="another"))
    assert not tally.add(failed_receipt("catalog/a.jpg"))
    assert (tally.done, tally.failed, tally.ended) == (1, 0, 1)
    assert tally.sums.stage_seconds == {"optimize": 2.0}


def test_a_shard_whose_every_task_has_a_receipt_is_complete_and_counts_nothing_more() -> None:
    tally = Tally([1, 2])
    tally.add(make_receipt("catalog/a.jpg", shard=0))
    assert (tally.complete, tally.first_incomplete) == ({0}, 1)
    assert not tally.add(make_receipt("catalog/a.jpg", shard=0, attempt="another"))
    assert not tally.add(failed_receipt("catalog/a.jpg"))
    assert (tally.done, tally.failed, dict(tally.missing())) == (1, 0, {1: 2})


def test_without_any_incomplete_shard_the_first_incomplete_is_beyond_the_last() -> None:
    tally = Tally([1])
    tally.add(make_receipt("catalog/a.jpg", shard=0))
    assert tally.first_incomplete == 1
    assert Tally([]).first_incomplete == 0


@pytest.mark.parametrize("shard", [-1, 2])
def test_a_receipt_of_a_shard_that_the_run_has_not_is_an_error_that_names_it(shard: int) -> None:
    with pytest.raises(RecordUnreadable, match=f"shard {shard} of a run with 2 shards"):
        Tally([1, 1]).add(make_receipt(shard=shard))


def test_stage_seconds_are_summed_also_over_failures() -> None:
    tally = Tally([2])
    tally.add(make_receipt("catalog/a.jpg", stage_seconds={"fetch": 0.25, "optimize": 2.0}))
    tally.add(failed_receipt("catalog/b.jpg"))
    assert tally.sums.stage_seconds == {"fetch": 0.5, "optimize": 2.0}


def test_every_engine_that_took_part_is_named_once() -> None:
    tally = Tally([4])
    gpu = replace(FACTS, device="gpu")
    for key, facts in (("a", FACTS), ("b", gpu), ("c", gpu), ("d", None)):
        tally.add(make_receipt(f"catalog/{key}.jpg", engine=facts))
    assert tally.sums.engines == {FACTS, gpu}


def test_worker_time_is_summed_and_a_worker_without_gpu_is_paid_for_as_one() -> None:
    tally = Tally([3])
    tally.add(make_receipt("catalog/a.jpg", worker_seconds=3.0))
    tally.add(make_receipt("catalog/b.jpg", worker_seconds=10.0, engine=replace(FACTS, gpus=2)))
    tally.add(make_receipt("catalog/b.jpg", worker_seconds=99.0, attempt="another"))
    tally.add(replace(failed_receipt("catalog/c.jpg"), worker_seconds=0.5))
    sums = tally.sums
    assert (sums.worker_seconds, sums.gpu_seconds, sums.paid_seconds) == (13.5, 20.0, 23.5)
    restored = progress.tally_from(progress.to_json(tally), [3]).sums
    assert (restored.worker_seconds, restored.gpu_seconds, restored.paid_seconds) == (13.5, 20.0, 23.5)


def test_progress_of_an_earlier_version_knows_no_worker_time() -> None:
    tally = Tally([1])
    tally.add(make_receipt("catalog/a.jpg", worker_seconds=3.0))
    document = json.loads(progress.to_json(tally))
    for name in ("workerSeconds", "gpuSeconds", "paidSeconds"):
        del document[name]
    restored = progress.tally_from(json.dumps(document).encode(), [1])
    assert (restored.done, restored.sums.worker_seconds, restored.sums.paid_seconds) == (1, 0.0, 0.0)


EVENTS = st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30)
"""Receipts of picture N, good or bad; picture N is in shard N // 2."""


def _told(events: list[tuple[int, bool]], tally: Tally) -> Tally:
    for number, good in events:
        key = f"catalog/{number}.jpg"
        one = make_receipt(key, stage_seconds={"optimize": 0.5}) if good else failed_receipt(key, reason=f"{number}")
        tally.add(replace(one, shard=number // 2))
    return tally


@given(EVENTS)
def test_the_sums_agree_however_receipts_repeat(events: list[tuple[int, bool]]) -> None:
    tally = _told(events, Tally([2, 2, 2]))
    assert tally.done + tally.failed == tally.ended == len({n for n, _ in events})
    assert tally.failed == tally.sums.failed_by_reason.total()
    assert tally.ended + sum(dict(tally.missing()).values()) == 6


@given(EVENTS)
def test_a_new_controller_that_goes_on_from_the_progress_counts_the_same(events: list[tuple[int, bool]]) -> None:
    told = _told(events, Tally([2, 2, 2]))
    # It reads the receipts of the incomplete shards again, and may meet those of the others as well.
    restored = _told(events, progress.tally_from(progress.to_json(told), [2, 2, 2]))
    assert restored.sums == told.sums
    assert (restored.done, restored.failed, restored.complete) == (told.done, told.failed, told.complete)
    assert restored.shards_with_failures == told.shards_with_failures
    assert (restored.first_failure == "") == (told.first_failure == "")


def test_progress_without_receipts_counts_the_complete_shards() -> None:
    tally = Tally([1, 1])
    tally.add(failed_receipt("catalog/a.jpg", reason="truncated", message="it ends early"))
    restored = progress.tally_from(progress.to_json(tally), [1, 1])
    assert (restored.ended, restored.failed, restored.first_incomplete) == (1, 1, 1)
    assert restored.failures_in_words == "1 truncated: it ends early"


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"completeShards": "0-9"}', b"\xff"])
def test_progress_of_another_shape_is_unreadable(data: bytes) -> None:
    with pytest.raises(RecordUnreadable):
        progress.tally_from(data, [1, 1])


def test_progress_of_shards_that_the_run_has_not_is_unreadable() -> None:
    with pytest.raises(RecordUnreadable, match="more than 1 shards"):
        progress.tally_from(progress.to_json(_told([(0, True), (1, True), (2, True), (3, True)], Tally([2, 2]))), [2])


def test_what_a_complete_shard_leaves_in_memory_does_not_grow_with_its_pictures() -> None:
    def bytes_left(pictures: int) -> int:
        tally = Tally([pictures])
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(pictures):
            tally.add(make_receipt(f"catalog/{number}.jpg", shard=0))
        left = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert tally.complete == {0}
        return left

    bytes_left(10)  # what is made once, such as interned strings
    assert bytes_left(4000) < bytes_left(40) + 20_000


def test_failures_are_told_in_words_with_the_message_where_it_is_one_for_all() -> None:
    tally = Tally([4])
    assert tally.failures_in_words == ""
    tally.add(failed_receipt("catalog/a.jpg", reason="weights_invalid", message="another SHA-256"))
    tally.add(failed_receipt("catalog/b.jpg", reason="weights_invalid", message="another SHA-256"))
    assert tally.failures_in_words == "2 weights_invalid: another SHA-256"
    tally.add(failed_receipt("catalog/c.jpg", reason="truncated"))
    assert tally.failures_in_words == "2 weights_invalid, 1 truncated"
