from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet.errors import RecordUnreadable
from stylefleet.receipt import AttemptStart
from stylefleet.totals import Distribution, Totals, totals_from
from tests.builders import FACTS, NOW, failed_receipt, make_receipt


def some_totals() -> Totals:
    totals = Totals()
    receipts = [
        make_receipt(worker_seconds=7.25, start=AttemptStart(style_hits=2, style_misses=1, died=1, stopped=4)),
        make_receipt("catalog/b.jpg", worker_seconds=1800.0, engine=FACTS_ON_TWO_GPUS),
        failed_receipt("catalog/c.jpg", reason="too_small"),
    ]
    totals.add(receipts, price_per_gpu_hour=3.0, now=NOW)
    totals.shards.observe(12.5)
    totals.runs["Succeeded"].observe(400.0)
    return totals


FACTS_ON_TWO_GPUS = type(FACTS)(**(vars(FACTS) | {"gpus": 2, "precision": "mixed_float16"}))


def test_totals_are_read_back_from_what_is_kept_of_them() -> None:
    totals = some_totals()
    document = json.loads(json.dumps(totals.to_document()))
    assert totals_from(document).to_document() == totals.to_document()


def test_receipts_add_up() -> None:
    totals = some_totals()
    assert totals.pictures == {("done", ""): 2, ("failed", "too_small"): 1}
    assert totals.pixels == 2 * 64 * 48
    assert totals.iterations == 2 * 56
    assert totals.stages["optimize"].total == 4.0
    assert totals.batch_sizes.buckets[:2] == [("1.0", 0), ("2.0", 2)]
    assert totals.by_engine == {(FACTS.precision, "cpu"): 1, ("mixed_float16", "gpu"): 1}
    assert totals.style_lookups == {"hit": 2, "miss": 1}
    assert totals.retries == {"died": 1, "stopped": 4}


def test_a_worker_costs_by_its_gpus_and_one_without_as_if_it_had_one() -> None:
    totals = some_totals()
    assert totals.worker_seconds == 1807.25
    assert totals.gpu_seconds == 3600.0
    assert totals.cost == pytest.approx(3.0 * (7.25 + 2 * 1800) / 3600)


def test_the_last_success_is_when_it_was_seen_whatever_a_workers_clock_says() -> None:
    totals = Totals()
    totals.add([failed_receipt("catalog/c.jpg")], price_per_gpu_hour=None, now=NOW)
    assert totals.last_success == 0
    totals.add([make_receipt(finished_at=NOW + timedelta(hours=5))], price_per_gpu_hour=None, now=NOW)
    assert totals.last_success == NOW.timestamp()
    totals.add([make_receipt()], price_per_gpu_hour=None, now=NOW - timedelta(hours=1))
    assert totals.last_success == NOW.timestamp(), "a clock that is set back takes nothing back"


@given(st.lists(st.floats(0, 200, allow_nan=False)))
def test_a_distribution_counts_each_value_in_every_bucket_that_is_not_below_it(values: list[float]) -> None:
    distribution = Distribution((1.0, 10.0, 100.0))
    for value in values:
        distribution.observe(value)
    assert distribution.buckets == [
        (text, sum(1 for value in values if value <= bound))
        for text, bound in (("1.0", 1.0), ("10.0", 10.0), ("100.0", 100.0), ("+Inf", float("inf")))
    ]
    assert distribution.total == pytest.approx(sum(values))


@pytest.mark.parametrize(
    "spoil", [lambda d: d.pop("pixels"), lambda d: d["shards"]["counts"].pop(), lambda d: d.clear()]
)
def test_what_are_no_totals_is_a_plain_error(spoil: object) -> None:
    document = some_totals().to_document()
    spoil(document)  # type: ignore[operator]
    with pytest.raises(RecordUnreadable, match="the totals cannot be read"):
        totals_from(document)
