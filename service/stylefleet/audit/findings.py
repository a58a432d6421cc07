"""What an audit found: every fault and every note is counted, the first of each check are kept by name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, get_args

Check = Literal["shards", "receipts", "results", "output", "checkpoints", "report", "status"]
CHECKS: dict[Check, str] = {
    "shards": "every shard of the plan is there, is what its name says, and no picture is in two",
    "receipts": "every picture has one receipt, or attempts that agree",
    "results": "every result is there, with the ETag of its receipt",
    "output": "nothing else below the output prefix carries our metadata",
    "checkpoints": "no picture that ended has a checkpoint left",
    "report": "the report is there, and says what the receipts add up to",
    "status": "the status says what the report says",
}
assert tuple(CHECKS) == get_args(Check)
SHOWN_MAX = 100
"""Faults, and notes, of one check that are kept by name."""


@dataclass(frozen=True, kw_only=True)
class Remark:
    """One fault or note."""

    check: Check
    about: str
    """The object or the picture."""
    message: str


@dataclass(kw_only=True)
class Remarks:
    """Remarks of one kind, of all checks."""

    counts: Counter[Check] = field(default_factory=Counter)
    shown: list[Remark] = field(default_factory=list)

    def add(self, check: Check, about: object, message: str, *, count: int = 1) -> None:
        """Count it, and keep it by name where few are kept so far."""
        if count == 0:
            return
        self.counts[check] += count
        if sum(1 for r in self.shown if r.check == check) < SHOWN_MAX:
            self.shown.append(Remark(check=check, about=str(about), message=message))


@dataclass(kw_only=True)
class Audit:
    """Of one run."""

    name: str
    run: str
    phase: str = ""
    """As its report says; empty without one."""
    looked_at: Counter[Check] = field(default_factory=Counter)
    """Things that each check looked at."""
    faults: Remarks = field(default_factory=Remarks)
    """What must not be."""
    notes: Remarks = field(default_factory=Remarks)
    """What is worth knowing and no fault."""

    @property
    def good(self) -> bool:
        return not self.faults.counts
