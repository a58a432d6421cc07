"""`status/NAME.json` and `report.json`: what a user reads. Pure: facts in, documents out."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, get_args

from stylefleet import naming
from stylefleet.errors import FieldError
from stylefleet.failures import SHARD_FAILED, FailurePages
from stylefleet.inbox import Submission
from stylefleet.indexes import format_indexes
from stylefleet.plan import Plan
from stylefleet.price import Cost
from stylefleet.receipt import STAGES
from stylefleet.tally import Tally

FAILURES_SHOWN = 20
"""Failures that stand in the report itself; all are in its pages."""


class Phase(StrEnum):
    """Where a run is. The last five are final."""

    PENDING = "Pending"
    RUNNING = "Running"
    PAUSED = "Paused"
    REJECTED = "Rejected"
    SUCCEEDED = "Succeeded"
    PARTIALLY_SUCCEEDED = "PartiallySucceeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def final(self) -> bool:
        return self not in (Phase.PENDING, Phase.RUNNING, Phase.PAUSED)


EndReason = Literal["DeadlineExceeded", "TooManyFailures"]
END_REASONS: tuple[EndReason, ...] = get_args(EndReason)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """A decision to end a run before its work is done."""

    reason: EndReason
    """One word for machines."""
    because: str
    """For people, with the numbers that decided."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """State of the newest run of one name."""

    name: str
    run: str
    """Identity of the submission that this speaks of."""
    phase: Phase
    submission: Submission | None = None
    """The put of the manifest that this speaks of; None where that is not known yet."""
    reason: str = ""
    """One word for machines."""
    message: str = ""
    """One sentence for people."""
    errors: tuple[FieldError, ...] = ()
    """Where rejected: one for each broken rule."""
    ending: Ending | None = None
    """A decision that is being carried out: written before its first effect, since what it was made of may be gone
    after that, a failed Job first of all."""
    pictures: int = 0
    skipped: int = 0
    done: int = 0
    failed: int = 0
    waiting_because: str = ""
    """Why no worker is at work, in words; empty where one is."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    updated_at: datetime | None = None
    eta_seconds: float | None = None
    """Predicted seconds until the end, from the pace so far."""
    cost: Cost | None = None
    """None without a price."""
    output_prefix: str = ""
    report: str = ""
    """URI of the report; empty before the end."""

    @property
    def pending(self) -> int:
        return self.pictures - self.skipped - self.done - self.failed

    def same_as(self, other: Status | None) -> bool:
        """Whether nothing but the time of writing and the estimate changed."""
        return other is not None and self._news() == other._news()

    def _news(self) -> Status:
        started_at = self.started_at.replace(microsecond=0) if self.started_at else None
        finished_at = self.finished_at.replace(microsecond=0) if self.finished_at else None
        return replace(self, updated_at=None, eta_seconds=None, started_at=started_at, finished_at=finished_at)


def _time(value: datetime | None) -> str | None:
    return value.isoformat(timespec="seconds") if value else None


def to_json(status: Status) -> bytes:
    document = {
        "name": status.name,
        "run": status.run,
        "manifest": status.submission and {"etag": status.submission.etag, "putAt": _time(status.submission.put_at)},
        "phase": status.phase.value,
        "reason": status.reason,
        "message": status.message,
        "errors": [vars(e) for e in status.errors],
        "ending": None if status.ending is None else vars(status.ending),
        "progress": {
            "pictures": status.pictures,
            "skipped": status.skipped,
            "done": status.done,
            "failed": status.failed,
            "pending": status.pending,
        },
        "waitingBecause": status.waiting_because,
        "startedAt": _time(status.started_at),
        "finishedAt": _time(status.finished_at),
        "updatedAt": _time(status.updated_at),
        "etaSeconds": None if status.eta_seconds is None else round(status.eta_seconds),
        "cost": _cost(status.cost),
        "outputPrefix": status.output_prefix,
        "report": status.report,
    }
    return _dump(document)


def from_json(data: bytes) -> Status:
    """The inverse of `to_json`; raises KeyError, TypeError or ValueError on another shape."""
    d: dict[str, Any] = json.loads(data)
    times = {
        name: datetime.fromisoformat(d[key]) if d[key] else None
        for name, key in (("started_at", "startedAt"), ("finished_at", "finishedAt"), ("updated_at", "updatedAt"))
    }
    return Status(
        name=d["name"],
        run=d["run"],
        phase=Phase(d["phase"]),
        submission=_submission(d.get("manifest")),
        reason=d["reason"],
        message=d["message"],
        errors=tuple(FieldError(**e) for e in d["errors"]),
        # Statuses of earlier versions lack it.
        ending=_ending_from(d.get("ending")),
        pictures=d["progress"]["pictures"],
        skipped=d["progress"]["skipped"],
        done=d["progress"]["done"],
        failed=d["progress"]["failed"],
        waiting_because=d["waitingBecause"],
        eta_seconds=d["etaSeconds"],
        cost=_cost_from(d.get("cost")),
        output_prefix=d["outputPrefix"],
        report=d["report"],
        **times,
    )


def _submission(d: dict[str, str] | None) -> Submission | None:
    """None also where an earlier version wrote the status."""
    return Submission(d["etag"], datetime.fromisoformat(d["putAt"])) if d else None


def _cost(cost: Cost | None) -> dict[str, Any] | None:
    if cost is None:
        return None
    estimated = None if cost.estimated is None else round(cost.estimated, 4)
    return {"currency": cost.currency, "estimated": estimated, "actual": round(cost.actual, 4)}


def _cost_from(d: dict[str, Any] | None) -> Cost | None:
    """None also where an earlier version wrote the status."""
    if d is None:
        return None
    estimated = None if d["estimated"] is None else float(d["estimated"])
    return Cost(currency=str(d["currency"]), estimated=estimated, actual=float(d["actual"]))


def _ending_from(d: dict[str, Any] | None) -> Ending | None:
    if d is None:
        return None
    if d["reason"] not in END_REASONS:
        raise ValueError(f"ending: {d['reason']!r}")
    return Ending(reason=d["reason"], because=str(d["because"]))


def eta_seconds(*, ended: int, pending: int, seconds_per_task: float, started_at: datetime, now: datetime) -> float:
    """Seconds until the end: from the pace so far, and before the first picture ended, or where the clock was set back
    behind the start, from the prediction `seconds_per_task` (of the whole fleet: a worker's divided by the workers)."""
    elapsed = max(0.0, (now - started_at).total_seconds())
    if ended == 0 or elapsed == 0:
        return max(0.0, seconds_per_task * pending - elapsed)
    return max(0.0, elapsed / ended * pending)


def report_json(
    plan: Plan,
    tally: Tally,
    *,
    phase: Phase,
    reason: str,
    message: str,
    missing_by_shard: dict[int, int],
    failures: FailurePages,
    finished_at: datetime,
    cost: Cost | None = None,
) -> bytes:
    """The report of a run that ended; its length does not grow with the catalog. `missing_by_shard` are tasks without
    receipt, by the index that failed."""
    sums = tally.sums
    seconds = {stage: round(sums.stage_seconds[stage], 3) for stage in STAGES}
    total, missing = sum(seconds.values()), sum(missing_by_shard.values())
    document = {
        "name": plan.name,
        "run": plan.run,
        "phase": phase.value,
        "reason": reason,
        "message": message,
        "manifestDigest": plan.manifest_digest,
        "recipeDigest": plan.recipe.digest,
        "outputPrefix": str(plan.output_prefix),
        "plannedAt": _time(plan.planned_at),
        "finishedAt": _time(finished_at),
        "totals": {
            "pictures": plan.pictures,
            "skipped": plan.skipped,
            "done": tally.done,
            "failed": tally.failed + missing,
        },
        "failuresByReason": dict(sums.failed_by_reason) | ({SHARD_FAILED: missing} if missing else {}),
        "failures": {
            "first": [vars(f) for f in failures.first],
            "pages": failures.pages,
            "prefix": naming.failures_prefix(plan.name, plan.run),
        },
        "unfinishedShards": {"indexes": format_indexes(missing_by_shard), "pictures": missing},
        "stageSeconds": seconds,
        "workerSeconds": round(sums.worker_seconds, 3),
        "gpuSeconds": round(sums.gpu_seconds, 3),
        "cost": _cost(cost),
        "optimizeShare": round(seconds["optimize"] / total, 4) if total else None,
        "engines": [vars(e) for e in sorted(sums.engines, key=str)],
        "receipts": f"{naming.receipts_prefix(plan.name, plan.run)}",
    }
    return _dump(document)


def _dump(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
