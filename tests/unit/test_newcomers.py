from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stylefleet.naming import Ref
from stylefleet.newcomers import BYTES_MAX, READ_MAX, Newcomers, Wish, wish_of
from stylefleet.store import Listed
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, manifest_bytes
from tests.fake_cluster import HookedStore


@pytest.fixture
def store() -> HookedStore:
    return HookedStore(MemoryStore("service", clock=lambda: NOW))


def put(store: HookedStore, name: str, data: bytes) -> None:
    store.put(Ref("service", f"jobs/{name}.yaml"), data)


def listed(store: HookedStore) -> dict[str, Listed]:
    return {o.ref.key[5:-5]: o for o in store.list(Ref("service", "jobs/"))}


def reads(store: HookedStore) -> list[str]:
    """Keys that are read from now on."""
    seen: list[str] = []
    store.before = lambda method, subject: seen.append(str(subject)) if method == "get" else None
    return seen


def test_a_manifest_is_asked_for_its_priority_and_parallelism() -> None:
    assert wish_of(manifest_bytes("a", run={"priority": "high", "parallelism": 30})) == Wish(
        priority="high", parallelism=30
    )
    assert wish_of(manifest_bytes("a")) == Wish(priority="normal", parallelism=2)


@pytest.mark.parametrize(
    "document",
    [
        "[1",
        "",
        "&a [*a]",
        "7",
        "{spec: 7}",
        "{spec: {run: [priority]}}",
        "{spec: {run: {priority: urgent, parallelism: 0}}}",
        "{spec: {run: {priority: [high], parallelism: true}}}",
        "{spec: {run: {priority: null, parallelism: 1e9}}}",
        "\x00",
    ],
)
def test_what_cannot_be_read_asks_for_nothing_special(document: str) -> None:
    assert wish_of(document.encode()) == Wish()


def test_each_put_is_read_once_and_a_new_one_anew(store: HookedStore) -> None:
    put(store, "a", manifest_bytes("a", run={"priority": "high"}))
    put(store, "b", manifest_bytes("b"))
    newcomers, seen = Newcomers(store), reads(store)
    assert newcomers.wishes(listed(store))["a"].priority == "high"
    newcomers.wishes(listed(store))
    assert len(seen) == 2
    put(store, "a", manifest_bytes("a", run={"priority": "low"}))
    assert newcomers.wishes(listed(store))["a"].priority == "low"
    assert len(seen) == 3


def test_one_alone_is_not_read_ahead(store: HookedStore) -> None:
    put(store, "a", manifest_bytes("a", run={"priority": "high"}))
    seen = reads(store)
    assert Newcomers(store).wishes(listed(store)) == {"a": Wish()}
    assert seen == []


def test_what_is_read_ahead_has_a_bound(store: HookedStore) -> None:
    for number in range(READ_MAX + 20):
        put(store, f"{number:04d}", manifest_bytes("a"))
    long = json.loads(manifest_bytes("long")) | {"note": "x" * BYTES_MAX}
    put(store, "0000", json.dumps(long).encode())
    newcomers, seen, waiting = Newcomers(store), reads(store), listed(store)
    assert len(newcomers.wishes(waiting)) == READ_MAX + 20
    assert len(seen) == READ_MAX - 1, "and what is too long is not read"
    newcomers.wishes(waiting)
    assert len(seen) == READ_MAX - 1 + 20, "the rest in the next tick"


def test_a_manifest_that_is_gone_meanwhile_asks_for_nothing_special(store: HookedStore) -> None:
    put(store, "a", manifest_bytes("a"))
    waiting = listed(store)
    gone = replace(waiting["a"], ref=Ref("service", "jobs/gone.yaml"))
    assert Newcomers(store).wishes({**waiting, "gone": gone})["gone"] == Wish()
