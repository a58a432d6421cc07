"""The example policies are enough for each process to do its work, and no more than that."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from stylefleet import engine as engines
from stylefleet import naming
from stylefleet import store as stores
from stylefleet.attempts import Note, note_to_json
from stylefleet.companions import Companion
from stylefleet.errors import AccessDenied
from stylefleet.naming import CACHE_PREFIX, Ref
from stylefleet.plan import ShardEntry, plan_to_json
from stylefleet.status import Phase
from stylefleet.stopping import Stop, Stopped
from stylefleet.store_memory import MemoryStore
from stylefleet.tasks import shard_bytes
from stylefleet.worker import Worker, load_shard
from tests.builders import NOW, RUN, jpeg_bytes, manifest_bytes
from tests.engine.test_worker import SETTINGS, Shard
from tests.iam import PolicedStore, grants, refused
from tests.unit.test_controller import World

SERVICE, SHOP = "service", "shop"


def test_the_controllers_policy_lets_it_carry_out_a_manifest_and_grants_nothing_else() -> None:
    world = World()
    policed = PolicedStore(world.memory, grants("controller"))
    stores.probe(policed, Ref(SERVICE, CACHE_PREFIX))
    world.controller = world.new_controller(store=policed)
    world.submit()
    world.put("wrong.yaml", manifest_bytes("wrong", output=None))
    world.work_to_the_end()
    assert world.status().phase is Phase.SUCCEEDED
    assert world.status("wrong").phase is Phase.REJECTED
    assert policed.used == policed.allowed, "a right that nothing needs is a right too many"


def test_the_controller_can_neither_write_manifests_nor_results_nor_read_pictures() -> None:
    calls = {
        "write a manifest": ("put", Ref(SERVICE, "jobs/mine.yaml")),
        "delete a manifest": ("delete", Ref(SERVICE, "jobs/spring.yaml")),
        "write a result": ("put", Ref(SHOP, "restyled/spring/a.jpg")),
        "read a picture": ("get", Ref(SHOP, "catalog/a.jpg")),
        "write a style target": ("put", Ref(SERVICE, "cache/style/0")),
        "write a checkpoint": ("put", Ref(SERVICE, "checkpoints/0")),
        "write an attempt's note": ("put", Ref(SERVICE, "attempts/spring/0/00000/a")),
        "delete a receipt": ("delete", Ref(SERVICE, "runs/a/b/receipts/00000/c-00000.jsonl")),
    }
    store = PolicedStore(MemoryStore(SERVICE, SHOP), grants("controller"))
    assert refused(store, calls) == set(calls)


def shard_in_the_bucket() -> Shard:
    """With a style and masks where the policy has them, planned."""
    shard = Shard("catalog/a.jpg", "catalog/b.jpg")
    style = shard.plan.styles[0]
    etag = shard.store.put(Ref(SHOP, "styles/waves.jpg"), shard.store.get(style.image).data)
    shard.plan = replace(shard.plan, styles=(replace(style, image=Ref(SHOP, "styles/waves.jpg"), etag=etag),))
    masks = (jpeg_bytes(0, size=(32, 20)), jpeg_bytes(0, size=(32, 22)))
    shard.add(Companion(role="protect", at=Ref(SHOP, "masks/")), *masks)
    tasks = shard_bytes(shard.tasks)
    digest = hashlib.sha256(tasks).hexdigest()
    shard.plan = replace(shard.plan, shards=(ShardEntry(index=0, tasks=2, digest=digest),))
    name, run = shard.plan.name, shard.plan.run
    shard.store.put(Ref(SERVICE, naming.plan_key(name, run)), plan_to_json(shard.plan))
    shard.store.put(Ref(SERVICE, naming.shard_key(name, run, 0, digest)), tasks)
    return shard


def test_the_workers_policy_lets_it_do_a_shard_and_grants_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    shard = shard_in_the_bucket()
    policed = PolicedStore(shard.store, grants("worker"))

    stop, optimize = Stop(), engines.optimize

    def told_after_its_first_steps(*facts: Any, **options: Any) -> Iterator[engines.Iterate]:
        for iterate in optimize(*facts, **options):
            stop.tell()
            yield iterate

    def attempt(name: str, stop: Stop) -> None:
        settings = replace(SETTINGS, attempt=name)
        plan, tasks = load_shard(policed, settings)
        Worker(store=policed, settings=settings, plan=plan, tasks=tasks, clock=lambda: NOW, stop=stop).run()

    died = Note(task_ids=frozenset([shard.tasks[0].task_id]), alone=False)
    shard.store.put(Ref(SERVICE, naming.attempt_key("spring", RUN, 0, "attempt-0")), note_to_json(died))
    monkeypatch.setattr(engines, "optimize", told_after_its_first_steps)
    with pytest.raises(Stopped):
        attempt("attempt-1", stop)
    monkeypatch.undo()
    assert shard.receipts() == {}
    attempt("attempt-2", Stop())

    assert {r.outcome for r in shard.receipts().values()} == {"done"}
    assert policed.used == policed.allowed, "a right that nothing needs is a right too many"


def test_a_worker_can_touch_nothing_but_results_receipts_and_what_only_saves_time() -> None:
    calls = {
        "write a manifest": ("put", Ref(SERVICE, "jobs/mine.yaml")),
        "write a status": ("put", Ref(SERVICE, "status/spring.json")),
        "write a plan": ("put", Ref(SERVICE, "runs/spring/0/plan.json")),
        "write a shard": ("put", Ref(SERVICE, "runs/spring/0/shards/00000-0.jsonl")),
        "write a report": ("put", Ref(SERVICE, "runs/spring/0/report.json")),
        "read a manifest": ("get", Ref(SERVICE, "jobs/spring.yaml")),
        "overwrite a picture": ("put", Ref(SHOP, "catalog/a.jpg")),
        "overwrite a style": ("put", Ref(SHOP, "styles/waves.jpg")),
        "delete a result": ("delete", Ref(SHOP, "restyled/spring/a.jpg")),
        "delete a receipt": ("delete", Ref(SERVICE, "runs/spring/0/receipts/00000/a-00000.jsonl")),
        "read another bucket": ("get", Ref("other", "catalog/a.jpg")),
    }
    store = PolicedStore(MemoryStore(SERVICE, SHOP), grants("worker"))
    assert refused(store, calls) == set(calls)


def test_a_tenants_worker_does_a_shard_with_its_own_policy() -> None:
    shard = shard_in_the_bucket()
    policed = PolicedStore(shard.store, grants("tenant-worker"))
    own = replace(shard.plan, name="art/spring")
    shard.store.put(Ref(SERVICE, naming.plan_key(own.name, own.run)), plan_to_json(own))
    digest = own.shards[0].digest
    shard.store.put(Ref(SERVICE, naming.shard_key(own.name, own.run, 0, digest)), shard_bytes(shard.tasks))
    settings = replace(SETTINGS, name=own.name)
    plan, tasks = load_shard(policed, settings)
    worker = Worker(store=policed, settings=settings, plan=plan, tasks=tasks, clock=lambda: NOW, stop=Stop())
    worker.run()
    keys = [o.ref.key for o in shard.store.list(Ref(SERVICE, ""))]
    assert [k for k in keys if k.startswith(f"runs/art/spring/{own.run}/receipts/")]
    assert [k for k in keys if k.startswith("cache/style/art/")]
    other = replace(SETTINGS, name="spring")
    with pytest.raises(AccessDenied):
        load_shard(policed, other)
