"""kill -9 of a worker at every one of its calls to the store, before the call takes effect and after; then again.

Every point is enumerated: the calls of an attempt that nobody disturbs, and of each one that follows on a death.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial

import pytest

from stylefleet import engine as engines
from stylefleet.naming import Ref
from stylefleet.receipt import Receipt
from stylefleet.recipe import Scale
from stylefleet.stopping import Stop
from stylefleet.store import Store
from stylefleet.store_memory import MemoryStore
from stylefleet.worker import Worker
from tests.builders import NOW
from tests.engine.scripted import World, scripted
from tests.engine.test_worker import SETTINGS, Shard, exact
from tests.fleet import picture
from tests.mortal_store import Killed, MortalStore, Point

BUCKETS = ("service", "shop")


def copied(store: Store) -> MemoryStore:
    """The same objects; what happens to one store does not happen to the other."""
    copy = MemoryStore(*BUCKETS)
    for bucket in BUCKETS:
        for listed in store.list(Ref(bucket, "")):
            found = store.get(listed.ref)
            copy.put(found.ref, found.data, metadata=found.metadata)
    return copy


def objects(store: Store, bucket: str, prefix: str) -> dict[str, bytes]:
    return {o.ref.key: store.get(o.ref).data for o in store.list(Ref(bucket, prefix))}


@dataclass(frozen=True)
class Attempts:
    """Attempts at one shard, each with a bucket as the one before left it."""

    attempt: Callable[[MemoryStore, MortalStore, str], None]
    """Run one attempt on a bucket, through this view of it."""

    def run(self, memory: MemoryStore, name: str, dies_at: Point | None = None) -> MortalStore:
        """An attempt that dies there, or ends well."""
        store = MortalStore(memory, dies_at)
        with suppress(Killed):
            self.attempt(memory, store, name)
        assert store.dead == (dies_at is not None), "every point is reached"
        return store


def checked(memory: MemoryStore, results: dict[str, bytes], receipts: Collection[Receipt]) -> None:
    """Each picture has one receipt, each receipt its result, with the bytes of a shard that nobody disturbed."""
    assert objects(memory, "shop", "restyled/") == results
    assert {r.outcome for r in receipts} == {"done"}
    for one in receipts:
        key = one.result.removeprefix("s3://shop/")
        assert memory.get(Ref("shop", key)).etag == one.result_etag
    assert objects(memory, "service", "checkpoints/") == {}
    assert objects(memory, "service", "attempts/") == {}


class Scripted:
    """Two batches, one of which has checkpoints, with an engine that is a script."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.picture(10, 20)
        world.picture(30, size=(20, 32))
        world.at_step = self._at_step
        self.memory = copied(world.memory)
        self.attempts = Attempts(self._attempt)
        undisturbed = copied(self.memory)
        self.attempts.run(undisturbed, "attempt-1")
        self.results = objects(undisturbed, "shop", "restyled/")
        assert len(self.results) == 3

    def _at_step(self, step: int) -> None:
        if step == 3 and self.world.begun[-1][0][0] == 10:
            self.world.now += timedelta(seconds=130)

    def _attempt(self, memory: MemoryStore, store: MortalStore, name: str) -> None:
        self.world.memory, self.world.store = memory, store  # type: ignore[assignment]
        self.world.run(name)

    def check(self, memory: MemoryStore) -> None:
        self.world.memory = memory
        receipts = self.world.receipts()
        assert set(receipts) == {10, 20, 30}
        checked(memory, self.results, receipts.values())


@pytest.fixture
def shard() -> Iterator[Scripted]:
    with scripted(World()) as world:
        yield Scripted(world)


def test_killed_at_any_call_and_at_any_call_of_the_next_attempt_nothing_is_lost_and_nothing_counts_twice(
    shard: Scripted, capsys: pytest.CaptureFixture[str]
) -> None:
    firsts = shard.attempts.run(copied(shard.memory), "attempt-1").points
    pairs = 0
    for first in firsts:
        after_one = copied(shard.memory)
        shard.attempts.run(after_one, "attempt-1", first)
        undisturbed = copied(after_one)
        seconds = shard.attempts.run(undisturbed, "attempt-2").points
        shard.check(undisturbed)
        for second in seconds:
            after_two = copied(after_one)
            shard.attempts.run(after_two, "attempt-2", second)
            shard.attempts.run(after_two, "attempt-3")
            shard.check(after_two)
        pairs += len(seconds)
    with capsys.disabled():
        print(f"\nworker killed at {len(firsts)} points, and at {pairs} pairs of points")
    assert len(firsts) >= 46


class Painted:
    """Two pictures of one size with the real engine in float32, and a checkpoint after each answer of it."""

    def __init__(self) -> None:
        self.shard = exact(
            Shard("a.jpg", "b.jpg"), scales=(Scale(size_px=24, iterations=5), Scale(size_px=32, iterations=5))
        )
        etag = self.shard.store.put(Ref("shop", "b.jpg"), picture(32, 20, seed=5))
        self.shard.tasks[1] = replace(self.shard.tasks[1], content_etag=etag)
        self.memory = copied(self.shard.store)
        self.attempts = Attempts(self._attempt)
        undisturbed = copied(self.memory)
        self.points = self.attempts.run(undisturbed, "attempt-1").points
        self.results = objects(undisturbed, "shop", "restyled/")

    def _attempt(self, memory: MemoryStore, store: MortalStore, name: str) -> None:
        self.shard.store = memory
        Worker(
            store=store,
            settings=replace(SETTINGS, attempt=name),
            plan=self.shard.plan,
            tasks=self.shard.tasks,
            clock=lambda: NOW,
            stop=Stop(),
            monotonic=partial(next, itertools.count(0, 130)),
        ).run()

    def check(self, memory: MemoryStore) -> None:
        self.shard.store = memory
        receipts = self.shard.receipts()
        assert set(receipts) == {"a.jpg", "b.jpg"}
        checked(memory, self.results, receipts.values())


def test_killed_at_any_call_the_next_attempt_gives_the_bytes_of_one_that_was_never_killed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Attempts share an engine, as the pictures of one attempt do: a new one would trace its programs again.
    monkeypatch.setattr(engines, "load_engine", functools.cache(engines.load_engine))
    painted = Painted()
    for point in painted.points:
        memory = copied(painted.memory)
        painted.attempts.run(memory, "attempt-1", point)
        painted.attempts.run(memory, "attempt-2")
        painted.check(memory)
    with capsys.disabled():
        print(f"\nworker with the real engine killed at {len(painted.points)} points")
    assert len(painted.points) >= 46
