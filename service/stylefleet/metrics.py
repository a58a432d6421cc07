"""Every Prometheus metric of the controller. No per-run or per-picture labels.

What the receipts add up to comes from durable totals (count_book.py), and only from the controller that leads: a
standby has no such series, and a new leader's set out where those of the one before ended.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stylefleet import __version__
from stylefleet.price import Price
from stylefleet.reasons import REASONS
from stylefleet.receipt import OUTCOMES, STAGES
from stylefleet.totals import LOOKUPS, RETRY_CAUSES, RUN_PHASES, Totals

_TICK_BOUNDS_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0)
RUN_STATES = ("running", "waiting", "paused")
WORKER_STATES = ("wanted", "active", "ready")


class TotalsCollector(Collector):
    """The totals as Prometheus reads them; nothing before they are known."""

    def __init__(self, *, with_cost: bool) -> None:
        self._totals: Totals | None = None
        self._with_cost = with_cost

    def show(self, totals: Totals) -> None:
        """From now on these, which nobody changes any more."""
        self._totals = totals

    def collect(self) -> Iterator[Metric]:
        totals = self._totals
        if totals is not None:
            yield from _of_pictures(totals)
            yield from _of_workers(totals)
            if self._with_cost:
                yield _counter("cost", "Cost of workers, at the price at the time, in its currency.", totals.cost)

    def describe(self) -> list[Metric]:
        """Nothing: there may be no totals yet."""
        return []


def _of_pictures(totals: Totals) -> Iterator[Metric]:
    pictures = CounterMetricFamily(
        "stylefleet_pictures",
        f"Pictures that ended, by outcome ({', '.join(OUTCOMES)}) and reason (empty where done; else "
        f"{', '.join(REASONS)}).",
        labels=["outcome", "reason"],
    )
    # Known combinations exist from the start, so that rate() sees the first event.
    known = {("done", ""), *(("failed", reason) for reason in REASONS)}
    for outcome, reason in sorted(totals.pictures.keys() | known):
        pictures.add_metric([outcome, reason], totals.pictures[outcome, reason])
    yield pictures
    yield _counter("pixels", "Pixels of results.", totals.pixels)
    yield _counter("iterations", "Optimizer steps, summed over pictures.", totals.iterations)
    by_engine = CounterMetricFamily(
        "stylefleet_pictures_by_engine",
        "Pictures that were done, by precision (float32, mixed_bfloat16, mixed_float16) and device (cpu, gpu).",
        labels=["precision", "device"],
    )
    for labels, count in sorted(totals.by_engine.items()):
        by_engine.add_metric(list(labels), count)
    yield by_engine
    batches = HistogramMetricFamily(
        "stylefleet_picture_batch_size", "Pictures that were optimized at once with one that was done, itself included."
    )
    batches.add_metric([], totals.batch_sizes.buckets, totals.batch_sizes.total)
    yield batches
    stages = HistogramMetricFamily(
        "stylefleet_picture_stage_duration_seconds",
        f"Time of one picture in each stage ({', '.join(STAGES)}); what a batch shares is divided among its members.",
        labels=["stage"],
    )
    for stage, seconds in totals.stages.items():
        stages.add_metric([stage], seconds.buckets, seconds.total)
    yield stages
    yield GaugeMetricFamily(
        "stylefleet_picture_last_success_timestamp_seconds",
        "Unix time at which a picture was last seen to be done; 0 before the first.",
        totals.last_success,
    )


def _of_workers(totals: Totals) -> Iterator[Metric]:
    yield _counter("worker_seconds", "Wall time of workers, up to their last receipts.", totals.worker_seconds)
    yield _counter("gpu_seconds", "The same times the GPUs of each worker.", totals.gpu_seconds)
    lookups = CounterMetricFamily(
        "stylefleet_style_cache_lookups", "Style targets looked for, by result (hit, miss).", labels=["result"]
    )
    for result in LOOKUPS:
        lookups.add_metric([result], totals.style_lookups[result])
    yield lookups
    retries = CounterMetricFamily(
        "stylefleet_shard_retries",
        "Attempts at shards after which another one was needed, by cause: died (killed, out of memory, node lost) or "
        "stopped (evicted, preempted, paused).",
        labels=["cause"],
    )
    for cause in RETRY_CAUSES:
        retries.add_metric([cause], totals.retries[cause])
    yield retries
    shards = HistogramMetricFamily(
        "stylefleet_shard_duration_seconds", "Workers' time of a shard whose every picture has ended."
    )
    shards.add_metric([], totals.shards.buckets, totals.shards.total)
    yield shards
    runs = HistogramMetricFamily(
        "stylefleet_run_duration_seconds",
        f"Time from the plan of a run to its end, by final phase ({', '.join(RUN_PHASES)}).",
        labels=["phase"],
    )
    for phase, seconds in totals.runs.items():
        runs.add_metric([phase], seconds.buckets, seconds.total)
    yield runs


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(f"stylefleet_{name}", text, value)


class ControllerMetrics:
    """The controller's registry; one object a process."""

    def __init__(self, *, price: Price | None = None) -> None:
        """Without a price nothing is said of costs."""
        self.registry = CollectorRegistry()
        self.totals = TotalsCollector(with_cost=price is not None)
        self.registry.register(self.totals)
        if price is not None:
            self._gauge("price_per_gpu_hour", "Price of an hour of one GPU, or of a worker without.").set(
                price.per_gpu_hour
            )
        self.runs = self._gauge(
            "runs",
            "Runs that are not final, by whether a worker is at work (running, waiting), or is not to be (paused).",
            "state",
        )
        self.pending_pictures = self._gauge("pending_pictures", "Pictures of all runs that have not ended.")
        self.queued_manifests = self._gauge("queued_manifests", "Manifests that were seen and not taken up yet.")
        self.queue_oldest = self._gauge(
            "queue_oldest_timestamp_seconds",
            "Unix time at which the oldest manifest was put that no worker is at work on; 0 where there is none.",
        )
        self.workers = self._gauge(
            "workers",
            "Workers of all live Jobs: wanted (their parallelism), active (pods pending or running), ready (at work).",
            "state",
        )
        self.seconds_left = self._gauge(
            "estimated_seconds_left", "Until the last of all runs ends, by its pace so far; 0 where there is none."
        )
        self.behind_deadline = self._gauge("runs_behind_deadline", "Runs whose estimated end is after their deadline.")
        self.manifests_rejected = Counter(
            "stylefleet_manifests_rejected",
            "Manifests that were refused, by reason (ManifestInvalid).",
            ["reason"],
            registry=self.registry,
        )
        self.tick_seconds = Histogram(
            "stylefleet_reconcile_duration_seconds",
            "Time of one look at the whole inbox.",
            buckets=_TICK_BOUNDS_SECONDS,
            registry=self.registry,
        )
        self.tick_failures = Counter(
            "stylefleet_reconcile_failures",
            "Looks at the inbox (scope tick) or at one manifest (scope manifest) that ended in an error.",
            ["scope"],
            registry=self.registry,
        )
        self.last_tick = self._gauge(
            "reconcile_last_success_timestamp_seconds",
            "Unix time at which the whole inbox was last looked at without error.",
        )
        self.leader = self._gauge(
            "leader",
            "1 where this controller acts, 0 where it stands by for another; always 1 without leader election.",
        )
        self.leader.set(1)
        Info("stylefleet_build", "Version of the controller.", registry=self.registry).info({"version": __version__})
        # Known combinations exist from the start, so that rate() sees the first event.
        self.manifests_rejected.labels(reason="ManifestInvalid")
        for scope in ("tick", "manifest"):
            self.tick_failures.labels(scope=scope)
        for state in RUN_STATES:
            self.runs.labels(state=state)
        for state in WORKER_STATES:
            self.workers.labels(state=state)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"stylefleet_{name}", text, labels, registry=self.registry)
