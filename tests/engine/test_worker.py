"""One shard in this process: what is done, what is refused and why, what is left when it is told to stop."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from stylefleet import pictures, receipt
from stylefleet.naming import Ref, receipts_prefix
from stylefleet.plan import StyleShare, Task
from stylefleet.receipt import Receipt
from stylefleet.recipe import recipe_for
from stylefleet.settings import StoreSettings, WorkerSettings
from stylefleet.store_memory import MemoryStore
from stylefleet.worker import Stopped, Worker
from tests.builders import NOW, make_plan, make_task
from tests.fleet import picture

SETTINGS = WorkerSettings(
    store=StoreSettings(bucket="service", endpoint_url=None, region=None),
    name="spring",
    run="0123456789abcdef",
    shard=0,
    attempt="attempt-1",
    weights_path=None,
    weights_sha256=None,
)


class Shard:
    """A bucket with pictures, and the worker of their shard."""

    def __init__(self, *names: str) -> None:
        self.store = MemoryStore("service", "shop")
        style_etag = self.store.put(Ref("shop", "styles/a.jpg"), picture(64, 48, seed=9))
        style = StyleShare(image=Ref("shop", "styles/a.jpg"), etag=style_etag, weight=1.0)
        self.plan = replace(
            make_plan(shards=(len(names),)), styles=(style,), recipe=recipe_for(preset="draft", size_px=32)
        )
        self.tasks = [self._task(name, index) for index, name in enumerate(names)]

    def _task(self, name: str, index: int) -> Task:
        etag = self.store.put(Ref("shop", name), picture(32, 20 + 2 * index, seed=index))
        return replace(make_task(name), content_etag=etag)

    def run(self, settings: WorkerSettings = SETTINGS, stop: threading.Event | None = None) -> None:
        Worker(
            store=self.store,
            settings=settings,
            plan=self.plan,
            tasks=self.tasks,
            clock=lambda: NOW,
            stop=stop or threading.Event(),
        ).run()

    def receipts(self) -> dict[str, Receipt]:
        """By content; fails where a task has two."""
        prefix = Ref("service", receipts_prefix(self.plan.name, self.plan.run))
        found = [r for o in self.store.list(prefix) for r in receipt.from_lines(self.store.get(o.ref).data)]
        assert len({r.task_id for r in found}) == len(found)
        return {r.content.removeprefix("s3://shop/"): r for r in found}


def test_a_second_attempt_does_only_what_has_no_receipt() -> None:
    shard = Shard("a.jpg", "b.jpg")
    todo = shard.tasks
    shard.tasks = todo[:1]
    shard.run()
    shard.tasks = todo
    shard.run(replace(SETTINGS, attempt="attempt-2"))
    assert {k: r.attempt for k, r in shard.receipts().items()} == {"a.jpg": "attempt-1", "b.jpg": "attempt-2"}


def test_a_picture_that_was_replaced_or_deleted_since_planning_is_refused() -> None:
    shard = Shard("same.jpg", "replaced.jpg", "deleted.jpg")
    shard.store.put(Ref("shop", "replaced.jpg"), picture(seed=77))
    shard.store.delete(Ref("shop", "deleted.jpg"))
    shard.run()
    reasons = {k: r.reason for k, r in shard.receipts().items()}
    assert reasons == {"same.jpg": "", "replaced.jpg": "content_changed", "deleted.jpg": "content_missing"}


def test_an_object_too_large_for_memory_is_refused_without_being_read() -> None:
    shard = Shard("huge.jpg")
    shard.tasks = [replace(shard.tasks[0], size_bytes=pictures.BYTES_MAX + 1, content=Ref("shop", "not-there.jpg"))]
    shard.run()
    assert shard.receipts()["not-there.jpg"].reason == "too_many_bytes"


def test_a_style_that_was_replaced_is_told_for_every_picture() -> None:
    shard = Shard("a.jpg", "b.jpg")
    shard.store.put(Ref("shop", "styles/a.jpg"), picture(seed=78))
    shard.run()
    receipts = shard.receipts()
    assert {r.reason for r in receipts.values()} == {"style_invalid"}
    assert "the style was replaced after the run was planned" in receipts["a.jpg"].message


def test_the_file_of_another_backbone_does_not_disturb_the_default_one(tmp_path: Path) -> None:
    shard = Shard("a.jpg")
    shard.run(replace(SETTINGS, weights_path=tmp_path / "vgg19.h5", weights_sha256="0" * 64))
    assert shard.receipts()["a.jpg"].outcome == "done"


def test_a_backbone_without_its_file_is_told_for_every_picture() -> None:
    shard = Shard("a.jpg")
    shard.plan = replace(shard.plan, recipe=replace(shard.plan.recipe, backbone="vgg19-imagenet"))
    shard.run()
    assert shard.receipts()["a.jpg"].reason == "weights_invalid"


def test_a_worker_that_is_told_to_stop_leaves_no_receipt_for_what_it_did_not_finish() -> None:
    shard = Shard("a.jpg")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        shard.run(stop=stop)
    assert shard.receipts() == {}
    assert not any(o.ref.key.startswith("restyled/") for o in shard.store.list(Ref("shop", "")))
