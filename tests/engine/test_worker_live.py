"""What a worker tells of itself while it works."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from stylefleet import engine as engines
from stylefleet.engine import precision
from stylefleet.worker_metrics import WorkerMetrics
from tests.engine.pictures import engine_of_a_gpu
from tests.engine.scripted import STEPS, World, scripted
from tests.engine.test_worker import Shard


@pytest.fixture
def world() -> Iterator[World]:
    with scripted(World()) as world:
        yield world


def value(metrics: WorkerMetrics, name: str) -> float:
    found = metrics.registry.get_sample_value(f"stylefleet_worker_{name}")
    assert found is not None, name
    return found


@pytest.fixture
def told_at_each_iterate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a batch of the scripted engine is over before the worker looks at it."""
    monkeypatch.setattr("stylefleet.optimizing.SLICE_SECONDS", 0.0)


@pytest.mark.usefixtures("told_at_each_iterate")
def test_a_batch_is_seen_from_its_first_steps_to_its_end(world: World) -> None:
    world.picture(10, 20)
    metrics, seen = WorkerMetrics(), []

    def at_step(_step: int) -> None:  # the worker has looked at this iterate when the engine goes on
        seen.append((value(metrics, "iterations_total"), value(metrics, "pictures_left")))
        assert value(metrics, "batch_pictures") == 2
        assert value(metrics, "image_size_pixels") == 32
        assert value(metrics, "loss") == 1

    world.at_step = at_step
    world.run(metrics=metrics)
    # The script counts ten steps an iterate, and one for each shade of the darkest.
    assert seen == [(30.0, 2.0), (40.0, 2.0), (50.0, 2.0), (60.0, 2.0), (70.0, 2.0)]
    assert value(metrics, "iterations_total") == STEPS * 10 + 20
    assert [value(metrics, name) for name in ("batch_pictures", "iterations_per_second", "pictures_left")] == [0, 0, 0]


def test_steps_of_the_attempt_before_are_not_counted_again(world: World) -> None:
    world.picture(10)
    world.put_checkpoint(10, 3)
    metrics = WorkerMetrics()
    world.run(metrics=metrics)
    assert world.begun == [([10], 3)]
    assert value(metrics, "iterations_total") == 20, "from its first iterate, the fourth, to the sixth"


def test_a_picture_that_is_refused_is_not_left(world: World) -> None:
    world.picture(10, 20)
    world.memory.delete(world.tasks[10].content)
    left: list[float] = []
    metrics = WorkerMetrics()
    done = threading.Event()

    def after(method: str, ref: object) -> None:
        if method == "put" and "/receipts/" in str(ref):
            left.append(value(metrics, "pictures_left"))
            done.set()

    world.store.after = after
    world.run(metrics=metrics)
    assert left[0] == 2
    assert value(metrics, "pictures_left") == 0


def test_the_memory_of_a_gpu_is_what_tensorflow_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_memory_info(device: str) -> dict[str, Any]:
        return {"current": 5, "peak": 7} if device == "GPU:0" else {}

    monkeypatch.setattr(precision.tf.config.experimental, "get_memory_info", get_memory_info)
    assert engines.gpu_memory() == (5, 7)


@pytest.mark.parametrize(("load", "gpus"), [(engines.load_engine, 0), (engine_of_a_gpu, 1)], ids=["cpu", "gpu"])
def test_receipts_say_how_many_gpus_the_engine_has(
    load: Callable[..., engines.Engine], gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard, metrics = Shard("a.jpg"), WorkerMetrics()
    monkeypatch.setattr(engines, "load_engine", load)
    monkeypatch.setattr(engines, "gpu_memory", lambda: (5, 7))
    shard.run(metrics=metrics)
    (found,) = shard.receipts().values()
    assert found.engine is not None
    assert found.engine.gpus == gpus
    peak = metrics.registry.get_sample_value("stylefleet_worker_gpu_memory_peak_bytes")
    assert peak == (7 if gpus else None)
