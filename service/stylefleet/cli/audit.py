"""`stylefleet audit`: the checks as a table, then what was found; or all of it as JSON."""

from __future__ import annotations

import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stylefleet.audit import CHECKS, Audit, audit
from stylefleet.audit.findings import Remarks
from stylefleet.errors import ExitCode, SettingsInvalid, printable, printable_lines
from stylefleet.store import Store


def run(store: Store, bucket: str, name: str, *, run: str | None, output: str) -> ExitCode:
    """Audit and print; PARTLY_FAILED where there are faults."""
    if output not in ("table", "json"):
        raise SettingsInvalid(f"-o: found {output!r}, allowed are table and json")
    found = audit(store, bucket, name, run=run)
    if output == "json":
        print(printable_json(found))
    else:
        _print(found)
    return ExitCode.OK if found.good else ExitCode.PARTLY_FAILED


def printable_json(found: Audit) -> str:
    """One document, which does nothing to a terminal."""
    document = {
        "name": found.name,
        "run": found.run,
        "phase": found.phase,
        "good": found.good,
        "checks": [
            {
                "id": check,
                "lookedAt": found.looked_at[check],
                "faults": found.faults.counts[check],
                "notes": found.notes.counts[check],
            }
            for check in CHECKS
        ],
        "faults": [vars(r) for r in found.faults.shown],
        "notes": [vars(r) for r in found.notes.shown],
    }
    return printable_lines(json.dumps(document, indent=2, ensure_ascii=False))


def _print(found: Audit) -> None:
    console = Console(soft_wrap=True)
    console.print(f"{found.name}, run {found.run}, {found.phase or 'without report'}", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for column in ("check", "outcome", "looked at", "what must be"):
        table.add_column(column, justify="right" if column == "looked at" else "left")
    for check, meaning in CHECKS.items():
        faults, notes = found.faults.counts[check], found.notes.counts[check]
        outcome = f"[red]{_count(faults, 'fault')}[/]" if faults else "[green]ok[/]"
        outcome += f", {_count(notes, 'note')}" if notes else ""
        table.add_row(check, outcome, f"{found.looked_at[check]:,}", meaning)
    console.print(table)
    _print_remarks(console, "fault", found.faults)
    _print_remarks(console, "note", found.notes)


def _print_remarks(console: Console, kind: str, remarks: Remarks) -> None:
    for one in remarks.shown:
        console.print(f"{kind}: {one.check}: {_shown(one.about)}: {_shown(one.message)}", highlight=False)
    left = remarks.counts.total() - len(remarks.shown)
    if left > 0:
        console.print(f"and {_count(left, kind)} more", highlight=False)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _shown(text: str) -> str:
    return escape(printable(text))
