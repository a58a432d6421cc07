"""What a scrape of a worker finds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from prometheus_client import CollectorRegistry

from stylefleet.worker_metrics import WorkerMetrics, memory_limit_bytes
from tests.builders import FACTS
from tests.monitoring.double import Double


def samples(metrics: WorkerMetrics) -> dict[str, float]:
    """Without those of S3, by name."""
    return {
        sample.name: sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith("stylefleet_worker_") and not sample.name.endswith("_created")
    }


def no_gpu() -> tuple[int, int]:
    raise AssertionError("nobody asks for the memory of a GPU that is not there")


def test_before_the_first_step_there_is_no_loss_and_no_rate() -> None:
    found = samples(WorkerMetrics())
    assert "stylefleet_worker_loss" not in found
    assert found["stylefleet_worker_iterations_total"] == found["stylefleet_worker_iterations_per_second"] == 0


def test_steps_of_a_batch_are_told_as_they_are_taken_and_nothing_goes_on_between_batches() -> None:
    metrics = WorkerMetrics()
    metrics.stepped(steps=10, seconds=2.0, losses=np.array([1.0, 3.0]), size_px=128)
    metrics.stepped(steps=30, seconds=0.5, losses=np.array([0.5, 1.5]), size_px=256)
    going = {
        "stylefleet_worker_iterations_total": 40,
        "stylefleet_worker_iterations_per_second": 60,
        "stylefleet_worker_batch_pictures": 2,
        "stylefleet_worker_image_size_pixels": 256,
        "stylefleet_worker_loss": 1,
    }
    assert going.items() <= samples(metrics).items()
    metrics.idle()
    still = dict.fromkeys(list(going)[1:4], 0)
    assert (going | still).items() <= samples(metrics).items()


def test_the_pictures_that_are_left_are_counted_when_somebody_asks() -> None:
    metrics, left = WorkerMetrics(), [3]
    metrics.begin(lambda: left[0])
    assert samples(metrics)["stylefleet_worker_pictures_left"] == 3
    left[0] = 1
    assert samples(metrics)["stylefleet_worker_pictures_left"] == 1


def test_without_a_gpu_there_is_no_series_about_one() -> None:
    metrics = WorkerMetrics()
    metrics.loaded(FACTS, no_gpu)
    assert not [name for name in samples(metrics) if "gpu" in name]
    assert metrics.registry.get_sample_value("stylefleet_worker_info", {"precision": "float32", "device": "cpu"}) == 1


def test_with_a_gpu_its_memory_is_asked_for_at_each_scrape() -> None:
    metrics, memory = WorkerMetrics(), [(100, 200)]
    metrics.loaded(replace(FACTS, gpus=1, precision="mixed_bfloat16"), lambda: memory[0])
    memory[0] = (150, 250)
    found = samples(metrics)
    assert found["stylefleet_worker_gpu_memory_bytes"] == 150
    assert found["stylefleet_worker_gpu_memory_peak_bytes"] == 250
    labels = {"precision": "mixed_bfloat16", "device": "gpu"}
    assert metrics.registry.get_sample_value("stylefleet_worker_info", labels) == 1


def test_memory_is_that_of_this_process() -> None:
    found = samples(WorkerMetrics())
    assert 10e6 < found["stylefleet_worker_memory_bytes"] < found["stylefleet_worker_memory_limit_bytes"]


@pytest.mark.parametrize(
    ("name", "text", "limit"),
    [
        ("memory.max", "1048576\n", 1048576),
        ("memory.max", "max\n", None),
        ("memory/memory.limit_in_bytes", "2097152\n", 2097152),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n", None),
    ],
)
def test_the_limit_is_the_containers_or_else_the_machines_memory(
    tmp_path: Path, name: str, text: str, limit: int | None
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    total = psutil.virtual_memory().total
    assert memory_limit_bytes(tmp_path) == (total if limit is None else limit)


def test_a_machine_without_control_groups_has_its_memory_as_limit(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path) == psutil.virtual_memory().total


def families(registry: CollectorRegistry) -> dict[str, tuple[str, set[str]]]:
    """Name -> type and labels."""
    return {
        family.name: (family.type, {label for sample in family.samples for label in sample.labels})
        for family in registry.collect()
    }


def test_the_worker_with_which_dashboards_are_tested_has_the_series_of_a_real_one() -> None:
    metrics = WorkerMetrics()
    metrics.loaded(replace(FACTS, gpus=1), lambda: (1, 2))
    metrics.stepped(steps=1, seconds=1.0, losses=np.array([1.0]), size_px=64)
    assert families(metrics.registry) == families(Double().worker)
