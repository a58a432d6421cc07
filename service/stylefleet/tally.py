"""The tally: what the receipts of a run add up to. A task counts once, whoever and however often reports it.

Memory grows with the shards under way, not with the run: of a shard whose tasks all have a receipt only the sums stay.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from stylefleet.errors import RecordUnreadable
from stylefleet.receipt import EngineFacts, Receipt


@dataclass(kw_only=True)
class Sums:
    """Running sums over receipts."""

    done: int = 0
    failed_by_reason: Counter[str] = field(default_factory=Counter)
    stage_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    engines: set[EngineFacts] = field(default_factory=set)
    worker_seconds: float = 0.0
    """Time of workers; of a picture that was done twice, the first receipt's."""
    gpu_seconds: float = 0.0
    """The same, times the GPUs of the worker: nothing for one that has none."""
    paid_seconds: float = 0.0
    """The same, where a worker without GPU counts as one."""

    def add(self, receipt: Receipt) -> None:
        for stage, seconds in receipt.stage_seconds.items():
            self.stage_seconds[stage] += seconds
        if receipt.engine is not None:
            self.engines.add(receipt.engine)
        self.worker_seconds += receipt.worker_seconds
        self.gpu_seconds += receipt.gpu_seconds
        self.paid_seconds += receipt.paid_seconds
        if receipt.outcome == "done":
            self.done += 1
        else:
            self.failed_by_reason[receipt.reason] += 1

    def merge(self, other: Sums) -> None:
        self.done += other.done
        self.failed_by_reason.update(other.failed_by_reason)
        for stage, seconds in other.stage_seconds.items():
            self.stage_seconds[stage] += seconds
        self.engines |= other.engines
        self.worker_seconds += other.worker_seconds
        self.gpu_seconds += other.gpu_seconds
        self.paid_seconds += other.paid_seconds


@dataclass(kw_only=True)
class _OpenShard:
    """A shard some of whose tasks have a receipt."""

    tasks: set[bytes] = field(default_factory=set)
    """Task ids that were counted."""
    sums: Sums = field(default_factory=Sums)


class Tally:
    """Receipts of one run; `add` is the only way to change it."""

    def __init__(self, shard_tasks: Sequence[int]) -> None:
        """`shard_tasks` are the numbers of tasks by shard."""
        self._shard_tasks = array("I", shard_tasks)
        self._open: dict[int, _OpenShard] = {}
        self.complete: set[int] = set()
        """Shards whose every task was counted."""
        self.complete_sums = Sums()
        """Over these shards."""
        self.shards_with_failures: set[int] = set()
        self.first_failure = ""
        """The message of the first one that was counted."""
        self.ended = 0
        """Tasks with a receipt."""
        self._first_incomplete = 0

    @property
    def sums(self) -> Sums:
        """Over all receipts."""
        total = Sums()
        for part in (self.complete_sums, *(shard.sums for shard in self._open.values())):
            total.merge(part)
        return total

    @property
    def done(self) -> int:
        return self.complete_sums.done + sum(shard.sums.done for shard in self._open.values())

    @property
    def failed(self) -> int:
        return self.ended - self.done

    @property
    def first_incomplete(self) -> int:
        """The lowest shard that has tasks without a receipt; the number of shards where none has."""
        while self._first_incomplete < len(self._shard_tasks) and self._first_incomplete in self.complete:
            self._first_incomplete += 1
        return self._first_incomplete

    @property
    def failures_in_words(self) -> str:
        """`2 truncated, 1 undecodable`; where all failed for one reason, with the first one's message."""
        by_reason = self.sums.failed_by_reason
        counted = ", ".join(f"{count} {reason}" for reason, count in by_reason.most_common())
        return f"{counted}: {self.first_failure}" if len(by_reason) == 1 else counted

    def restore(self, complete: set[int], sums: Sums, shards_with_failures: set[int], first_failure: str) -> None:
        """Go on from complete shards that an earlier controller counted. Raises RecordUnreadable where this run has no
        such shards."""
        if any(not 0 <= shard < len(self._shard_tasks) for shard in complete):
            raise RecordUnreadable(f"the progress names shards of a run with more than {len(self._shard_tasks)} shards")
        self.complete, self.complete_sums = complete, sums
        self.shards_with_failures, self.first_failure = shards_with_failures, first_failure
        self.ended = sum(self._shard_tasks[shard] for shard in complete)

    def missing(self) -> Iterator[tuple[int, int]]:
        """Shards that have tasks without a receipt, and how many."""
        for shard, tasks in enumerate(self._shard_tasks):
            if shard not in self.complete:
                counted = self._open.get(shard)
                yield shard, tasks - (len(counted.tasks) if counted else 0)

    def add(self, receipt: Receipt) -> bool:
        """Count a receipt; False where its task was counted before. Raises RecordUnreadable for one of no shard."""
        index = receipt.shard
        if not 0 <= index < len(self._shard_tasks):
            raise RecordUnreadable(f"a receipt names shard {index} of a run with {len(self._shard_tasks)} shards")
        if index in self.complete:
            return False
        shard = self._open.setdefault(index, _OpenShard())
        task = bytes.fromhex(receipt.task_id)
        if task in shard.tasks:
            return False
        shard.tasks.add(task)
        shard.sums.add(receipt)
        self.ended += 1
        if receipt.outcome == "failed":
            self.shards_with_failures.add(index)
            self.first_failure = self.first_failure or receipt.message
        if len(shard.tasks) >= self._shard_tasks[index]:
            self.complete.add(index)
            self.complete_sums.merge(self._open.pop(index).sums)
        return True
