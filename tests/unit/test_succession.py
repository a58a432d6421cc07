"""Who may store results: the newest run of a name."""

from __future__ import annotations

import json

import pytest
from structlog.testing import capture_logs

from stylefleet import naming, worker_main
from stylefleet.errors import ExitCode, PreconditionFailed, RecordUnreadable, Superseded
from stylefleet.naming import Ref
from stylefleet.status import Phase
from stylefleet.stopping import Stop
from stylefleet.store_memory import MemoryStore
from stylefleet.succession import hand_over, require_newest
from tests.fake_cluster import HookedStore, nothing
from tests.world import World

NEWEST = Ref("service", naming.newest_key("spring"))
OLD, NEW = "0" * 16, "1" * 16


@pytest.fixture
def store() -> HookedStore:
    return HookedStore(MemoryStore("service"))


def agreed() -> None:
    """Nobody has begun another run."""


def test_where_no_run_followed_on_another_every_run_may_store(store: HookedStore) -> None:
    require_newest(store, "service", "spring", OLD)


def test_the_newest_run_may_store_and_any_other_is_told_which_one_is(store: HookedStore) -> None:
    hand_over(store, "service", "spring", NEW, confirm=agreed)
    require_newest(store, "service", "spring", NEW)
    with pytest.raises(Superseded, match=f"run {OLD} of spring is superseded by run {NEW}"):
        require_newest(store, "service", "spring", OLD)
    require_newest(store, "service", "summer", OLD)


def test_a_run_that_is_taken_up_again_may_store_again(store: HookedStore) -> None:
    hand_over(store, "service", "spring", NEW, confirm=agreed)
    hand_over(store, "service", "spring", OLD, confirm=agreed)
    require_newest(store, "service", "spring", OLD)


def test_what_is_said_already_is_not_written_again(store: HookedStore) -> None:
    hand_over(store, "service", "spring", NEW, confirm=agreed)
    hand_over(store, "service", "spring", NEW, confirm=agreed)
    assert store.puts == [NEWEST.key]


def test_without_confirmation_nothing_is_written(store: HookedStore) -> None:
    def refused() -> None:
        raise PreconditionFailed("another controller wrote the status")

    with pytest.raises(PreconditionFailed):
        hand_over(store, "service", "spring", OLD, confirm=refused)
    assert store.puts == []


@pytest.mark.parametrize("before", [False, True], ids=["the first", "a later"])
def test_a_controller_that_slept_between_confirming_and_writing_cannot_take_back_the_newer_word(
    store: HookedStore, before: bool
) -> None:
    if before:
        hand_over(store, "service", "spring", "2" * 16, confirm=agreed)

    def while_another_acts() -> None:
        hand_over(store, "service", "spring", NEW, confirm=agreed)

    with pytest.raises(PreconditionFailed):
        hand_over(store, "service", "spring", OLD, confirm=while_another_acts)
    require_newest(store, "service", "spring", NEW)


@pytest.mark.parametrize("data", [b"", b"[", b"[]", b"{}", b"7"])
def test_what_is_no_record_stops_workers_with_an_error_of_its_own_and_is_written_anew(
    store: HookedStore, data: bytes
) -> None:
    store.put(NEWEST, data)
    with pytest.raises(RecordUnreadable, match="newest run"):
        require_newest(store, "service", "spring", NEW)
    hand_over(store, "service", "spring", NEW, confirm=agreed)
    require_newest(store, "service", "spring", NEW)


def test_the_first_run_of_a_name_costs_no_request_and_every_later_one_is_announced_before_its_job() -> None:
    world = World()
    world.submit()
    seen: list[str] = []
    world.store.before = lambda method, ref: seen.append(f"{method} {ref.key}" if isinstance(ref, Ref) else method)
    world.tick()
    assert not [call for call in seen if NEWEST.key in call]
    world.submit(recipe={"size": 80, "preset": "draft"})
    world.tick()  # the old Job is told to end
    world.cluster.before = lambda method, _: seen.append(method)
    world.tick()
    assert seen.index(f"put {NEWEST.key}") < seen.index("create_job")
    world.store.before = world.cluster.before = nothing
    assert json.loads(world.memory.get(NEWEST).data) == {"run": world.status().run}


def test_a_worker_that_lives_on_unseen_stores_nothing_once_the_newer_run_has_its_job() -> None:
    world = World()
    world.submit()
    world.tick()
    world.submit(recipe={"size": 80, "preset": "draft"})
    world.tick(2)
    world.cluster.work()
    world.cluster.finish()
    results = world.keys("shop")
    world.cluster.work_unseen()
    world.tick(2)
    assert world.keys("shop") == results
    assert world.status().phase is Phase.SUCCEEDED


ENVIRONMENT = {
    "STYLEFLEET_BUCKET": "service",
    "STYLEFLEET_NAME": "spring",
    "STYLEFLEET_RUN": OLD,
    "STYLEFLEET_ATTEMPT": "a",
    "JOB_COMPLETION_INDEX": "0",
}


def test_a_superseded_worker_says_so_and_ends_with_a_code_that_is_not_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def superseded(*_: object) -> None:
        raise Superseded("run 0 of spring is superseded by run 1")

    monkeypatch.setattr(worker_main, "make_client", lambda *_, **__: None)
    monkeypatch.setattr(worker_main, "S3Store", lambda *_, **__: None)
    monkeypatch.setattr(worker_main, "load_shard", superseded)
    with capture_logs() as logged:
        assert worker_main.main(ENVIRONMENT, Stop(), began=0.0) is ExitCode.SHARD_INVALID
    assert [(line["error"], line["retry"]) for line in logged] == [("run 0 of spring is superseded by run 1", False)]


def test_without_its_status_a_name_that_had_runs_is_not_taken_for_a_new_one() -> None:
    world = World()
    world.submit()
    world.work_to_the_end()
    world.memory.delete(Ref("service", naming.status_key("spring")))
    world.restart()
    world.submit(recipe={"size": 80, "preset": "draft"})
    world.tick(2)
    assert json.loads(world.memory.get(NEWEST).data) == {"run": world.status().run}
