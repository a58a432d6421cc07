"""What a benchmark found, and how it is shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

COLUMNS = ("what", "measured", "compared with", "ratio")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement, beside what it is compared with in the same run."""

    what: str
    measured: str
    compared_with: str
    ratio: str

    @property
    def cells(self) -> tuple[str, ...]:
        return self.what, self.measured, self.compared_with, self.ratio


@dataclass(frozen=True, kw_only=True)
class Report:
    """One table of a benchmark."""

    title: str
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    """What a reader has to know to read the numbers right; a sentence or two each."""


def terminal_table(report: Report) -> Table:
    """For a terminal; the notes stand below."""
    caption = "\n".join(f"* {note}" for note in report.notes)
    table = Table(title=report.title, title_justify="left", caption=caption or None, caption_justify="left")
    for column in COLUMNS:
        table.add_column(column)
    for row in report.rows:
        table.add_row(*row.cells)
    return table


def times(theirs: float, ours: float, less: str = "faster", more: str = "slower") -> str:
    """How much less time ours takes than theirs, or how much more."""
    return f"{theirs / ours:.1f} x {less}" if ours <= theirs else f"{ours / theirs:.1f} x {more}"
