"""For each alert what must set it off, and what must not: series as promtool reads them, one value a minute."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

LEADER = {"namespace": "art", "job": "art/controller", "instance": "leader"}
SECOND = LEADER | {"instance": "second"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One course of events."""

    alert: str
    says: str
    series: Mapping[str, str]
    """Series -> values, as `0+2x60`: 0 at first, 2 more each minute, for an hour."""
    at: str
    fires: tuple[Mapping[str, str], ...] = field(default=())
    """Labels of each alert that fires then, beside its name and namespace."""
    shows: tuple[str, ...] = ()
    """What stands in its description where the rule has {{ ... }}."""


def _series(metric: str, base: Mapping[str, str] = LEADER, **labels: str) -> str:
    matchers = ", ".join(f'{name}="{value}"' for name, value in {**base, **labels}.items())
    return f"{metric}{{{matchers}}}"


def _done(base: Mapping[str, str] = LEADER) -> str:
    return _series("stylefleet_pictures_total", base, outcome="done", reason="")


def _failed(reason: str, base: Mapping[str, str] = LEADER) -> str:
    return _series("stylefleet_pictures_total", base, outcome="failed", reason=reason)


def _runs(state: str) -> str:
    return _series("stylefleet_runs", state=state)


def _workers(state: str) -> str:
    return _series("stylefleet_workers", state=state)


def _lookups(result: str) -> str:
    return _series("stylefleet_style_cache_lookups_total", result=result)


def _s3(result: str) -> str:
    return _series("stylefleet_s3_requests_total", operation="GetObject", result=result)


LAST_LOOK = "stylefleet_reconcile_last_success_timestamp_seconds"
LAST_PICTURE = _series("stylefleet_picture_last_success_timestamp_seconds")
PENDING = _series("stylefleet_pending_pictures")
WARNING = ({"severity": "warning"},)
CRITICAL = ({"severity": "critical"},)

CASES = (
    Case(
        alert="StylefleetControllerAbsent",
        says="nobody is scraped here, though elsewhere somebody is",
        series={_series("stylefleet_build_info", namespace="elsewhere"): "1x60"},
        at="11m",
        fires=CRITICAL,
    ),
    Case(
        alert="StylefleetControllerAbsent",
        says="one that stands by is there",
        series={_series("stylefleet_build_info", SECOND): "1x60"},
        at="30m",
    ),
    Case(
        alert="StylefleetReconcileStalled",
        says="nobody has looked since the beginning",
        series={_series(LAST_LOOK): "0x60", _series(LAST_LOOK, SECOND): "0x60"},
        at="16m",
        fires=CRITICAL,
        shows=("16m 0s",),
    ),
    Case(
        alert="StylefleetReconcileStalled",
        says="one looks and one stands by",
        series={_series(LAST_LOOK): "0+60x60", _series(LAST_LOOK, SECOND): "0x60"},
        at="1h",
    ),
    Case(
        alert="StylefleetReconcileFailing",
        says="a manifest fails every minute",
        series={_series("stylefleet_reconcile_failures_total", scope="manifest"): "0+1x60"},
        at="1h",
        fires=({"severity": "warning", "scope": "manifest"},),
        shows=(
            "30",
            "manifest",
        ),
    ),
    Case(
        alert="StylefleetReconcileFailing",
        says="eight failures and then none",
        series={_series("stylefleet_reconcile_failures_total", scope="tick"): "0+1x8 8x60"},
        at="25m",
    ),
    Case(
        alert="StylefleetErrorBudgetBurn",
        says="a quarter kills its workers, for half an hour",
        series={_done(): "0+9x60", _failed("killed_worker"): "0+3x60"},
        at="30m",
        fires=CRITICAL,
        shows=("25%",),
    ),
    Case(
        alert="StylefleetErrorBudgetBurn",
        says="eight of a hundred, for six hours",
        series={_done(): "0+92x400", _failed("content_unreadable"): "0+8x400"},
        at="6h",
        # The slower rule has the same reason: it goes on when the faster one is silent again.
        fires=(*CRITICAL, *WARNING),
        shows=("8%",),
    ),
    Case(
        alert="StylefleetErrorBudgetBurn",
        says="two of a hundred, for three days",
        series={_done(): "0+49x4400", _failed("diverged"): "0+1x4400"},
        at="73h",
        fires=WARNING,
        shows=("2%",),
    ),
    Case(
        alert="StylefleetErrorBudgetBurn",
        says="half of the files are damaged",
        series={_done(): "0+5x300", _failed("truncated"): "0+5x300", _failed("mask_invalid"): "0+5x300"},
        at="4h",
    ),
    Case(
        alert="StylefleetErrorBudgetBurn",
        says="four of eight on a quiet day",
        series={_done(): "0+1x4 4x300", _failed("killed_worker"): "0+1x4 4x300"},
        at="2h",
    ),
    Case(
        alert="StylefleetErrorBudgetBurn",
        says="it is over for three quarters of an hour",
        series={_done(): "0+9x60", _failed("killed_worker"): "0+9x10 90x50"},
        at="55m",
    ),
    Case(
        alert="StylefleetErrorBudgetBurn",
        says="another controller leads, with the totals of the first",
        series={
            _done(): "1000+1x30",
            _failed("killed_worker"): "500x30",
            _done(SECOND): "_x32 1032+1x60",
            _failed("killed_worker", SECOND): "_x32 500x60",
        },
        at="37m",
    ),
    Case(
        alert="StylefleetInputRejectSpike",
        says="two of seven are cut off",
        series={_done(): "0+5x90", _failed("truncated"): "0+2x90"},
        at="80m",
        fires=WARNING,
        shows=("120",),
    ),
    Case(
        alert="StylefleetInputRejectSpike",
        says="five of a hundred are cut off",
        series={_done(): "0+95x90", _failed("truncated"): "0+5x90"},
        at="80m",
    ),
    Case(
        alert="StylefleetInputRejectSpike",
        says="nine, all of a small catalog",
        series={_done(): "0x90", _failed("too_small"): "0+1x9 9x90"},
        at="50m",
    ),
    Case(
        alert="StylefleetInputRejectSpike",
        says="it is our fault",
        series={_done(): "0+5x90", _failed("killed_worker"): "0+5x90"},
        at="80m",
    ),
    Case(
        alert="StylefleetQueueStalled",
        says="two workers and no picture for two hours",
        series={LAST_PICTURE: "0x200", PENDING: "50x200", _workers("ready"): "2x200"},
        at="125m",
        fires=CRITICAL,
        shows=("2h 5m 0s",),
    ),
    Case(
        alert="StylefleetQueueStalled",
        says="there is nothing to do",
        series={LAST_PICTURE: "0x200", PENDING: "0x200", _workers("ready"): "2x200"},
        at="3h",
    ),
    Case(
        alert="StylefleetQueueStalled",
        says="a picture every half hour",
        series={LAST_PICTURE: "0x30 1800x30 3600x30 5400x30 7200x30", PENDING: "9x200", _workers("ready"): "2x200"},
        at="145m",
    ),
    Case(
        alert="StylefleetNoWorkersScheduled",
        says="four are wanted and none has come",
        series={_workers("wanted"): "4x60", _workers("ready"): "0x60"},
        at="31m",
        fires=WARNING,
        shows=("4",),
    ),
    Case(
        alert="StylefleetNoWorkersScheduled",
        says="one of four has come",
        series={_workers("wanted"): "4x60", _workers("ready"): "0x20 1x60"},
        at="1h",
    ),
    Case(
        alert="StylefleetNoWorkersScheduled",
        says="none is wanted",
        series={_workers("wanted"): "0x60", _workers("ready"): "0x60"},
        at="1h",
    ),
    Case(
        alert="StylefleetRunsWaiting",
        says="a run waits for an hour",
        series={
            _runs("waiting"): "1x90",
            _runs("running"): "3x90",
        },
        at="61m",
        fires=WARNING,
        shows=("1",),
    ),
    Case(
        alert="StylefleetRunsWaiting",
        says="runs are paused, and one waited for half an hour",
        series={
            _runs("waiting"): "1x30 0x90",
            _runs("paused"): "2x90",
        },
        at="80m",
    ),
    Case(
        alert="StylefleetDeadlineAtRisk",
        says="a run will be late",
        series={_series("stylefleet_runs_behind_deadline"): "1x60"},
        at="16m",
        fires=WARNING,
        shows=("1",),
    ),
    Case(
        alert="StylefleetDeadlineAtRisk",
        says="an estimate was wrong for ten minutes",
        series={_series("stylefleet_runs_behind_deadline"): "1x10 0x60"},
        at="30m",
    ),
    Case(
        alert="StylefleetS3Throttled",
        says="eight of a hundred attempts are too many",
        series={_s3("ok"): "0+92x60", _s3("throttled"): "0+8x60"},
        at="30m",
        fires=WARNING,
        shows=("8%",),
    ),
    Case(
        alert="StylefleetS3Throttled",
        says="two of a hundred are, and others are refused for another reason",
        series={_s3("ok"): "0+88x60", _s3("throttled"): "0+2x60", _s3("denied"): "0+10x60"},
        at="30m",
    ),
    Case(
        alert="StylefleetCacheCollapse",
        says="a day of hits, an hour of misses",
        series={_lookups("hit"): "0+1x1500 1500x120", _lookups("miss"): "0x1500 0+1x120"},
        at="26h10m",
        fires=WARNING,
        shows=("0%",),
    ),
    Case(
        alert="StylefleetCacheCollapse",
        says="nine of ten were misses all the time",
        series={_lookups("hit"): "0+1x1700", _lookups("miss"): "0+9x1700"},
        at="26h10m",
    ),
    Case(
        alert="StylefleetCacheCollapse",
        says="an hour with ten look-ups",
        series={_lookups("hit"): "0+1x1440 1440x180", _lookups("miss"): "0x1500 0+1x10 10x120"},
        at="25h50m",
    ),
    Case(
        alert="StylefleetCostBudget",
        says="144 a day where the budget is 120.50",
        series={_series("stylefleet_cost_total"): "0+0.1x1500"},
        at="24h10m",
        fires=WARNING,
        shows=("144",),
    ),
    Case(
        alert="StylefleetCostBudget",
        says="115 a day, by two controllers one after another",
        series={
            _series("stylefleet_cost_total"): "500+0.08x700",
            _series("stylefleet_cost_total", SECOND): "_x702 556.16+0.08x800",
        },
        at="24h10m",
    ),
)
