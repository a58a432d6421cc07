"""The Markdown page of measurements: one section for each benchmark, which a later run of that benchmark replaces.

Sections of one page are of one machine: if the page was written on another, or with other software, it begins anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from benchmarks.result import COLUMNS, Report

_HEAD = """# Benchmarks

Written by `python -m benchmarks --write docs/benchmarks.md`; ratios are between numbers of the same run. What other
machines could do is arithmetic, and is in [roofline.md](roofline.md). Of a CPU without matrix
units, and of an earlier engine: [benchmarks-avx512.md](benchmarks-avx512.md).
"""


def with_section(
    before: str, machine: Sequence[str], name: str, reports: Sequence[Report], *, order: Sequence[str]
) -> str:
    """The page with the section `name` put in or replaced; sections stand in the given order."""
    head = "\n".join([_HEAD, *(f"* {line}" for line in machine), ""])
    sections = _sections(before) if before.startswith(head) else {}
    sections[name] = "\n".join(_markdown(report) for report in reports)
    return "\n".join([head, *(f"<!-- {n} -->\n\n{sections[n]}" for n in order if n in sections)])


def _sections(page: str) -> dict[str, str]:
    """Name -> text, of a page of ours."""
    parts = re.split(r"^<!-- (\w+) -->\n\n", page, flags=re.MULTILINE)[1:]
    return {name: text.rstrip("\n") + "\n" for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _markdown(report: Report) -> str:
    """A report as a table below its title, with the notes below it."""
    lines = [f"## {report.title}", "", _line(COLUMNS), "|---" * len(COLUMNS) + "|"]
    lines += [_line(row.cells) for row in report.rows]
    if report.notes:
        lines += ["", *(f"* {note}" for note in report.notes)]
    return "\n".join([*lines, ""])


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
