"""Many runs at a glance: statuses as they come in, and how fast pictures end. Pure."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from stylefleet.status import Phase, Status

POINTS_MAX = 120
"""Of a run's history."""
PACE_SECONDS = 60.0
"""Over how long the present pace is taken."""
HISTORY_SECONDS = 600.0
CELLS = 24
"""Of a history as it is shown: of the last HISTORY_SECONDS at the most."""
_ORDER = (Phase.RUNNING, Phase.PENDING, Phase.PAUSED)


class Point(NamedTuple):
    """What was known at one time."""

    at: float
    """Unix time."""
    ended: int
    """Pictures."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run."""

    status: Status
    pace: float | None
    """Pictures a second at present, or over all of a run that has ended; None where nothing is known of it."""
    history: tuple[float, ...]
    """Pictures a second in CELLS spans of equal length, the newest last; empty before there is one."""
    eta_seconds: float | None
    """From now; None where there is no estimate, or the run has ended."""

    @property
    def waits(self) -> bool:
        return self.status.phase is Phase.RUNNING and bool(self.status.waiting_because)

    @property
    def note(self) -> str:
        """What a reader should know of it beside its figures."""
        return self.status.waiting_because or self.status.message


@dataclass(frozen=True, kw_only=True)
class Totals:
    """All runs together."""

    running: int
    waiting: int
    paused: int
    pending: int
    """Not planned yet."""
    ended: int
    done: int
    """Pictures, as the next two are, of runs that are not over."""
    failed: int
    left: int
    pace: float
    history: tuple[float, ...]
    eta_seconds: float | None
    """Of the run that ends last."""
    cost_by_currency: dict[str, float]
    """So far, of all that are shown."""


@dataclass(kw_only=True)
class _Trace:
    """What was seen of one run."""

    run: str
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=POINTS_MAX))

    def ended_by(self, at: float) -> float:
        """Pictures that had ended by then, between two points by the time between them."""
        before = self.points[0]
        for point in self.points:
            if point.at >= at:
                span = point.at - before.at
                return before.ended + (point.ended - before.ended) * ((at - before.at) / span if span else 1.0)
            before = point
        return before.ended


class Overview:
    """Remembers of each run what was seen of it; `look` is the only way to change it."""

    def __init__(self) -> None:
        self._traces: dict[str, _Trace] = {}
        self._since: float | None = None

    def look(self, statuses: Iterable[Status], now: datetime) -> list[Row]:
        """The rows of all runs: those at work first, then those that ended, the newest first."""
        found = sorted(statuses, key=_place)
        if self._since is None:
            self._since = now.timestamp()
        self._traces = {s.name: self._traced(s) for s in found}
        return [self._row(status, now.timestamp()) for status in found]

    def _traced(self, status: Status) -> _Trace:
        trace = self._traces.get(status.name)
        if trace is None or trace.run != status.run:
            trace = _Trace(run=status.run)
            if status.started_at is not None:
                trace.points.append(Point(status.started_at.timestamp(), 0))
        written = status.finished_at or status.updated_at
        at = written.timestamp() if written else None
        if at is not None and (not trace.points or at > trace.points[-1].at):
            trace.points.append(Point(at, status.done + status.failed))
        return trace

    def _row(self, status: Status, now: float) -> Row:
        points = self._traces[status.name].points
        left = status.eta_seconds
        if left is not None and status.updated_at is not None:
            left = max(0.0, left - (now - status.updated_at.timestamp()))
        return Row(
            status=status,
            pace=self._pace(status, now) if len(points) > 1 else None,
            history=self._history(status, now) if not status.phase.final else (),
            eta_seconds=None if status.phase.final else left,
        )

    def _pace(self, status: Status, now: float) -> float:
        trace = self._traces[status.name]
        first, last = trace.points[0], trace.points[-1]
        if status.phase.final:
            return last.ended / max(1.0, last.at - first.at)
        # Up to when the last word was written: since then nothing is known, unless that is long ago.
        until = last.at if now - last.at < PACE_SECONDS else now
        since = max(first.at, until - PACE_SECONDS)
        return (last.ended - trace.ended_by(since)) / max(1.0, until - since)

    def _history(self, status: Status, now: float) -> tuple[float, ...]:
        """Of what was seen, not of what was before: that is one straight line."""
        trace = self._traces[status.name]
        assert self._since is not None
        seen = [p for p in trace.points if p.at >= self._since]
        since = max(self._since, now - HISTORY_SECONDS)
        if len(seen) < 2 or now <= since:
            return ()
        cell, last = (now - since) / CELLS, trace.points[-1]
        # A status is written now and then. Until the next one a run is taken to go on, or every line ended in a fall.
        goes_on = self._pace(status, now) if now - last.at < PACE_SECONDS else 0.0
        edges = [
            trace.ended_by(at) + goes_on * max(0.0, at - last.at)
            for at in (since + cell * number for number in range(CELLS + 1))
        ]
        return tuple((b - a) / cell for a, b in itertools.pairwise(edges))


def _place(status: Status) -> tuple[int, float, str]:
    if status.phase.final:
        ended = status.finished_at or status.updated_at
        return len(_ORDER), -(ended.timestamp() if ended else 0.0), status.name
    started = status.started_at.timestamp() if status.started_at else 0.0
    return _ORDER.index(status.phase), started, status.name


def totals_of(rows: Sequence[Row]) -> Totals:
    """What the rows add up to."""
    live = [row for row in rows if not row.status.phase.final]
    histories = [row.history for row in live if row.history]
    cost: dict[str, float] = {}
    for row in rows:
        if row.status.cost is not None:
            cost[row.status.cost.currency] = cost.get(row.status.cost.currency, 0.0) + row.status.cost.actual
    waiting = sum(row.waits for row in live)
    return Totals(
        running=sum(row.status.phase is Phase.RUNNING for row in live) - waiting,
        waiting=waiting,
        paused=sum(row.status.phase is Phase.PAUSED for row in live),
        pending=sum(row.status.phase is Phase.PENDING for row in live),
        ended=len(rows) - len(live),
        done=sum(row.status.done for row in live),
        failed=sum(row.status.failed for row in live),
        left=sum(row.status.pending for row in live),
        pace=sum(row.pace or 0.0 for row in live),
        history=tuple(map(sum, zip(*histories, strict=True))),
        eta_seconds=max((row.eta_seconds for row in live if row.eta_seconds is not None), default=None),
        cost_by_currency=cost,
    )


def to_document(rows: Sequence[Row], *, not_read: int) -> dict[str, Any]:
    """For JSON. `not_read` statuses are left out."""
    totals = totals_of(rows)
    return {
        "totals": {
            "runs": {
                "running": totals.running,
                "waiting": totals.waiting,
                "paused": totals.paused,
                "pending": totals.pending,
                "ended": totals.ended,
            },
            "done": totals.done,
            "failed": totals.failed,
            "pending": totals.left,
            "picturesPerSecond": round(totals.pace, 4),
            "etaSeconds": None if totals.eta_seconds is None else round(totals.eta_seconds),
            "costByCurrency": {currency: round(amount, 4) for currency, amount in totals.cost_by_currency.items()},
        },
        "runs": [_row_document(row) for row in rows],
        "notRead": not_read,
    }


def _row_document(row: Row) -> dict[str, Any]:
    status = row.status
    return {
        "name": status.name,
        "phase": status.phase.value,
        "pictures": status.pictures,
        "skipped": status.skipped,
        "done": status.done,
        "failed": status.failed,
        "pending": status.pending,
        "picturesPerSecond": None if row.pace is None else round(row.pace, 4),
        "etaSeconds": None if row.eta_seconds is None else round(row.eta_seconds),
        "cost": None if status.cost is None else vars(status.cost),
        "waitingBecause": status.waiting_because,
        "message": status.message,
    }
