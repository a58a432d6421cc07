"""Every Prometheus metric, fed from receipts and from the controller's own loop. No per-run or per-picture labels."""

from __future__ import annotations

import threading
import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from stylefleet import __version__
from stylefleet.receipt import OUTCOMES, STAGES, Receipt

_STAGE_BUCKETS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0)


class ControllerMetrics:
    """The controller's registry; one object a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tasks = Counter(
            "stylefleet_tasks",
            "Tasks that ended, by outcome (done, failed) and reason (empty where done; else such as undecodable, "
            "truncated, too_many_pixels, too_small, content_changed, content_missing).",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "stylefleet_task_stage_duration_seconds",
            f"Time of one task in each stage ({', '.join(STAGES)}); what a batch shares is divided among its members.",
            ["stage"],
            buckets=_STAGE_BUCKETS,
            registry=self.registry,
        )
        self.last_success = Gauge(
            "stylefleet_task_last_success_timestamp_seconds",
            "Unix time at which the newest finished task was seen to be done.",
            registry=self.registry,
        )
        self._last_success_seconds = 0.0
        self._lock = threading.Lock()
        self.runs = Gauge(
            "stylefleet_runs",
            "Runs that are not final, by whether a worker is at work (running, waiting), or is not to be (paused).",
            ["state"],
            registry=self.registry,
        )
        self.pending_tasks = Gauge(
            "stylefleet_pending_tasks", "Tasks of all runs that have not ended.", registry=self.registry
        )
        self.tick_seconds = Histogram(
            "stylefleet_reconcile_duration_seconds",
            "Time of one look at the whole inbox.",
            buckets=_STAGE_BUCKETS,
            registry=self.registry,
        )
        self.tick_failures = Counter(
            "stylefleet_reconcile_failures",
            "Looks at the inbox (scope tick) or at one manifest (scope manifest) that ended in an error.",
            ["scope"],
            registry=self.registry,
        )
        self.last_tick = Gauge(
            "stylefleet_reconcile_last_success_timestamp_seconds",
            "Unix time at which the whole inbox was last looked at without error.",
            registry=self.registry,
        )
        self.leader = Gauge(
            "stylefleet_leader",
            "1 where this controller acts, 0 where it stands by for another; always 1 without leader election.",
            registry=self.registry,
        )
        self.leader.set(1)
        Info("stylefleet_build", "Version of the controller.", registry=self.registry).info({"version": __version__})
        # Known combinations exist from the start, so that rate() sees the first event.
        for outcome in OUTCOMES:
            self.tasks.labels(outcome=outcome, reason="")
        for stage in STAGES:
            self.stage_seconds.labels(stage=stage)
        for scope in ("tick", "manifest"):
            self.tick_failures.labels(scope=scope)

    def observe(self, receipt: Receipt) -> None:
        """Count one receipt; the caller sees to it that each counts once."""
        self.tasks.labels(outcome=receipt.outcome, reason=receipt.reason).inc()
        for stage, seconds in receipt.stage_seconds.items():
            self.stage_seconds.labels(stage=stage).observe(seconds)
        if receipt.outcome == "done":
            # Not the receipt's own time: a worker's clock may be wrong, and who reads this compares it with its own.
            self._succeeded_at(time.time())

    def done_at(self, receipt: Receipt) -> None:
        """Note when a task was done, without counting it: after a restart, those of an earlier controller."""
        if receipt.outcome == "done":
            # Never later than now: the receipt of a worker whose clock is ahead must not hide that nothing gets done.
            self._succeeded_at(min(receipt.finished_at.timestamp(), time.time()))

    def _succeeded_at(self, seconds: float) -> None:
        # Receipts of several workers do not come in the order in which their tasks ended.
        with self._lock:
            self._last_success_seconds = max(self._last_success_seconds, seconds)
            self.last_success.set(self._last_success_seconds)
