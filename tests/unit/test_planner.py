from __future__ import annotations

import pytest

from stylefleet import naming, planner
from stylefleet.naming import Ref
from stylefleet.plan import Plan, tasks_from_bytes
from stylefleet.planner import Pace
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, RUN, jpeg_bytes, make_manifest


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore("service", "shop")
    store.put(Ref("shop", "styles/waves.jpg"), jpeg_bytes())
    for name in "abc":
        store.put(Ref("shop", f"catalog/{name}.jpg"), name.encode())
    return store


def plan(store: MemoryStore, **spec: object) -> Plan:
    return planner.plan_run(
        store,
        "service",
        manifest=make_manifest(**spec),
        manifest_bytes=b"manifest",
        run=RUN,
        pace=Pace(shard_seconds=900.0, worker_flops=1e12),
        now=NOW,
    )


def keys_of_shard(store: MemoryStore, made: Plan, index: int) -> list[str]:
    entry = made.shards[index]
    data = store.get(Ref("service", naming.shard_key(made.name, made.run, index, entry.digest))).data
    return [t.content.key for t in tasks_from_bytes(data)]


def test_a_plan_and_its_shards_are_in_the_bucket(store: MemoryStore) -> None:
    made = plan(store)
    assert planner.load_plan(store, "service", "spring", RUN) == made
    assert (made.pictures, made.skipped, [s.tasks for s in made.shards]) == (3, 0, [2, 1])
    assert keys_of_shard(store, made, 0) == ["catalog/a.jpg", "catalog/b.jpg"]
    assert keys_of_shard(store, made, 1) == ["catalog/c.jpg"]


def test_there_is_no_plan_before_planning(store: MemoryStore) -> None:
    assert planner.load_plan(store, "service", "spring", RUN) is None


def test_the_first_plan_of_a_run_stands_whatever_a_second_planner_sees(store: MemoryStore) -> None:
    first = plan(store)
    store.put(Ref("shop", "catalog/d.jpg"), b"d")
    assert plan(store) == first
    assert planner.load_plan(store, "service", "spring", RUN) == first
    assert keys_of_shard(store, first, 1) == ["catalog/c.jpg"]


def test_a_picture_that_is_named_twice_is_planned_once(store: MemoryStore) -> None:
    made = plan(store, content={"keys": ["s3://shop/catalog/a.jpg", "s3://shop/catalog/a.jpg"]})
    assert made.pictures == 1


def test_styles_are_pinned_to_the_version_that_is_there(store: MemoryStore) -> None:
    made = plan(store)
    assert [s.etag for s in made.styles] == [store.get(Ref("shop", "styles/waves.jpg")).etag]
