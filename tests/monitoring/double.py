"""Every series of a controller and of a worker, with values that move: a service that is always busy."""

from __future__ import annotations

import time
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from stylefleet.receipt import STAGES

STAGE_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0, 14400.0)
DOUBLING = tuple(2.0**n for n in range(16))
S3_RESULTS = ("ok", "not_found", "precondition_failed", "throttled", "denied", "unavailable")
S3_OPERATIONS = ("GetObject", "PutObject", "DeleteObject", "ListObjectsV2", "HeadObject")
API_RESULTS = ("ok", "conflict", "not_found", "throttled", "denied", "unavailable", "invalid")
API_VERBS = ("GET", "POST", "PATCH", "DELETE", "PUT")
PHASES = ("Succeeded", "PartiallySucceeded", "Failed", "Cancelled")


class Double:
    """A controller's registry and a worker's."""

    def __init__(self) -> None:
        self.controller = CollectorRegistry()
        self.worker = CollectorRegistry()
        self._counters: list[tuple[Counter, float]] = []
        self._histograms: list[tuple[Histogram, float]] = []
        self._now: list[Gauge] = []
        self._metrics: dict[tuple[int, str], Any] = {}
        self._durable()
        self._of_the_process()
        self._live()
        for registry in (self.controller, self.worker):
            self._requests(registry)
        self.advance()

    def advance(self) -> None:
        """A second's work."""
        for counter, by in self._counters:
            counter.inc(by)
        for histogram, value in self._histograms:
            histogram.observe(value)
        for gauge in self._now:
            gauge.set(time.time() - 1)

    def _child(
        self, registry: CollectorRegistry, kind: type[Any], name: str, labels: dict[str, str], **options: object
    ) -> Any:
        """The metric, made where it is not there yet, with these values of its labels."""
        metric = self._metrics.get((id(registry), name))
        if metric is None:
            metric = kind(name, "-", list(labels), registry=registry, **options)
            self._metrics[id(registry), name] = metric
        return metric.labels(**labels) if labels else metric

    def _count(self, registry: CollectorRegistry, name: str, by: float, **labels: str) -> None:
        self._counters += [(self._child(registry, Counter, name, labels), by)]

    def _observe(
        self,
        registry: CollectorRegistry,
        name: str,
        value: float,
        *,
        buckets: tuple[float, ...] = STAGE_BUCKETS,
        **labels: str,
    ) -> None:
        self._histograms += [(self._child(registry, Histogram, name, labels, buckets=buckets), value)]

    def _gauge(self, registry: CollectorRegistry, name: str, value: float, **labels: str) -> Gauge:
        gauge: Gauge = self._child(registry, Gauge, name, labels)
        gauge.set(value)
        return gauge

    def _durable(self) -> None:
        count, observe, controller = self._count, self._observe, self.controller
        count(controller, "stylefleet_pictures", 3, outcome="done", reason="")
        for reason in ("truncated", "killed_worker"):
            count(controller, "stylefleet_pictures", 0.1, outcome="failed", reason=reason)
        count(controller, "stylefleet_pixels", 3 * 512 * 512)
        count(controller, "stylefleet_iterations", 900)
        for number, stage in enumerate(STAGES):
            observe(controller, "stylefleet_picture_stage_duration_seconds", 0.02 * 2**number, stage=stage)
        for precision, device in (("float32", "cpu"), ("mixed_bfloat16", "cpu"), ("mixed_float16", "gpu")):
            count(controller, "stylefleet_pictures_by_engine", 1, precision=precision, device=device)
        observe(controller, "stylefleet_picture_batch_size", 4, buckets=(1, 2, 4, 8, 16, 32))
        count(controller, "stylefleet_worker_seconds", 2)
        count(controller, "stylefleet_gpu_seconds", 2)
        count(controller, "stylefleet_cost", 0.001)
        count(controller, "stylefleet_style_cache_lookups", 5, result="hit")
        count(controller, "stylefleet_style_cache_lookups", 1, result="miss")
        for cause in ("died", "stopped"):
            count(controller, "stylefleet_shard_retries", 0.2, cause=cause)
        observe(controller, "stylefleet_shard_duration_seconds", 600, buckets=DOUBLING)
        for phase in PHASES:
            observe(controller, "stylefleet_run_duration_seconds", 7200, buckets=DOUBLING, phase=phase)
        self._now += [self._gauge(controller, "stylefleet_picture_last_success_timestamp_seconds", 0)]

    def _of_the_process(self) -> None:
        gauge, controller = self._gauge, self.controller
        for state in ("running", "waiting", "paused"):
            gauge(controller, "stylefleet_runs", 2, state=state)
        for state in ("wanted", "active", "ready"):
            gauge(controller, "stylefleet_workers", 4, state=state)
        gauge(controller, "stylefleet_pending_pictures", 5000)
        gauge(controller, "stylefleet_queued_manifests", 7)
        self._now += [gauge(controller, "stylefleet_queue_oldest_timestamp_seconds", 0)]
        gauge(controller, "stylefleet_estimated_seconds_left", 4000)
        gauge(controller, "stylefleet_runs_behind_deadline", 1)
        gauge(controller, "stylefleet_price_per_gpu_hour", 0.5)
        gauge(controller, "stylefleet_leader", 1)
        self._now += [gauge(controller, "stylefleet_reconcile_last_success_timestamp_seconds", 0)]
        self._count(controller, "stylefleet_manifests_rejected", 0.1, reason="InvalidManifest")
        self._observe(controller, "stylefleet_reconcile_duration_seconds", 0.4)
        for scope in ("tick", "manifest"):
            self._count(controller, "stylefleet_reconcile_failures", 0.1, scope=scope)
        Info("stylefleet_build", "-", registry=controller).info({"version": "0"})
        for verb in API_VERBS:
            for result in API_RESULTS:
                self._count(controller, "stylefleet_kubernetes_requests", 0.3, verb=verb, result=result)
            self._observe(controller, "stylefleet_kubernetes_request_duration_seconds", 0.05, verb=verb)

    def _live(self) -> None:
        gauge, worker = self._gauge, self.worker
        gauge(worker, "stylefleet_worker_info", 1, precision="mixed_bfloat16", device="cpu")
        self._count(worker, "stylefleet_worker_iterations", 25)
        for name, value in {
            "iterations_per_second": 25.0,
            "loss": 12000.0,
            "batch_pictures": 4.0,
            "image_size_pixels": 512.0,
            "memory_bytes": 3e9,
            "memory_limit_bytes": 8e9,
            "gpu_memory_bytes": 2e9,
            "gpu_memory_peak_bytes": 4e9,
            "pictures_left": 60.0,
        }.items():
            gauge(worker, f"stylefleet_worker_{name}", value)

    def _requests(self, registry: CollectorRegistry) -> None:
        for operation in S3_OPERATIONS:
            for result in S3_RESULTS:
                self._count(registry, "stylefleet_s3_requests", 0.5, operation=operation, result=result)
            self._observe(registry, "stylefleet_s3_request_duration_seconds", 0.03, operation=operation)
