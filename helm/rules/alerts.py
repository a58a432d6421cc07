"""Alerts. Each has a chapter of its name in docs/operations.md."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from helm.rules.recording import OBJECTIVE, OURS, broken, pictures

Json = dict[str, Any]
READY, WANTED, WAITING = (f'state="{state}"' for state in ("ready", "wanted", "waiting"))
BUDGET = round(1 - OBJECTIVE, 6)


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alerting rule."""

    name: str
    severity: Literal["critical", "warning"]
    """critical: somebody should look now. warning: on the next working day."""
    expr: str
    lasting: str
    """How long it must be so before anybody is told."""
    summary: str
    description: str

    def rule(self) -> Json:
        """As Prometheus reads it."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": self.lasting,
            "labels": {"severity": self.severity, "namespace": "__NAMESPACE__"},
            "annotations": {
                "summary": self.summary,
                "description": self.description,
                "runbook_url": f"__RUNBOOK__#{self.name.lower()}",
            },
        }


def _latest(metric: str, *matchers: str) -> str:
    """Of the leader: those that stand by say 0 or nothing."""
    return f"max({metric}{{{', '.join((OURS, *matchers))}}})"


def _burns(*, factor: float, long: str, short: str) -> str:
    """The budget of 30 days goes `factor` times too fast: for long enough to matter, and still."""
    limit = round(factor * BUDGET, 6)
    enough = f"increase({pictures('broken')}[{long}]) > {EVENTS_MIN}"
    return f"({broken(long)} > {limit} and {broken(short)} > {limit} and on (namespace) {enough})"


def _share_of_hits(window: str) -> str:
    """`window` may have an offset."""
    duration, _, offset = window.partition(" ")
    hits, all_ = (
        f"sum by (namespace) (increase({LOOKUPS}{{{matchers}}}[{duration}]{f' {offset}' if offset else ''}))"
        for matchers in (f'{OURS}, result="hit"', OURS)
    )
    return f"({hits} / {all_})"


LOOKUPS = "namespace_result:stylefleet_style_cache_lookups_total:max"
EVENTS_MIN = 5
"""Fewer pictures are no trend, whatever their share."""
BUDGET_TEXT = "{{ $value | humanizePercentage }} of the pictures that could be done were not, for reasons of ours. "

ALERTS = (
    Alert(
        name="StylefleetControllerAbsent",
        severity="critical",
        expr=f"absent(stylefleet_build_info{{{OURS}}})",
        lasting="10m",
        summary="No controller of Stylefleet is scraped.",
        description="Manifests are not looked at, and runs are not followed. Workers that run go on.",
    ),
    Alert(
        name="StylefleetReconcileStalled",
        severity="critical",
        # The largest of all replicas: those that stand by never look at the inbox.
        expr=f"time() - {_latest('stylefleet_reconcile_last_success_timestamp_seconds')} > 600",
        lasting="5m",
        summary="The inbox was not looked at without error for ten minutes.",
        description="The bucket or the API server does not answer the controller, or refuses it; its log says which. "
        "The last success was {{ $value | humanizeDuration }} ago.",
    ),
    Alert(
        name="StylefleetReconcileFailing",
        severity="warning",
        expr=f"sum by (scope) (increase(stylefleet_reconcile_failures_total{{{OURS}}}[30m])) > 10",
        lasting="15m",
        summary="Looks at the inbox or at one manifest fail again and again.",
        description="{{ $value | humanize }} failures with scope {{ $labels.scope }} in half an hour. "
        "The controller's log names the manifest and the error.",
    ),
    Alert(
        name="StylefleetErrorBudgetBurn",
        severity="critical",
        expr=f"{_burns(factor=14.4, long='1h', short='5m')} or {_burns(factor=6, long='6h', short='30m')}",
        lasting="2m",
        summary="Pictures fail by our fault, so many that the month's budget is gone within days.",
        description=BUDGET_TEXT + "The objective allows 1 of 100 in 30 days.",
    ),
    Alert(
        name="StylefleetErrorBudgetBurn",
        severity="warning",
        expr=_burns(factor=1, long="3d", short="6h"),
        lasting="1h",
        summary="Pictures fail by our fault, more than the month's budget allows.",
        description=BUDGET_TEXT + "The objective allows 1 of 100 in 30 days.",
    ),
    Alert(
        name="StylefleetInputRejectSpike",
        severity="warning",
        expr=f"(sum by (namespace) (increase({pictures('refused')}[1h])) > 10) "
        f"> 0.1 * sum by (namespace) (increase({pictures('done|refused|broken')}[1h]))",
        lasting="15m",
        summary="More than a tenth of the last hour's pictures were refused for what they are.",
        description="{{ $value | humanize }} pictures in an hour are damaged, too small or too large, or were deleted "
        "or replaced meanwhile. report.json of each run names them.",
    ),
    Alert(
        name="StylefleetQueueStalled",
        severity="critical",
        expr=f"time() - {_latest('stylefleet_picture_last_success_timestamp_seconds')} > 3600 "
        f"and {_latest('stylefleet_pending_pictures')} > 0 "
        f"and {_latest('stylefleet_workers', READY)} > 0",
        lasting="1h",
        summary="Workers are at work, but no picture was done for an hour.",
        description="The last one was done {{ $value | humanizeDuration }} ago. Pictures or styles fail, are too large "
        "for these workers, or their workers die. The receipts and the workers' logs say why.",
    ),
    Alert(
        name="StylefleetNoWorkersScheduled",
        severity="warning",
        expr=f"{_latest('stylefleet_workers', WANTED)} > 0 and {_latest('stylefleet_workers', READY)} == 0",
        lasting="30m",
        summary="Jobs ask for workers, and for half an hour none has been at work.",
        description="Workers that are wanted: {{ $value }}. They wait for a place on a node, a GPU, quota or an image. "
        "status/NAME.json in the bucket says which.",
    ),
    Alert(
        name="StylefleetRunsWaiting",
        severity="warning",
        expr=f"{_latest('stylefleet_runs', WAITING)} > 0",
        lasting="1h",
        summary="A run has had no worker at work for an hour.",
        description="Runs that wait: {{ $value }}. They lack a place on a node, a GPU, quota or an image. "
        "status/NAME.json in the bucket says which.",
    ),
    Alert(
        name="StylefleetDeadlineAtRisk",
        severity="warning",
        expr=f"{_latest('stylefleet_runs_behind_deadline')} > 0",
        lasting="15m",
        summary="A run will be late: its estimated end is after its deadline.",
        description="Runs that will be late: {{ $value }}. At the deadline what is left is not tried any more. "
        "More workers, or a higher run.priority, may still help.",
    ),
    Alert(
        name="StylefleetS3Throttled",
        severity="warning",
        expr=f'sum(rate(stylefleet_s3_requests_total{{{OURS}, result="throttled"}}[10m])) '
        f"/ sum(rate(stylefleet_s3_requests_total{{{OURS}}}[10m])) > 0.05",
        lasting="15m",
        summary="S3 refuses requests because there are too many.",
        description="{{ $value | humanizePercentage }} of the attempts of controller and workers were refused, and "
        "repeated later. Workers wait for the store and cost as much as before.",
    ),
    Alert(
        name="StylefleetCacheCollapse",
        severity="warning",
        expr=f"{_share_of_hits('1h')} < 0.5 * {_share_of_hits('1d offset 1h')} "
        f"and on (namespace) sum by (namespace) (increase({LOOKUPS}{{{OURS}}}[1h])) > 20",
        lasting="30m",
        summary="Style targets are computed anew that used to be in the cache.",
        description="{{ $value | humanizePercentage }} of the last hour's look-ups were hits, less than half of the "
        "day before.",
    ),
)

WITH_A_BUDGET = (
    Alert(
        name="StylefleetCostBudget",
        severity="warning",
        expr=f"increase(namespace:stylefleet_cost_total:max{{{OURS}}}[1d]) > __COST_BUDGET__",
        lasting="5m",
        summary="The last 24 hours cost more than the budget of a day.",
        description="They cost {{ $value | humanize }}; the budget is __COST_BUDGET__, in the currency of the price.",
    ),
)
