"""The tally: what the receipts of a run add up to. A task counts once, whoever and however often reports it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from stylefleet.receipt import EngineFacts, Receipt

FAILURES_LISTED_MAX = 1000
"""Failures that a report lists one by one; all are in the receipts."""


@dataclass(kw_only=True)
class Tally:
    """Running sums; `add` is the only way to change them."""

    task_ids: set[str] = field(default_factory=set)
    done: int = 0
    failed_by_reason: Counter[str] = field(default_factory=Counter)
    failures: list[Receipt] = field(default_factory=list)
    """The first ones, for the report."""
    stage_seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    engines: set[EngineFacts] = field(default_factory=set)
    tasks_by_shard: Counter[int] = field(default_factory=Counter)

    @property
    def failed(self) -> int:
        return self.failed_by_reason.total()

    @property
    def ended(self) -> int:
        """Tasks with a receipt."""
        return len(self.task_ids)

    @property
    def failures_in_words(self) -> str:
        """`2 truncated, 1 undecodable`; where all failed for one reason, with the first one's message."""
        counted = ", ".join(f"{count} {reason}" for reason, count in self.failed_by_reason.most_common())
        return f"{counted}: {self.failures[0].message}" if len(self.failed_by_reason) == 1 else counted

    def add(self, receipt: Receipt) -> bool:
        """Count a receipt; False where its task was counted before."""
        if receipt.task_id in self.task_ids:
            return False
        self.task_ids.add(receipt.task_id)
        self.tasks_by_shard[receipt.shard] += 1
        for stage, seconds in receipt.stage_seconds.items():
            self.stage_seconds[stage] += seconds
        if receipt.engine is not None:
            self.engines.add(receipt.engine)
        if receipt.outcome == "done":
            self.done += 1
        else:
            self.failed_by_reason[receipt.reason] += 1
            if len(self.failures) < FAILURES_LISTED_MAX:
                self.failures.append(receipt)
        return True
