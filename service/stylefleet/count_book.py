"""`metrics/totals.json`: what the counters stand at, and which receipts are in them. So each counts exactly once.

seen receipts --> totals and marks, in memory --> one conditional put --> only now shown to Prometheus

The put is the moment at which receipts are counted: who dies before it has counted nothing, and whoever comes after it
finds the marks. Of two controllers the slower one loses its put, forgets, and looks again.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from stylefleet import naming, totals
from stylefleet.errors import AccessDenied, NotFound, PreconditionFailed, RecordUnreadable
from stylefleet.indexes import format_indexes, parse_indexes
from stylefleet.naming import Ref
from stylefleet.price import Price
from stylefleet.receipt import Receipt
from stylefleet.status import Status
from stylefleet.store import Store
from stylefleet.totals import Totals, totals_from

log = structlog.get_logger(__name__)


@dataclass(kw_only=True)
class _OpenShard:
    """A shard some of whose receipts are counted."""

    seconds: float = 0.0
    """Of workers, so far."""
    parts: dict[str, set[int]] = field(default_factory=dict)
    """Numbers of its parts of receipts, by attempt."""


@dataclass(kw_only=True)
class _Marks:
    """What of a live run is in the totals."""

    name: str
    complete: set[int] = field(default_factory=set)
    """Shards whose every picture is."""
    open: dict[int, _OpenShard] = field(default_factory=dict)


class CountBook:
    """Of one controller; safe to use from several threads."""

    def __init__(
        self, store: Store, bucket: str, *, show: Callable[[Totals], None], price: Price | None = None
    ) -> None:
        """`show` is given every state of the totals that is durable."""
        self._store = store
        self._ref = Ref(bucket, naming.TOTALS_KEY)
        self._show = show
        self._price_per_gpu_hour = None if price is None else price.per_gpu_hour
        self._totals, self._runs = Totals(), dict[str, _Marks]()
        self._etag: str | None = None
        self._changed = False
        self.outdated = True
        """Whether it is to be loaded before anything is counted, and every receipt to be shown to it again: it never
        was, or another controller wrote it."""
        self._lock = threading.RLock()

    def load(self) -> None:
        """Take up what is in the bucket. To be followed by `settle`, with statuses that were read after this: a run
        that ended has no marks any more, and must not be taken for one that goes on."""
        with self._lock:
            self._totals, self._runs, self._etag = Totals(), {}, None
            try:
                found = self._store.get(self._ref)
                self._etag = found.etag
                self._totals, self._runs = _read(found.data)
            except NotFound:
                pass  # nothing was counted yet
            except RecordUnreadable as error:
                # Counters that begin anew are a case that Prometheus knows; nobody's work depends on them.
                log.warning("totals_unreadable", error=str(error))
            self._changed, self.outdated = False, False
            self._show(copy.deepcopy(self._totals))

    def settle(self, status_of: Callable[[str], Status | None]) -> None:
        """Count runs whose last word, by name, is newer than what was loaded."""
        with self._lock:
            for run, marks in list(self._runs.items()):
                status = status_of(marks.name)
                if status is not None and status.run == run and status.phase.final:
                    self.ended(status)

    def begun(self, name: str, run: str) -> None:
        """A run is taken up."""
        with self._lock:
            if run not in self._runs:
                self._runs[run] = _Marks(name=name)
                self._changed = True

    def is_counted(self, run: str, shard: int, key: str) -> bool:
        """Whether the receipts of this key are in the totals."""
        attempt, part = naming.attempt_part(key)
        with self._lock:
            marks = self._runs.get(run)
            if marks is None:
                return False
            return shard in marks.complete or (shard in marks.open and part in marks.open[shard].parts.get(attempt, ()))

    def saw(
        self, name: str, run: str, shard: int, key: str, fresh: Sequence[Receipt], *, complete: bool, now: datetime
    ) -> None:
        """An object of receipts was read. `fresh` are those of tasks that no earlier object told of; `complete` where
        every task of the shard has a receipt now."""
        attempt, part = naming.attempt_part(key)
        with self._lock:
            if self.is_counted(run, shard, key):
                return
            self.begun(name, run)
            marks = self._runs[run]
            self._totals.add(fresh, price_per_gpu_hour=self._price_per_gpu_hour, now=now)
            seen = marks.open.setdefault(shard, _OpenShard())
            seen.parts.setdefault(attempt, set()).add(part)
            seen.seconds += sum(r.worker_seconds for r in fresh)
            if complete:
                self._totals.shards.observe(marks.open.pop(shard).seconds)
                marks.complete.add(shard)
            self._changed = True

    def ended(self, status: Status) -> None:
        """A run has its last word, which is durable."""
        with self._lock:
            if self._runs.pop(status.run, None) is None:
                return
            if status.started_at is not None and status.finished_at is not None:
                # Not below nothing: a clock may have been set back.
                seconds = max(0.0, (status.finished_at - status.started_at).total_seconds())
                self._totals.runs[status.phase.value].observe(seconds)
            self._changed = True

    def others(self, name: str, run: str) -> list[str]:
        """Runs of that name without a last word, but this one."""
        with self._lock:
            return [other for other, marks in self._runs.items() if marks.name == name and other != run]

    def superseded(self, run: str) -> None:
        """Of this run, which will have no last word, every receipt was seen."""
        with self._lock:
            self._changed |= self._runs.pop(run, None) is not None

    def commit(self) -> None:
        """Make durable what was counted, and show it. Raises TransientError, and PreconditionFailed where another
        controller has written; then this one is `outdated`."""
        with self._lock:
            if self.outdated:
                raise PreconditionFailed("another controller counts")
            if not self._changed:
                return
            runs = {run: _document(marks) for run, marks in self._runs.items()}
            try:
                self._etag = self._store.put(
                    self._ref,
                    totals.to_json(self._totals, runs),
                    if_match=self._etag,
                    if_absent=self._etag is None,
                    content_type="application/json",
                )
            except PreconditionFailed:
                self.outdated = True
                raise
            except AccessDenied as error:
                # A policy of an earlier version: work goes on, and the counters last as long as this process.
                log.warning("totals_not_kept", key=self._ref.key, error=str(error))
            self._changed = False
            self._show(copy.deepcopy(self._totals))


def _document(marks: _Marks) -> dict[str, Any]:
    return {
        "name": marks.name,
        "complete": format_indexes(marks.complete),
        "open": {
            str(shard): {
                "seconds": seen.seconds,
                "parts": {attempt: format_indexes(parts) for attempt, parts in seen.parts.items()},
            }
            for shard, seen in marks.open.items()
        },
    }


def _read(data: bytes) -> tuple[Totals, dict[str, _Marks]]:
    try:
        d = json.loads(data)
        return totals_from(d["totals"]), {run: _marks(marks) for run, marks in d["runs"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"the totals cannot be read: {error!r}") from error


def _marks(d: dict[str, Any]) -> _Marks:
    return _Marks(
        name=d["name"],
        complete=set(parse_indexes(d["complete"])),
        open={
            int(shard): _OpenShard(
                seconds=float(seen["seconds"]),
                parts={attempt: set(parse_indexes(parts)) for attempt, parts in seen["parts"].items()},
            )
            for shard, seen in d["open"].items()
        },
    )
