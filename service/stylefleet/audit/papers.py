"""What report and status say, beside what the receipts add up to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from stylefleet import naming
from stylefleet.audit.findings import Audit
from stylefleet.errors import NotFound
from stylefleet.failures import SHARD_FAILED
from stylefleet.naming import Ref
from stylefleet.plan import Plan
from stylefleet.status import END_REASONS, Phase, Status
from stylefleet.store import Store


def check(
    store: Store,
    bucket: str,
    plan: Plan,
    audit: Audit,
    found: Status | None,
    *,
    done: int,
    failed_by_reason: Mapping[str, int],
    unfinished: int,
) -> None:
    """Add what is to be said of the report, of the run's status where it has one, and of pictures without receipt."""
    report = _report(store, bucket, plan, audit)
    if report is None:
        audit.notes.add("receipts", plan.run, f"pictures without receipt: {unfinished}", count=unfinished)
        return
    audit.phase = str(report.get("phase", ""))
    early = _ended_early(report)
    why = f"the run was ended ({early})" if early else "their shard was given up"
    audit.notes.add("receipts", plan.run, f"pictures without receipt, since {why}: {unfinished}", count=unfinished)
    lost = 0 if early else unfinished
    reasons = Counter(failed_by_reason) + Counter({SHARD_FAILED: lost})
    _compare(
        audit,
        "report.json",
        {"totals": report.get("totals"), "failuresByReason": report.get("failuresByReason")},
        {
            "totals": {
                "pictures": plan.pictures,
                "skipped": plan.skipped,
                "done": done,
                "failed": reasons.total(),
            },
            "failuresByReason": dict(reasons),
        },
    )
    _check_pages(store, bucket, plan, audit, report, failed=reasons.total())
    if found is not None:
        _check_status(audit, found, report)


def _report(store: Store, bucket: str, plan: Plan, audit: Audit) -> dict[str, Any] | None:
    ref = Ref(bucket, naming.report_key(plan.name, plan.run))
    audit.looked_at["report"] += 1
    try:
        report = json.loads(store.get(ref).data)
    except NotFound:
        audit.faults.add("report", ref, "there is none: the run has not ended, or a newer one superseded it")
        return None
    except ValueError as error:
        audit.faults.add("report", ref, f"it cannot be read: {error}")
        return None
    if not isinstance(report, dict):
        audit.faults.add("report", ref, "it is no report")
        return None
    return report


def _ended_early(report: Mapping[str, Any]) -> str:
    """Why the run ended before its work was done; empty where it did not."""
    if report.get("phase") == Phase.CANCELLED.value:
        return "Cancelled"
    reason = report.get("reason")
    return str(reason) if reason in END_REASONS else ""


def _compare(audit: Audit, about: str, said: Mapping[str, Any], right: Mapping[str, Any]) -> None:
    for name, value in right.items():
        if said[name] != value:
            audit.faults.add("report", about, f"{name}: it says {said[name]}, the receipts {value}")


def _check_pages(
    store: Store, bucket: str, plan: Plan, audit: Audit, report: Mapping[str, Any], *, failed: int
) -> None:
    if not isinstance(report.get("failures"), dict):
        return  # a report of an earlier version has no pages
    lines = 0
    for listed in store.list(Ref(bucket, naming.failures_prefix(plan.name, plan.run))):
        audit.looked_at["report"] += 1
        lines += len(store.get(listed.ref).data.splitlines())
    if lines != failed:
        audit.faults.add("report", "failures/", f"its pages have {lines} failures, the receipts {failed}")


def _check_status(audit: Audit, found: Status, report: Mapping[str, Any]) -> None:
    audit.looked_at["status"] += 1
    totals = report.get("totals")
    said = {
        "phase": found.phase.value,
        "reason": found.reason,
        "totals": {
            "pictures": found.pictures,
            "skipped": found.skipped,
            "done": found.done,
            "failed": found.failed,
        },
    }
    # Reports of earlier versions have no reason.
    right = {"phase": report.get("phase"), "reason": report.get("reason", ""), "totals": totals}
    for name, value in right.items():
        if said[name] != value:
            audit.faults.add("status", "status", f"{name}: it says {said[name]}, the report {value}")
