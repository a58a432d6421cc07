"""What `stylefleet doctor` found: one record a check. Pure; as a table for people and as JSON for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from stylefleet.errors import RecordUnreadable

Outcome = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question and its answer."""

    id: str
    """Stable: scripts and runbooks name it."""
    outcome: Outcome
    found: str
    """What was seen; where the check was skipped, why."""
    remedy: str = ""
    """What to do, where it failed."""


def ok(id: str, found: str) -> Check:
    return Check(id=id, outcome="ok", found=found)


def failed(id: str, found: object, remedy: str) -> Check:
    return Check(id=id, outcome="failed", found=str(found), remedy=remedy)


def skipped(ids: Iterable[str], why: str) -> list[Check]:
    """Checks that were not made, for one reason."""
    return [Check(id=id, outcome="skipped", found=why) for id in ids]


def all_well(checks: Iterable[Check]) -> bool:
    return all(check.outcome != "failed" for check in checks)


def to_json(checks: Sequence[Check]) -> str:
    """One JSON object: `{"ok": true, "checks": [{"id": ..., "outcome": ..., "found": ..., "remedy": ...}]}`."""
    return json.dumps({"ok": all_well(checks), "checks": [asdict(c) for c in checks]}, indent=1, ensure_ascii=False)


def from_json(text: str) -> list[Check]:
    """The inverse of `to_json`; raises RecordUnreadable."""
    try:
        return [Check(**check) for check in json.loads(text)["checks"]]
    except (ValueError, KeyError, TypeError) as error:
        raise RecordUnreadable(f"this is no answer of a doctor: {text[:200]!r}") from error
