"""Totals over all receipts that ever were: what the service's counters stand at. Records only, no outside system.

A counter that is made of durable totals does not begin anew with its process, so a restart neither loses nor repeats
work that was done meanwhile.
"""

from __future__ import annotations

import bisect
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from stylefleet.errors import RecordUnreadable
from stylefleet.receipt import STAGES, Receipt

STAGE_BOUNDS_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0, 14400.0)
BATCH_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
SHARD_BOUNDS_SECONDS = tuple(10.0 * 2**n for n in range(13))
"""10 s to 11 hours."""
RUN_BOUNDS_SECONDS = (
    60.0,
    300.0,
    900.0,
    3600.0,
    3 * 3600.0,
    6 * 3600.0,
    12 * 3600.0,
    86400.0,
    2 * 86400.0,
    7 * 86400.0,
)
RUN_PHASES = ("Succeeded", "PartiallySucceeded", "Failed", "Cancelled")
LOOKUPS = ("hit", "miss")
RETRY_CAUSES = ("died", "stopped")


class Distribution:
    """A histogram as Prometheus has them: observations by upper bound, and their sum."""

    def __init__(self, bounds: Sequence[float], counts: Sequence[int] = (), total: float = 0.0) -> None:
        """`counts` by bound, not cumulative, one more for what is above the last; none where nothing was observed.
        Raises ValueError where there are others than that."""
        self.bounds = tuple(bounds)
        self.counts = list(counts) or [0] * (len(self.bounds) + 1)
        self.total = total
        if len(self.counts) != len(self.bounds) + 1:
            raise ValueError(f"found {len(self.counts)} counts for {len(self.bounds)} bounds")

    def observe(self, value: float) -> None:
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds as text, with how many observations are not above each."""
        cumulative, found = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts, strict=True):
            cumulative += count
            found.append((bound, float(cumulative)))
        return found


@dataclass(kw_only=True)
class Totals:
    """Running totals; each receipt, shard and run is added once, which is its caller's business."""

    pictures: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By outcome and reason."""
    pixels: int = 0
    """Of results."""
    iterations: int = 0
    by_engine: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Pictures that were done, by precision and kind of device (cpu, gpu)."""
    batch_sizes: Distribution = field(default_factory=lambda: Distribution(BATCH_BOUNDS))
    """Of pictures that were done."""
    stages: dict[str, Distribution] = field(
        default_factory=lambda: {stage: Distribution(STAGE_BOUNDS_SECONDS) for stage in STAGES}
    )
    worker_seconds: float = 0.0
    gpu_seconds: float = 0.0
    cost: float = 0.0
    """In the currency of the price at the time."""
    style_lookups: Counter[str] = field(default_factory=Counter)
    """By result: hit, miss."""
    retries: Counter[str] = field(default_factory=Counter)
    """Attempts at shards that had to be followed by another, by cause: died, stopped."""
    shards: Distribution = field(default_factory=lambda: Distribution(SHARD_BOUNDS_SECONDS))
    """Workers' seconds of shards whose every picture has ended."""
    runs: dict[str, Distribution] = field(
        default_factory=lambda: {phase: Distribution(RUN_BOUNDS_SECONDS) for phase in RUN_PHASES}
    )
    """Seconds from the plan to the end, by final phase."""
    last_success: float = 0.0
    """Unix time at which a picture was last seen to be done; 0 before the first."""

    def add(self, receipts: Iterable[Receipt], *, price_per_gpu_hour: float | None, now: datetime) -> None:
        """Count receipts that were seen now."""
        for receipt in receipts:
            self.pictures[receipt.outcome, receipt.reason] += 1
            self.iterations += receipt.iterations
            for stage, seconds in receipt.stage_seconds.items():
                self.stages[stage].observe(seconds)
            self.worker_seconds += receipt.worker_seconds
            self.gpu_seconds += receipt.gpu_seconds
            self.cost += receipt.paid_seconds / 3600 * (price_per_gpu_hour or 0.0)
            if receipt.start is not None:
                self.style_lookups["hit"] += receipt.start.style_hits
                self.style_lookups["miss"] += receipt.start.style_misses
                self.retries["died"] += receipt.start.died
                self.retries["stopped"] += receipt.start.stopped
            if receipt.outcome == "done":
                self.pixels += receipt.width_px * receipt.height_px
                self.batch_sizes.observe(receipt.batch)
                if receipt.engine is not None:
                    self.by_engine[receipt.engine.precision, "gpu" if receipt.gpus else "cpu"] += 1
                # Not the receipt's own time: a worker's clock may be wrong, and who reads this has another.
                self.last_success = max(self.last_success, now.timestamp())

    def to_document(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "pictures": [[outcome, reason, count] for (outcome, reason), count in sorted(self.pictures.items())],
            "pixels": self.pixels,
            "iterations": self.iterations,
            "byEngine": [[precision, device, count] for (precision, device), count in sorted(self.by_engine.items())],
            "batchSizes": _document(self.batch_sizes),
            "stages": {stage: _document(seconds) for stage, seconds in self.stages.items()},
            "workerSeconds": self.worker_seconds,
            "gpuSeconds": self.gpu_seconds,
            "cost": self.cost,
            "styleLookups": dict(self.style_lookups),
            "retries": dict(self.retries),
            "shards": _document(self.shards),
            "runs": {phase: _document(seconds) for phase, seconds in self.runs.items()},
            "lastSuccess": self.last_success,
        }


def totals_from(d: Mapping[str, Any]) -> Totals:
    """The inverse of `Totals.to_document`. Raises RecordUnreadable."""
    try:
        return Totals(
            pictures=Counter({(str(o), str(r)): int(count) for o, r, count in d["pictures"]}),
            pixels=int(d["pixels"]),
            iterations=int(d["iterations"]),
            by_engine=Counter({(str(p), str(k)): int(count) for p, k, count in d["byEngine"]}),
            batch_sizes=_distribution(d["batchSizes"], BATCH_BOUNDS),
            stages={stage: _distribution(d["stages"][stage], STAGE_BOUNDS_SECONDS) for stage in STAGES},
            worker_seconds=float(d["workerSeconds"]),
            gpu_seconds=float(d["gpuSeconds"]),
            cost=float(d["cost"]),
            style_lookups=Counter({k: int(v) for k, v in d["styleLookups"].items()}),
            retries=Counter({k: int(v) for k, v in d["retries"].items()}),
            shards=_distribution(d["shards"], SHARD_BOUNDS_SECONDS),
            runs={phase: _distribution(d["runs"][phase], RUN_BOUNDS_SECONDS) for phase in RUN_PHASES},
            last_success=float(d["lastSuccess"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"the totals cannot be read: {error!r}") from error


def to_json(totals: Totals, runs: Mapping[str, Any]) -> bytes:
    """The totals, with what of each live run is in them."""
    return (json.dumps({"totals": totals.to_document(), "runs": runs}, ensure_ascii=False) + "\n").encode()


def _document(distribution: Distribution) -> dict[str, Any]:
    return {"counts": distribution.counts, "sum": distribution.total}


def _distribution(d: Mapping[str, Any], bounds: Sequence[float]) -> Distribution:
    return Distribution(bounds, [int(count) for count in d["counts"]], float(d["sum"]))
