"""A service that is always busy: every series of a controller and of a worker, with values that move."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from prometheus_client import CollectorRegistry

from stylefleet.metrics import RUN_STATES, WORKER_STATES, ControllerMetrics
from stylefleet.price import Price
from stylefleet.receipt import STAGES, AttemptStart, EngineFacts
from stylefleet.request_metrics import KubernetesMetrics, S3Metrics
from stylefleet.totals import Totals
from stylefleet.traffic import KUBERNETES_RESULTS, KUBERNETES_VERBS, S3_OPERATIONS, S3_RESULTS
from stylefleet.worker_metrics import WorkerMetrics
from tests.builders import FACTS, failed_receipt, make_receipt

PRICE = Price(per_gpu_hour=0.35, currency="EUR")
GPU = ("mixed_float16", 1)
CPU = ("mixed_bfloat16", 0)


class Double:
    """The service's own metrics, told of work that nobody does."""

    def __init__(self) -> None:
        self._controller = ControllerMetrics(price=PRICE)
        self._totals = Totals()
        self._traffic = S3Metrics(self._controller.registry), KubernetesMetrics(self._controller.registry)
        self._worker = WorkerMetrics()
        self._worker.begin(lambda: 60)
        self._worker.loaded(_facts(*GPU), lambda: (2_000_000_000, 4_000_000_000))
        self.advance()

    @property
    def controller(self) -> CollectorRegistry:
        return self._controller.registry

    @property
    def worker(self) -> CollectorRegistry:
        return self._worker.registry

    def advance(self) -> None:
        """A little more has been done."""
        self._count()
        self._look()
        s3, kubernetes = self._traffic
        for traffic in (s3, self._worker.s3):
            for operation in S3_OPERATIONS:
                traffic.took(operation, 0.03)
                for result in S3_RESULTS:
                    traffic.answered(operation, result)
        for verb in KUBERNETES_VERBS:
            kubernetes.took(verb, 0.05)
            for ending in KUBERNETES_RESULTS:
                kubernetes.answered(verb, ending)
        self._worker.stepped(steps=12, seconds=0.5, losses=np.full(4, 12000.0), size_px=512)

    def _count(self) -> None:
        start = AttemptStart(style_hits=5, style_misses=1, died=1, stopped=1)
        stages = {stage: 0.02 * 2**number for number, stage in enumerate(STAGES)}
        receipts = [
            *(
                make_receipt(engine=_facts(*engine), stage_seconds=stages, worker_seconds=1.5, start=start)
                for engine in (CPU, GPU)
            ),
            failed_receipt("catalog/b.jpg", reason="truncated"),
            failed_receipt("catalog/c.jpg", reason="killed_worker"),
        ]
        self._totals.add(receipts, price_per_gpu_hour=PRICE.per_gpu_hour, now=datetime.now(UTC))
        self._totals.shards.observe(600)
        for run in self._totals.runs.values():
            run.observe(7200)
        self._controller.totals.show(copy.deepcopy(self._totals))

    def _look(self) -> None:
        controller = self._controller
        for state in RUN_STATES:
            controller.runs.labels(state=state).set(2)
        for state in WORKER_STATES:
            controller.workers.labels(state=state).set(4)
        controller.pending_pictures.set(5000)
        controller.queued_manifests.set(7)
        controller.queue_oldest.set(time.time() - 900)
        controller.seconds_left.set(4000)
        controller.behind_deadline.set(1)
        controller.manifests_rejected.labels(reason="ManifestInvalid").inc()
        controller.tick_seconds.observe(0.4)
        controller.last_tick.set_to_current_time()
        for scope in ("tick", "manifest"):
            controller.tick_failures.labels(scope=scope).inc()


def _facts(precision: str, gpus: int) -> EngineFacts:
    return replace(FACTS, precision=precision, gpus=gpus)
