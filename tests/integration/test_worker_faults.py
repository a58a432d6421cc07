"""A worker before a real S3 server, with a network and a server that fail at every one of its requests in every way.

The engine is a script, so that a thousand attempts take no time; everything else is the worker's own.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from stylefleet.errors import StoreUnavailable
from stylefleet.local_s3 import LocalS3
from stylefleet.naming import Ref
from stylefleet.store_s3 import S3Store, make_client
from tests.engine.scripted import World, scripted
from tests.s3_gate import Fault, Gate, no_fault, s3_gate

BUCKETS = ("service", "shop")
SHADES = (10, 20, 30)


class Shop:
    """The scripted world on the real server, seen through the gate."""

    def __init__(self, world: World, gate: Gate, store: S3Store) -> None:
        self.world, self.gate, self.direct = world, gate, store
        self.through = S3Store(make_client(gate.url, None, retries=2), attempts=2)

    def fill(self) -> None:
        """As it is before the first attempt."""
        for bucket in BUCKETS:
            for listed in list(self.direct.list(Ref(bucket, ""))):
                self.direct.delete(listed.ref)
        self.world.tasks.clear()
        self.world.picture(10, 20)
        self.world.picture(30, size=(20, 32))

    def attempt(self, name: str, fault_of: Callable[[str], Fault | None] = no_fault) -> list[str]:
        """The requests of an attempt; raises what it ends with."""
        self.world.store = self.through  # type: ignore[assignment]
        self.gate.seen.clear()
        self.gate.fault_of = fault_of
        try:
            self.world.run(name)
        finally:
            self.gate.fault_of = no_fault
        return list(self.gate.seen)

    def check(self) -> None:
        """Every picture has one receipt that counts, with the result's ETag, and nothing is left over."""
        receipts = self.world.receipts()
        assert {shade: r.outcome for shade, r in receipts.items()} == dict.fromkeys(SHADES, "done")
        for shade, one in receipts.items():
            found = self.direct.get(self.world.tasks[shade].output)
            assert found.etag == one.result_etag
        assert list(self.direct.list(Ref("service", "checkpoints/"))) == []
        assert list(self.direct.list(Ref("service", "attempts/"))) == []


@pytest.fixture
def shop(s3_server: LocalS3, s3_store: S3Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between attempts
    for bucket in BUCKETS:
        if bucket not in _made:
            s3_server.create_bucket(bucket)
            _made.add(bucket)
    world = World(memory=s3_store)  # type: ignore[arg-type]
    with s3_gate(s3_server.endpoint_url) as gate, scripted(world):
        yield Shop(world, gate, s3_store)


_made: set[str] = set()


class Once:
    """A fault that befalls the nth request of its like."""

    def __init__(self, request: str, nth: int, fault: Fault) -> None:
        self.request, self.nth, self.fault = request, nth, fault
        self.counted: Counter[str] = Counter()
        self.lock = threading.Lock()

    def __call__(self, request: str) -> Fault | None:
        with self.lock:
            self.counted[request] += 1
            return self.fault if request == self.request and self.counted[request] == self.nth else None


def points(requests: list[str]) -> list[tuple[str, int]]:
    """Each request and which of its like it is."""
    counted: Counter[str] = Counter()
    found = []
    for request in requests:
        counted[request] += 1
        found.append((request, counted[request]))
    return found


@pytest.mark.parametrize("fault", [f for f in Fault if f is not Fault.STALL])
def test_a_fault_that_befalls_any_request_once_costs_nothing(shop: Shop, fault: Fault) -> None:
    shop.fill()
    found = points(shop.attempt("attempt-1"))
    shop.check()
    for request, nth in found:
        shop.fill()
        shop.attempt("attempt-1", Once(request, nth, fault))
        shop.check()
        assert shop.world.receipts()[10].attempt == "attempt-1"
    assert len(found) >= 15


def test_an_outage_from_any_request_on_ends_the_attempt_and_the_next_one_does_the_rest(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.fill()
    found = points(shop.attempt("attempt-1"))
    for request, nth in found:
        shop.fill()
        begun = threading.Event()
        once = Once(request, nth, Fault.SLOW_DOWN)

        def outage(request: str, begun: threading.Event = begun, once: Once = once) -> Fault | None:
            if once(request):
                begun.set()
            return Fault.SLOW_DOWN if begun.is_set() else None

        try:
            shop.attempt("attempt-1", outage)
        except StoreUnavailable:
            shop.attempt("attempt-2")
        else:
            spared = request.startswith("DELETE ") or "/done/" in request
            assert spared, "what only tidies up, or spares the next plan something, is not worth an attempt"
            shop.attempt("attempt-2")
        shop.check()
    with capsys.disabled():
        print(
            f"\nworker: {len(found)} requests, each with {len(Fault) - 1} kinds of faults, and an outage from each on"
        )


def test_a_storm_over_everything_is_survived(shop: Shop) -> None:
    """Every other attempt of every request is refused."""
    shop.fill()
    counted: Counter[str] = Counter()
    lock = threading.Lock()

    def storm(request: str) -> Fault | None:
        with lock:
            counted[request] += 1
            return Fault.SLOW_DOWN if counted[request] % 2 else None

    shop.attempt("attempt-1", storm)
    shop.check()
