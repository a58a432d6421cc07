"""`stylefleet doctor`: the checks as a table or as JSON. Data goes to stdout, talk to stderr."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from stylefleet import doctor
from stylefleet.checks import Check, all_well, failed, skipped, to_json
from stylefleet.doctor_cluster import CLUSTER_IDS
from stylefleet.errors import ExitCode, SettingsInvalid
from stylefleet.settings import controller_settings

COLOUR_BY_OUTCOME = {"ok": "green", "failed": "red", "skipped": "dim"}
WIDTH = 120
"""Of the table where nobody's terminal says it: in the log of a pod."""


def run(*, as_json: bool, gpus: int, queue: str | None, tenant: str, wait_seconds: int) -> ExitCode:
    """Examine and print; 0 where no check failed, else 1."""
    signal.signal(signal.SIGTERM, _end)
    checks = _examine(gpus=gpus, queue=queue, tenant=tenant, wait_seconds=wait_seconds)
    if as_json:
        print(to_json(checks))
    else:
        Console(width=None if sys.stdout.isatty() else WIDTH).print(table(checks))
    return ExitCode.OK if all_well(checks) else ExitCode.INTERNAL


def _examine(*, gpus: int, queue: str | None, tenant: str, wait_seconds: int) -> list[Check]:
    try:
        settings = controller_settings()
        if tenant:
            settings = settings.for_tenant(tenant)
    except SettingsInvalid as error:
        unasked = (*doctor.STORE_IDS, *CLUSTER_IDS)
        remedy = "Correct the variable (for the chart: its value); the README lists them all"
        return [failed("settings", error, remedy), *skipped(unasked, "a setting has no usable value")]
    console = Console(stderr=True)
    with console.status("") as line:
        return doctor.examine(
            settings,
            gpus=gpus,
            queue=queue,
            wait_seconds=wait_seconds,
            tell=lambda what: line.update(escape(what)),
        )


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    """By an exception, so that the probe is removed on the way out."""
    raise SystemExit(128 + signal.SIGTERM)


def table(checks: Sequence[Check]) -> Table:
    """The checks for a terminal: what was found, and below it what to do."""
    rows = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("check", "outcome", "found"):
        rows.add_column(title, overflow="fold", no_wrap=title != "found")
    for check in checks:
        colour = COLOUR_BY_OUTCOME[check.outcome]
        found = escape(check.found) + (f"\n[bold]To do:[/] {escape(check.remedy)}" if check.remedy else "")
        rows.add_row(check.id, f"[{colour}]{check.outcome}[/]", found)
    return rows
