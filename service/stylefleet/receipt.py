"""The receipt: the durable word that a task ended. Written after the result, in parts of a few lines each."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args

from stylefleet.errors import RecordUnreadable

Outcome = Literal["done", "failed"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

Stage = Literal["fetch", "decode", "style_target", "optimize", "encode", "store"]
STAGES: tuple[Stage, ...] = get_args(Stage)
"""The timed parts of a task, in order."""


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What computed a result, so that no fallback is ever silent."""

    backbone: str
    weights_sha256: str
    precision: str
    precision_reason: str
    device: str
    gpus: int = 0
    """That a worker uses."""


@dataclass(frozen=True, kw_only=True)
class AttemptStart:
    """What an attempt at a shard met when it set out."""

    style_hits: int
    """Style targets that were in the cache."""
    style_misses: int
    """Style targets that it had to compute."""
    died: int
    """Attempts before it that died since the last one that got so far: killed, out of memory, lost with their node."""
    stopped: int
    """Attempts before it that were told to end since then: evicted, preempted, paused."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """How one task ended."""

    task_id: str
    outcome: Outcome
    reason: str
    """Empty where done; else one short word for reports and metrics, such as `undecodable`."""
    message: str
    """Empty where done; else the sentence for the user."""
    content: str
    """URI of the content picture."""
    result: str
    """URI of the result; empty where failed."""
    result_etag: str
    width_px: int
    """Of the result; 0 where failed."""
    height_px: int
    batch: int
    """Pictures that were optimized at once with this one, itself included; 0 where failed."""
    iterations: int
    """Optimizer steps over all scales."""
    loss: float | None
    """The objective at the end; None where failed."""
    stage_seconds: dict[Stage, float]
    """Seconds of each stage; what a batch shares is divided among its members, so that sums are wall time."""
    attempt: str
    """Which execution of the shard: the pod's name."""
    shard: int
    finished_at: datetime
    engine: EngineFacts | None
    """None where no engine was needed to see the failure."""
    worker_seconds: float = 0.0
    """Wall time of the worker since it last wrote receipts, or since it began, divided among those it writes now: over
    all receipts, what the run has taken of workers' time. 0 in receipts of earlier versions."""
    start: AttemptStart | None = None
    """On the first receipt of an attempt only."""

    @property
    def gpus(self) -> int:
        """Of the worker; 0 also where no engine was needed."""
        return self.engine.gpus if self.engine is not None else 0

    @property
    def gpu_seconds(self) -> float:
        """Worker time times its GPUs: nothing for one that has none."""
        return self.gpus * self.worker_seconds

    @property
    def paid_seconds(self) -> float:
        """The same, where a worker without GPU counts as one: it has a price as well."""
        return max(1, self.gpus) * self.worker_seconds


def to_lines(receipts: Iterable[Receipt]) -> bytes:
    """JSON Lines, one receipt each."""
    lines = []
    for receipt in receipts:
        data = asdict(receipt) | {"finished_at": receipt.finished_at.isoformat()}
        data["stage_seconds"] = {k: round(v, 4) for k, v in receipt.stage_seconds.items()}
        data["worker_seconds"] = round(receipt.worker_seconds, 4)
        lines.append(json.dumps(data, ensure_ascii=False) + "\n")
    return "".join(lines).encode()


_NAMES = {f.name for f in fields(Receipt)}
_ENGINE_NAMES = {f.name for f in fields(EngineFacts)}
_START_NAMES = {f.name for f in fields(AttemptStart)}


def from_lines(data: bytes) -> list[Receipt]:
    """The inverse of `to_lines`; unknown fields of a newer version are left out. Raises RecordUnreadable."""
    # Lines of bytes, not of text: str.splitlines() also breaks at U+2028 and its like, which a key may hold.
    try:
        return [_from_json(json.loads(line)) for line in data.splitlines()]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"a receipt cannot be read: {error!r}") from error


def _from_json(data: dict[str, Any]) -> Receipt:
    known = {k: v for k, v in data.items() if k in _NAMES}
    known["finished_at"] = datetime.fromisoformat(known["finished_at"])
    if known["engine"] is not None:
        known["engine"] = EngineFacts(**{k: v for k, v in known["engine"].items() if k in _ENGINE_NAMES})
    if known.get("start") is not None:
        known["start"] = AttemptStart(**{k: v for k, v in known["start"].items() if k in _START_NAMES})
    return Receipt(**known)


class Done(NamedTuple):
    """Of the receipt of a task that was done, what the next run needs to know; there may be millions."""

    task_id: str
    result_etag: str
    finished_at: float
    """Seconds since 1970."""


def done_to_lines(done: Iterable[Done]) -> bytes:
    """JSON Lines, a fifth as long as the receipts that say the same."""
    return "".join(json.dumps(one) + "\n" for one in done).encode()


def done_of_whole(data: bytes) -> list[Done]:
    """The inverse of `done_to_lines`. Raises RecordUnreadable."""
    try:
        # All lines at once: a quarter of the time.
        return [_checked(*one) for one in json.loads(b"[" + b",".join(data.splitlines()) + b"]")]
    except (AttributeError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"what a shard has done cannot be read: {error!r}") from error


def done_among(receipts: Iterable[Receipt]) -> list[Done]:
    """Of receipts, those that say done."""
    return [Done(r.task_id, r.result_etag, r.finished_at.timestamp()) for r in receipts if r.outcome == "done"]


def done_from_lines(data: bytes) -> list[Done]:
    """Of the receipts in `data` those that say done, in half the time of `from_lines`. Raises RecordUnreadable."""
    try:
        return [_done(each) for each in map(json.loads, data.splitlines()) if each["outcome"] == "done"]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"a receipt cannot be read: {error!r}") from error


def _done(data: dict[str, Any]) -> Done:
    return _checked(data["task_id"], data["result_etag"], datetime.fromisoformat(data["finished_at"]).timestamp())


def _checked(task_id: str, result_etag: str, finished_at: float) -> Done:
    """Raises AttributeError, TypeError or ValueError for what would not fit into planning's notes."""
    bytes.fromhex(task_id)
    if not result_etag.isascii():
        raise ValueError(f"the ETag {result_etag!r} has other characters than ASCII")
    return Done(task_id, result_etag, finished_at + 0.0)
