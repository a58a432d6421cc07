from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from stylefleet import naming, status
from stylefleet.errors import PreconditionFailed
from stylefleet.naming import Ref
from stylefleet.status import Phase, Status
from stylefleet.status_book import StatusBook
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, RUN

RUNNING = Status(name="spring", run=RUN, phase=Phase.RUNNING, pictures=3)
KEY = Ref("service", naming.status_key("spring"))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("service")


def written(store: MemoryStore) -> Status:
    return status.from_json(store.get(KEY).data)


def test_a_status_is_written_with_its_time_and_read_by_another_book(store: MemoryStore) -> None:
    StatusBook(store, "service").put(RUNNING, NOW)
    assert written(store) == replace(RUNNING, updated_at=NOW)
    assert StatusBook(store, "service").get("spring") == replace(RUNNING, updated_at=NOW)


def test_a_name_without_status_has_none(store: MemoryStore) -> None:
    assert StatusBook(store, "service").get("spring") is None


def test_what_says_nothing_new_is_not_written(store: MemoryStore) -> None:
    book = StatusBook(store, "service")
    book.put(RUNNING, NOW)
    book.put(replace(RUNNING, eta_seconds=9.0), NOW + timedelta(hours=1))
    StatusBook(store, "service").put(RUNNING, NOW + timedelta(hours=1))
    assert written(store).updated_at == NOW


def test_the_second_of_two_writers_loses_and_sees_the_others_word_when_it_looks_again(store: MemoryStore) -> None:
    one, other = StatusBook(store, "service"), StatusBook(store, "service")
    one.put(RUNNING, NOW)
    other.get("spring")
    one.put(replace(RUNNING, done=2), NOW)
    with pytest.raises(PreconditionFailed):
        other.put(replace(RUNNING, done=1), NOW)
    assert written(store).done == 2
    found = other.get("spring")
    assert found is not None
    assert found.done == 2
    other.put(replace(RUNNING, done=3), NOW)
    assert written(store).done == 3


def test_of_two_first_writers_one_loses(store: MemoryStore) -> None:
    one, other = StatusBook(store, "service"), StatusBook(store, "service")
    assert one.get("spring") is None
    assert other.get("spring") is None
    one.put(RUNNING, NOW)
    with pytest.raises(PreconditionFailed):
        other.put(replace(RUNNING, run="other"), NOW)
    assert written(store).run == RUN


def test_a_status_that_was_deleted_by_hand_loses_one_write_and_then_comes_back(store: MemoryStore) -> None:
    book = StatusBook(store, "service")
    book.put(RUNNING, NOW)
    store.delete(KEY)
    with pytest.raises(PreconditionFailed):
        book.put(replace(RUNNING, done=1), NOW)
    book.put(replace(RUNNING, done=1), NOW)
    assert written(store).done == 1


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"name": "spring"}', b"\xff\xfe"])
def test_a_status_that_cannot_be_read_counts_as_none_and_is_replaced(store: MemoryStore, data: bytes) -> None:
    store.put(KEY, data)
    book = StatusBook(store, "service")
    assert book.get("spring") is None
    book.put(RUNNING, NOW)
    assert written(store).run == RUN


def test_the_names_of_live_runs_are_known_after_a_restart(store: MemoryStore) -> None:
    first = StatusBook(store, "service")
    first.put(RUNNING, NOW)
    first.put(replace(RUNNING, name="summer", phase=Phase.PENDING), NOW)
    first.put(replace(RUNNING, name="autumn", phase=Phase.SUCCEEDED), NOW)
    store.put(Ref("service", "status/broken.json"), b"{")
    book = StatusBook(store, "service")
    assert book.live_names() == set()
    book.load_all()
    assert book.live_names() == {"spring", "summer"}
    book.put(replace(RUNNING, phase=Phase.CANCELLED), NOW)
    assert book.live_names() == {"summer"}


def test_a_live_run_whose_status_somebody_wrote_over_is_not_forgotten(store: MemoryStore) -> None:
    book = StatusBook(store, "service")
    book.put(RUNNING, NOW)
    StatusBook(store, "service").put(replace(RUNNING, message="by the other one"), NOW)
    with pytest.raises(PreconditionFailed):
        book.put(replace(RUNNING, done=2), NOW)
    assert book.live_names() == {RUNNING.name}
    found = book.get(RUNNING.name)
    assert found is not None
    assert found.message == "by the other one"
