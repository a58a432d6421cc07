"""`progress.json`: what the complete shards of a run add up to, so that a new controller need not read their receipts.

Only a shortcut: it holds nothing that the receipts do not say, every controller would write the same, and without it
all receipts are read. Records only; the controller reads and writes it.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from stylefleet.errors import RecordUnreadable
from stylefleet.indexes import format_indexes, parse_indexes
from stylefleet.receipt import EngineFacts
from stylefleet.tally import Sums, Tally


def to_json(tally: Tally) -> bytes:
    """The complete shards of a tally."""
    sums = tally.complete_sums
    document = {
        "completeShards": format_indexes(tally.complete),
        "shardsWithFailures": format_indexes(tally.shards_with_failures & tally.complete),
        "firstFailure": tally.first_failure,
        "done": sums.done,
        "failedByReason": dict(sums.failed_by_reason),
        "stageSeconds": dict(sums.stage_seconds),
        "engines": [vars(e) for e in sorted(sums.engines, key=str)],
        "workerSeconds": round(sums.worker_seconds, 4),
        "gpuSeconds": round(sums.gpu_seconds, 4),
        "paidSeconds": round(sums.paid_seconds, 4),
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def tally_from(data: bytes, shard_tasks: Sequence[int]) -> Tally:
    """A tally of that many tasks by shard, in which the complete shards are counted. Raises RecordUnreadable."""
    try:
        return _restored(json.loads(data), Tally(shard_tasks))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"the progress cannot be read: {error!r}") from error


def _restored(d: dict[str, Any], tally: Tally) -> Tally:
    sums = Sums(
        done=int(d["done"]),
        failed_by_reason=Counter(d["failedByReason"]),
        stage_seconds=defaultdict(float, d["stageSeconds"]),
        engines={EngineFacts(**e) for e in d["engines"]},
        # Progress of earlier versions lacks these, as their receipts do.
        worker_seconds=float(d.get("workerSeconds", 0.0)),
        gpu_seconds=float(d.get("gpuSeconds", 0.0)),
        paid_seconds=float(d.get("paidSeconds", 0.0)),
    )
    tally.restore(
        set(parse_indexes(d["completeShards"])), sums, set(parse_indexes(d["shardsWithFailures"])), d["firstFailure"]
    )
    return tally
