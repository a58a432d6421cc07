"""What the report page tells of a run's pictures, gathered receipt by receipt: of bounded size, however many. Pure."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from stylefleet.receipt import Receipt

BINS_MAX = 120
PICTURES_A_BIN = 3
"""So many pictures should end in a bin: fewer, and a chart shows batches and no rate."""
SLOWEST_SHOWN = 20
SHOWN_CANDIDATES = 24
"""Results that are offered as thumbnails; some may be gone."""
_BIN_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)


class Slow(NamedTuple):
    """A picture, by what it took."""

    seconds: float
    """Over all stages."""
    task_id: str
    receipt: Receipt


@dataclass(kw_only=True)
class Bin:
    """A span of the run."""

    done: int = 0
    failed: int = 0


class RunDigest:
    """`add` is the only way to change it; who calls it sees to it that each picture comes once."""

    def __init__(self, *, started_at: datetime, finished_at: datetime, pictures: int) -> None:
        """`pictures` that ended are expected, about."""
        self._started = started_at.timestamp()
        self.span_seconds = max(1.0, finished_at.timestamp() - self._started)
        self.bin_seconds = bin_seconds(self.span_seconds, pictures)
        self.bins = [Bin() for _ in range(math.ceil(self.span_seconds / self.bin_seconds))]
        self.counted = 0
        self._slowest: list[Slow] = []
        self._candidates: list[tuple[int, str, Receipt]] = []

    @property
    def slowest(self) -> list[Slow]:
        """The pictures that took longest, the longest first."""
        return sorted(self._slowest, reverse=True)

    @property
    def candidates(self) -> list[Receipt]:
        """Some of the pictures that are done, chosen evenly by their tasks' ids, which are hashes."""
        return [one for _, _, one in sorted(self._candidates, reverse=True)]

    def add(self, receipt: Receipt) -> None:
        self.counted += 1
        # A worker's clock may be wrong by any time.
        at = (receipt.finished_at.timestamp() - self._started) / self.bin_seconds
        here = self.bins[min(len(self.bins) - 1, max(0, int(at)))]
        if receipt.outcome != "done":
            here.failed += 1
            return
        here.done += 1
        slow = Slow(sum(receipt.stage_seconds.values()), receipt.task_id, receipt)
        _keep(self._slowest, slow, SLOWEST_SHOWN)
        # The lowest ids: the heap gives away its least.
        _keep(self._candidates, (-int(receipt.task_id[:16], 16), receipt.task_id, receipt), SHOWN_CANDIDATES)


def _keep(heap: list[Any], item: Any, size: int) -> None:
    """Keep the `size` greatest."""
    if len(heap) < size:
        heapq.heappush(heap, item)
    elif item > heap[0]:
        heapq.heapreplace(heap, item)


def bin_seconds(span_seconds: float, pictures: int) -> int:
    """How long a bin of a chart is: a round time, so that there are BINS_MAX at the most, and pictures in most."""
    bins = min(BINS_MAX, max(1, pictures // PICTURES_A_BIN))
    least = span_seconds / bins
    return next((s for s in _BIN_SECONDS if s >= least), 86400 * math.ceil(least / 86400))
