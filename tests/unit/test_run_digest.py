from __future__ import annotations

import math
import tracemalloc
from datetime import timedelta

import pytest

from stylefleet.run_digest import BINS_MAX, SHOWN_CANDIDATES, SLOWEST_SHOWN, RunDigest, bin_seconds
from tests.builders import NOW, failed_receipt, make_receipt


def digest(*, minutes: float = 10, pictures: int = 30) -> RunDigest:
    return RunDigest(started_at=NOW, finished_at=NOW + timedelta(minutes=minutes), pictures=pictures)


def test_pictures_are_counted_in_the_span_in_which_they_ended() -> None:
    of_run = digest()
    assert (of_run.bin_seconds, len(of_run.bins)) == (60, 10)
    for seconds in (5, 59, 61, 599):
        of_run.add(make_receipt(f"catalog/{seconds}.jpg", finished_at=NOW + timedelta(seconds=seconds)))
    of_run.add(failed_receipt("catalog/b.jpg"))
    assert [b.done for b in of_run.bins] == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1]
    assert [b.failed for b in of_run.bins][:3] == [0, 1, 0]
    assert of_run.counted == 5


def test_a_worker_with_a_wrong_clock_counts_at_the_edge() -> None:
    of_run = digest()
    of_run.add(make_receipt("catalog/a.jpg", finished_at=NOW - timedelta(days=400)))
    of_run.add(make_receipt("catalog/b.jpg", finished_at=NOW + timedelta(days=400)))
    of_run.add(make_receipt("catalog/c.jpg", finished_at=(NOW + timedelta(days=4)).replace(tzinfo=None)))
    assert (of_run.bins[0].done, of_run.bins[-1].done) == (1, 2)


@pytest.mark.parametrize("span", [1, 90, 3600, 86_400, 90 * 86_400, 3e9])
@pytest.mark.parametrize("pictures", [0, 1, 40, 10**6])
def test_a_chart_never_has_more_spans_than_can_be_drawn(span: float, pictures: int) -> None:
    assert math.ceil(span / bin_seconds(span, pictures)) <= BINS_MAX


def test_the_slowest_pictures_are_kept_by_all_that_they_took() -> None:
    of_run = digest()
    for number in range(100):
        of_run.add(make_receipt(f"catalog/{number}.jpg", stage_seconds={"fetch": 1.0, "optimize": float(number)}))
    assert [s.seconds for s in of_run.slowest] == [float(n + 1) for n in range(99, 99 - SLOWEST_SHOWN, -1)]


def test_results_to_show_are_the_same_whatever_the_order_of_the_receipts() -> None:
    receipts = [make_receipt(f"catalog/{number}.jpg") for number in range(200)]
    one, other = digest(), digest()
    for receipt in receipts:
        one.add(receipt)
    for receipt in reversed(receipts):
        other.add(receipt)
    assert len(one.candidates) == SHOWN_CANDIDATES
    assert one.candidates == other.candidates
    assert {r.task_id for r in one.candidates} == set(sorted(r.task_id for r in receipts)[:SHOWN_CANDIDATES])


def test_a_digest_does_not_grow_with_the_run() -> None:
    def bytes_for(pictures: int) -> int:
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        of_run = digest(pictures=pictures)
        for number in range(pictures):
            of_run.add(make_receipt(f"catalog/{number}.jpg"))
        size = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        assert of_run.counted == pictures
        return size

    bytes_for(200)  # what is made once
    assert bytes_for(8000) < bytes_for(400) + 30_000
