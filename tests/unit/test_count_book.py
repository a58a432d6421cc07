"""Receipts are counted at one moment, the put of the totals: before it not at all, after it by nobody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from stylefleet import naming
from stylefleet.count_book import CountBook
from stylefleet.errors import AccessDenied, PreconditionFailed
from stylefleet.naming import TOTALS_KEY, Ref
from stylefleet.status import Phase, Status
from stylefleet.store_memory import MemoryStore
from stylefleet.totals import Totals
from tests.builders import NOW, make_receipt
from tests.fake_cluster import HookedStore

RUN = "0123456789abcdef"
ENDED = Status(name="spring", run=RUN, phase=Phase.SUCCEEDED, started_at=NOW, finished_at=NOW + timedelta(seconds=90))
TOTALS = Ref("service", TOTALS_KEY)


class Book:
    """A book with what it showed last."""

    def __init__(self, store: HookedStore, *, status: Status | None = None) -> None:
        self.shown: list[Totals] = []
        self.real = CountBook(store, "service", show=self.shown.append)
        self.real.load()
        self.real.settle(lambda _: status)

    def saw(self, *keys: str, shard: int = 0, part: int = 0, attempt: str = "a-1", complete: bool = False) -> None:
        """Receipts of these pictures, in one object."""
        key = naming.receipts_key("spring", RUN, shard, attempt, part)
        fresh = [make_receipt(key, shard=shard, worker_seconds=4.0) for key in keys]
        self.real.saw("spring", RUN, shard, key, fresh, complete=complete, now=NOW)

    @property
    def done(self) -> int:
        return self.shown[-1].pictures["done", ""]


@pytest.fixture
def store() -> HookedStore:
    return HookedStore(MemoryStore("service"))


def test_nothing_is_shown_before_it_is_kept(store: HookedStore) -> None:
    book = Book(store)
    book.saw("a.jpg")
    assert book.done == 0
    book.real.commit()
    assert book.done == 1


def test_a_new_controller_sets_out_from_what_was_kept_and_counts_only_what_was_not(store: HookedStore) -> None:
    first = Book(store)
    first.saw("a.jpg", part=0)
    first.real.commit()
    first.saw("b.jpg", part=1)  # and dies before it is kept
    second = Book(store)
    assert second.done == 1
    second.saw("a.jpg", part=0)
    second.saw("b.jpg", part=1)
    second.saw("c.jpg", attempt="a-2", part=0)
    second.real.commit()
    assert second.done == 3
    assert second.shown[-1].worker_seconds == 12.0


def test_a_shard_counts_once_when_its_last_picture_has_ended(store: HookedStore) -> None:
    first = Book(store)
    first.saw("a.jpg", part=0)
    first.real.commit()
    second = Book(store)
    for book in (second, second):
        book.saw("a.jpg", part=0)
        book.saw("b.jpg", part=1, complete=True)
        book.real.commit()
    third = Book(store)
    third.saw("a.jpg", part=0)
    third.saw("b.jpg", part=1, complete=True)
    third.real.commit()
    assert (sum(third.shown[-1].shards.counts), third.shown[-1].shards.total) == (1, 8.0)


def test_a_run_has_one_duration_also_where_its_controller_died_after_its_last_word(store: HookedStore) -> None:
    first = Book(store)
    first.saw("a.jpg", complete=True)
    first.real.commit()
    second = Book(store, status=ENDED)
    second.real.commit()
    third = Book(store, status=ENDED)
    third.real.ended(ENDED)
    third.real.commit()
    assert third.shown[-1].runs["Succeeded"].total == 90.0
    assert sum(third.shown[-1].runs["Succeeded"].counts) == 1


def test_a_run_that_ended_before_it_began_by_a_clock_that_was_set_back_took_no_time(store: HookedStore) -> None:
    book = Book(store)
    book.real.begun("spring", RUN)
    book.real.ended(replace(ENDED, finished_at=NOW - timedelta(hours=1)))
    book.real.commit()
    assert (sum(book.shown[-1].runs["Succeeded"].counts), book.shown[-1].runs["Succeeded"].total) == (1, 0.0)


def test_of_two_controllers_the_slower_one_is_told_and_counts_nothing_until_it_has_looked_again(
    store: HookedStore,
) -> None:
    slow, quick = Book(store), Book(store)
    for book in (slow, quick):
        book.saw("a.jpg")
    quick.real.commit()
    for _ in range(2):
        with pytest.raises(PreconditionFailed):
            slow.real.commit()
    assert slow.real.outdated
    slow.real.load()
    slow.saw("a.jpg")
    slow.real.commit()
    assert (slow.done, quick.done) == (1, 1)


def test_nothing_is_put_where_nothing_was_counted(store: HookedStore) -> None:
    book = Book(store)
    book.real.commit()
    book.saw("a.jpg")
    book.real.commit()
    book.real.commit()
    assert store.puts == [TOTALS_KEY]


def test_what_was_counted_by_a_run_that_was_superseded_is_forgotten_but_stays_in_the_totals(store: HookedStore) -> None:
    book = Book(store)
    book.saw("a.jpg")
    assert book.real.others("spring", "another") == [RUN]
    assert book.real.others("spring", RUN) == book.real.others("summer", "another") == []
    book.real.superseded(RUN)
    assert book.real.others("spring", "another") == []
    book.real.commit()
    assert Book(store).done == 1


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"totals": {}, "runs": {}}'])
def test_totals_that_somebody_spoilt_begin_anew_and_are_written_over(store: HookedStore, data: bytes) -> None:
    store.real.put(TOTALS, data)
    book = Book(store)
    assert book.done == 0
    book.saw("a.jpg")
    book.real.commit()
    assert Book(store).done == 1


def test_without_the_right_to_keep_them_the_counters_last_as_long_as_the_process(store: HookedStore) -> None:
    def refuse(method: str, _ref: object) -> None:
        if method == "put":
            raise AccessDenied("s3:PutObject")

    store.before = refuse
    book = Book(store)
    for shard in (0, 1):
        book.saw("a.jpg", shard=shard)
        book.real.commit()
    assert book.done == 2


@pytest.mark.parametrize("odd", [lambda run: f"runs/spring/{run}/receipts/00000/readme", lambda _: "elsewhere"])
def test_an_object_with_another_name_than_a_part_of_receipts_counts_once_too(
    store: HookedStore, odd: Callable[[str], str]
) -> None:
    first = Book(store)
    first.real.saw("spring", RUN, 0, odd(RUN), [make_receipt()], complete=False, now=NOW)
    first.real.commit()
    second = Book(store)
    second.real.saw("spring", RUN, 0, odd(RUN), [make_receipt()], complete=False, now=NOW)
    second.real.commit()
    assert second.done == 1
