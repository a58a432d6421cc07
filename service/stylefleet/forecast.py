"""What would come of a manifest if it were submitted now: found by the planner's own steps, with nothing written."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from stylefleet import price as prices
from stylefleet.ledger import Ledger, ToDoBecause
from stylefleet.manifest import Manifest
from stylefleet.planner import Draft, Pace, draft_run
from stylefleet.price import Price
from stylefleet.store import Store


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run would be."""

    name: str
    draft: Draft
    because: ToDoBecause
    gpus: int
    """Of a worker."""
    price: Price | None

    @property
    def worker_seconds(self) -> float:
        return self.draft.to_do * self.draft.prediction.seconds

    @property
    def workers(self) -> int:
        """At work at a time, where nothing else needs them."""
        return min(self.draft.workers, self.draft.shards)

    @property
    def eta_seconds(self) -> float:
        """From the first worker's start to the end: shards one after the other on each worker."""
        if not self.workers:
            return 0.0
        of_a_shard = min(self.draft.tasks_per_shard, self.draft.to_do) * self.draft.prediction.seconds
        return math.ceil(self.draft.shards / self.workers) * of_a_shard

    @property
    def cost(self) -> float | None:
        """None without a price."""
        return None if self.price is None else self.price.of(self.worker_seconds * max(1, self.gpus))


def forecast(
    store: Store,
    bucket: str,
    *,
    name: str,
    manifest: Manifest,
    pace: Pace,
    price: Price | None,
    workers_max: int | None,
) -> Forecast:
    """Look at everything that planning looks at. `workers_max` caps the workers of all runs together.

    Raises PlanInvalid, as planning would.
    """
    with Ledger() as ledger:
        draft = draft_run(store, bucket, ledger, name=name, manifest=manifest, pace=pace)
        because = ledger.to_do_because()
    capped = min(draft.workers, workers_max or draft.workers)
    gpus = manifest.spec.run.resources.gpu
    return Forecast(name=name, draft=replace(draft, workers=capped), because=because, gpus=gpus, price=price)


def to_document(found: Forecast) -> dict[str, Any]:
    """For JSON."""
    draft, cost = found.draft, found.cost
    return {
        "name": found.name,
        "pictures": draft.pictures,
        "skipped": draft.pictures - draft.to_do,
        "toDo": draft.to_do,
        "toDoBecause": {
            "new": found.because.new,
            "resultGone": found.because.gone,
            "resultReplaced": found.because.replaced,
        },
        "leftOut": asdict(draft.left_out),
        "shards": draft.shards,
        "picturesPerShard": draft.tasks_per_shard,
        "workers": found.workers,
        "secondsPerPicture": round(draft.prediction.seconds, 4),
        "secondsSource": draft.prediction.source,
        "workerHours": round(found.worker_seconds / 3600, 4),
        "gpuHours": round(found.worker_seconds * found.gpus / 3600, 4),
        "etaSeconds": round(found.eta_seconds),
        "cost": None
        if cost is None or found.price is None
        else {"currency": found.price.currency, "estimated": round(cost, 4)},
        "costLeavesOut": None if cost is None else prices.LEFT_OUT,
    }
