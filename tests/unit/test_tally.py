from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stylefleet.tally import FAILURES_LISTED_MAX, Tally
from tests.builders import FACTS, failed_receipt, make_receipt


def test_done_and_failed_tasks_are_counted_by_reason_and_shard() -> None:
    tally = Tally()
    for one in (
        make_receipt("catalog/a.jpg", shard=0),
        make_receipt("catalog/b.jpg", shard=1),
        failed_receipt("catalog/c.jpg", reason="undecodable"),
        failed_receipt("catalog/d.jpg", reason="too_small"),
        failed_receipt("catalog/e.jpg", reason="too_small"),
    ):
        assert tally.add(one)
    assert (tally.done, tally.failed, tally.ended) == (2, 3, 5)
    assert tally.failed_by_reason == Counter(undecodable=1, too_small=2)
    assert tally.tasks_by_shard == Counter({0: 4, 1: 1})
    assert [r.content for r in tally.failures] == [f"s3://shop/catalog/{n}.jpg" for n in "cde"]


def test_a_task_counts_once_and_its_first_receipt_stands() -> None:
    tally = Tally()
    assert tally.add(make_receipt("catalog/a.jpg", stage_seconds={"optimize": 2.0}))
    assert not tally.add(make_receipt("catalog/a.jpg", stage_seconds={"optimize": 5.0}, attempt="another"))
    assert not tally.add(failed_receipt("catalog/a.jpg"))
    assert (tally.done, tally.failed, tally.ended) == (1, 0, 1)
    assert tally.stage_seconds == {"optimize": 2.0}
    assert tally.tasks_by_shard == Counter({0: 1})


def test_stage_seconds_are_summed_also_over_failures() -> None:
    tally = Tally()
    tally.add(make_receipt("catalog/a.jpg", stage_seconds={"fetch": 0.25, "optimize": 2.0}))
    tally.add(failed_receipt("catalog/b.jpg"))
    assert tally.stage_seconds == {"fetch": 0.5, "optimize": 2.0}


def test_every_engine_that_took_part_is_named_once() -> None:
    tally = Tally()
    gpu = replace(FACTS, device="gpu")
    for key, facts in (("a", FACTS), ("b", gpu), ("c", gpu), ("d", None)):
        tally.add(make_receipt(f"catalog/{key}.jpg", engine=facts))
    assert tally.engines == {FACTS, gpu}


def test_failures_are_listed_up_to_a_limit_and_counted_beyond() -> None:
    tally = Tally()
    for number in range(FAILURES_LISTED_MAX + 5):
        tally.add(failed_receipt(f"catalog/{number}.jpg"))
    assert len(tally.failures) == FAILURES_LISTED_MAX
    assert tally.failed == FAILURES_LISTED_MAX + 5


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 2)), max_size=30))
def test_the_sums_agree_however_receipts_repeat(events: list[tuple[int, bool, int]]) -> None:
    tally = Tally()
    for number, good, shard in events:
        key = f"catalog/{number}.jpg"
        tally.add(replace(make_receipt(key) if good else failed_receipt(key), shard=shard))
    assert tally.done + tally.failed == tally.ended == len({n for n, _, _ in events}) == tally.tasks_by_shard.total()


def test_failures_are_told_in_words_with_the_message_where_it_is_one_for_all() -> None:
    tally = Tally()
    assert tally.failures_in_words == ""
    tally.add(failed_receipt("catalog/a.jpg", reason="weights_invalid", message="another SHA-256"))
    tally.add(failed_receipt("catalog/b.jpg", reason="weights_invalid", message="another SHA-256"))
    assert tally.failures_in_words == "2 weights_invalid: another SHA-256"
    tally.add(failed_receipt("catalog/c.jpg", reason="truncated"))
    assert tally.failures_in_words == "2 weights_invalid, 1 truncated"
