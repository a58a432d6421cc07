"""An engine that is a script and paints nothing: what it does at which step, and what happens then, is a test's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import pytest

from stylefleet import engine as engines
from stylefleet import pictures, receipt, worker
from stylefleet.attempts import Note, note_from_json
from stylefleet.looks import Loaded
from stylefleet.naming import Ref, checkpoint_key, receipts_prefix
from stylefleet.receipt import Receipt
from stylefleet.settings import WorkerSettings
from stylefleet.stopping import Stop
from stylefleet.store_memory import MemoryStore
from stylefleet.tasks import Task
from stylefleet.worker import Worker
from stylefleet.worker_metrics import WorkerMetrics
from tests.builders import FACTS, NOW, make_plan, make_task
from tests.engine.test_worker import SETTINGS
from tests.fake_cluster import HookedStore

STEPS = 6


@dataclass(frozen=True)
class ScriptedIterate:
    pixels: np.ndarray
    losses: np.ndarray
    iterations: np.ndarray
    finished: np.ndarray
    raw: np.ndarray
    step: int

    def checkpoint(self, index: int) -> bytes:
        return checkpoint_bytes(int(self.pixels[index, 0, 0, 0]), self.step)


def checkpoint_bytes(shade: int, step: int) -> bytes:
    return json.dumps([shade, step]).encode()


def position(data: bytes) -> tuple[int, int]:
    try:
        return 0, json.loads(data)[1]
    except ValueError as error:
        raise engines.CheckpointCorrupt("no checkpoint") from error


@dataclass
class World:
    """A bucket with gray pictures, known by their shade, and the attempts at their shard."""

    memory: MemoryStore = field(default_factory=lambda: MemoryStore("service", "shop"))
    store: HookedStore = field(init=False)
    now: datetime = NOW
    stop: Stop = field(default_factory=Stop)
    tasks: dict[int, Task] = field(default_factory=dict)
    """By shade."""
    finishes: dict[int, int] = field(default_factory=dict)
    """Shade -> step at which that picture is finished; STEPS where it is not here."""
    at_step: Callable[[int], None] = lambda _step: None
    begun: list[tuple[list[int], int]] = field(default_factory=list)
    """Shades and first step of every batch that the engine was given."""
    stage_at: Callable[[int], tuple[int, int]] = lambda _step: (16, 32)
    """Height and width at which a step works."""
    unfit: bool = False
    """Whether the engine takes every checkpoint for one of another recipe."""

    def __post_init__(self) -> None:
        self.store = HookedStore(self.memory)

    def picture(self, *shades: int, size: tuple[int, int] = (16, 32)) -> None:
        for shade in shades:
            data = pictures.encode(np.full((*size, 3), shade, np.uint8), format="png", quality=90)
            etag = self.memory.put(Ref("shop", f"catalog/{shade}.png"), data)
            self.tasks[shade] = replace(make_task(f"catalog/{shade}.png"), content_etag=etag)

    def optimize(
        self, _engine: object, batch: Any, _looks: object, _recipe: object, *, resume: Sequence[bytes] | None = None
    ) -> Iterator[ScriptedIterate]:
        shades = [int(content[0, 0, 0]) for content in batch.contents]
        if resume and self.unfit:
            raise engines.CheckpointCorrupt("of another recipe")
        if resume:
            assert [json.loads(data)[0] for data in resume] == shades
        (first,) = {position(data)[1] for data in resume} if resume else {0}
        self.begun.append((shades, first))
        ends = np.array([self.finishes.get(shade, STEPS) for shade in shades])
        for step in range(first + 1, int(ends.max()) + 1):
            yield ScriptedIterate(
                pixels=batch.contents.copy(),
                losses=np.ones(len(shades)),
                iterations=np.minimum(ends, step) * 10 + np.array(shades),  # each picture's own
                finished=ends <= step,
                raw=np.broadcast_to(np.float32(0), (len(shades), *self.stage_at(step), 3)),
                step=step,
            )
            self.at_step(step)

    def seconds(self) -> float:
        return (self.now - NOW).total_seconds()

    def run(
        self, attempt: str = "attempt-1", *, began: float | None = None, metrics: WorkerMetrics | None = None
    ) -> None:
        settings: WorkerSettings = replace(SETTINGS, attempt=attempt)
        plan = make_plan(shards=(len(self.tasks),), image_format="png")
        plan = replace(plan, recipe=replace(plan.recipe, scales=(replace(plan.recipe.scales[0], size_px=32),)))
        Worker(
            store=self.store,
            settings=settings,
            plan=plan,
            tasks=list(self.tasks.values()),
            clock=lambda: self.now,
            stop=self.stop,
            monotonic=self.seconds,
            began=began,
            metrics=metrics,
        ).run()

    def all_receipts(self) -> list[Receipt]:
        """In the order of their keys."""
        prefix = Ref("service", receipts_prefix("spring", "0123456789abcdef"))
        return [r for o in self.memory.list(prefix) for r in receipt.from_lines(self.memory.get(o.ref).data)]

    def receipts(self) -> dict[int, Receipt]:
        """By shade; fails where a task has two."""
        found = self.all_receipts()
        assert len({r.task_id for r in found}) == len(found)
        return {int(r.content.removeprefix("s3://shop/catalog/").removesuffix(".png")): r for r in found}

    def checkpoints(self) -> dict[int, int]:
        """Step by shade."""
        found = [self.memory.get(o.ref).data for o in self.memory.list(Ref("service", "checkpoints/"))]
        return {json.loads(data)[0]: json.loads(data)[1] for data in found}

    def notes(self) -> dict[str, Note]:
        """By attempt."""
        listed = self.memory.list(Ref("service", "attempts/"))
        return {o.ref.key.rpartition("/")[2]: note_from_json(self.memory.get(o.ref).data) for o in listed}

    def put_checkpoint(self, shade: int, step: int, data: bytes | None = None) -> None:
        ref = Ref("service", checkpoint_key(self.tasks[shade].task_id))
        self.memory.put(ref, checkpoint_bytes(shade, step) if data is None else data)

    def stop_at(self, at: int) -> None:
        self.at_step = lambda step: self.stop.tell() if step == at else None


@contextmanager
def scripted(world: World) -> Iterator[World]:
    """Workers in this process have the world's engine until the block ends."""
    loaded = Loaded(
        engine=None,  # type: ignore[arg-type]
        facts=FACTS,
        looks_of=lambda _contents: (),
        style_seconds=0.5,
        style_hits=2,
        style_misses=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker, "load", lambda *_: loaded)
        patch.setattr(engines, "optimize", world.optimize)
        patch.setattr(engines, "checkpoint_position", position)
        yield world
