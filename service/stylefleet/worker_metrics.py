"""What a worker is doing at this moment, as Prometheus metrics. What it has done is counted by the controller, from
receipts: a pod that is gone takes its counters with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge

from stylefleet.receipt import EngineFacts
from stylefleet.request_metrics import S3Metrics

GpuMemory = Callable[[], tuple[int, int]]
"""Bytes in use on the worker's GPU, and the most that there were."""

_LIMIT_FILES = ("memory.max", "memory/memory.limit_in_bytes")
"""Of a container, in versions 2 and 1 of control groups."""


class WorkerMetrics:
    """The registry of one worker. Each method is for one thread; scrapes come in others."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.s3 = S3Metrics(self.registry)
        self._iterations = Counter(
            "stylefleet_worker_iterations",
            "Optimizer steps of this worker; those that a batch takes together count once.",
            registry=self.registry,
        )
        self._rate = self._gauge(
            "iterations_per_second", "Optimizer steps of the batch in a second; 0 between batches."
        )
        self._pictures = self._gauge("batch_pictures", "Pictures that are optimized together now; 0 between batches.")
        self._size = self._gauge(
            "image_size_pixels", "Long side of these pictures at their present scale; 0 between batches."
        )
        self._loss: Gauge | None = None
        self._left = self._gauge("pictures_left", "Pictures of the shard that have no receipt.")
        self._gauge("memory_bytes", "Resident memory of this process.").set_function(
            lambda: psutil.Process().memory_info().rss
        )
        self._gauge("memory_limit_bytes", "Memory that it may take: the container's, or else the machine's.").set(
            memory_limit_bytes()
        )

    def begin(self, pictures_left: Callable[[], int]) -> None:
        """The shard is known, and what of it has no receipt can be asked for."""
        self._left.set_function(pictures_left)

    def loaded(self, facts: EngineFacts, gpu_memory: GpuMemory) -> None:
        """The engine is there; without a GPU there is no series about one."""
        labels = {"precision": facts.precision, "device": "gpu" if facts.gpus else "cpu"}
        what = "1; how this worker computes: precision (float32, mixed_bfloat16, mixed_float16), device (cpu, gpu)."
        Gauge("stylefleet_worker_info", what, list(labels), registry=self.registry).labels(**labels).set(1)
        if facts.gpus:
            current = self._gauge("gpu_memory_bytes", "Memory of the GPU that TensorFlow has in use.")
            current.set_function(lambda: gpu_memory()[0])
            peak = self._gauge("gpu_memory_peak_bytes", "The most memory of the GPU that it had in use.")
            peak.set_function(lambda: gpu_memory()[1])

    def stepped(self, *, steps: int, seconds: float, losses: np.ndarray, size_px: int) -> None:
        """A batch took some steps, in so many seconds; `losses` has one for each of its pictures."""
        self._iterations.inc(steps)
        self._rate.set(steps / seconds if seconds > 0 else 0.0)
        self._pictures.set(len(losses))
        self._size.set(size_px)
        if self._loss is None:  # a loss of 0 would be a lie, and NaN makes every average NaN
            self._loss = self._gauge("loss", "Weighted loss, mean of the batch's pictures; of the last one in between.")
        self._loss.set(float(np.mean(losses)))

    def idle(self) -> None:
        """No batch is being optimized."""
        for gauge in (self._rate, self._pictures, self._size):
            gauge.set(0)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(f"stylefleet_worker_{name}", documentation, registry=self.registry)


def memory_limit_bytes(folder: Path = Path("/sys/fs/cgroup")) -> int:
    """What the container may take, or the machine's memory where nothing less is set."""
    total: int = psutil.virtual_memory().total
    for name in _LIMIT_FILES:
        path = folder / name
        text = path.read_text().strip() if path.exists() else ""
        if text.isdecimal():  # else `max`; version 1 says a number beyond any memory
            return min(int(text), total)
    return total
