"""A line of a benchmark's table."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement, beside what it is compared with in the same run."""

    what: str
    measured: str
    compared_with: str
    ratio: str
