"""`stylefleet status`: how a run stands, once or until it has ended."""

from __future__ import annotations

import json
import sys
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.table import Table

from stylefleet import following
from stylefleet import status as statuses
from stylefleet.cli import bucket as buckets
from stylefleet.cli import exit_codes
from stylefleet.cli.options import Output
from stylefleet.cli.output import print_document, print_table, say
from stylefleet.errors import ExitCode, printable
from stylefleet.status import Status
from stylefleet.store import Store


def status(store: Store, bucket: str, name: str, *, output: Output, watch: bool) -> ExitCode:
    """Print the status; with `watch` again whenever it has changed, until the run has ended. Raises NotFound."""
    if not watch:
        _print(following.read_status(store, bucket, name), output)
        return ExitCode.OK
    try:
        return _watch(store, bucket, name, output)
    except KeyboardInterrupt:
        say(f"the run goes on; come back with:  stylefleet status {name} --watch")
        return ExitCode.INTERRUPTED


def _watch(store: Store, bucket: str, name: str, output: Output) -> ExitCode:
    run = following.asked_run(store, bucket, name)
    found: Status | None = None
    statuses_of_run = following.follow(store, bucket, name, run=run)
    if output in (Output.TABLE, Output.WIDE) and sys.stdout.isatty():
        with Live(console=Console(highlight=False), auto_refresh=False) as live:
            for found in statuses_of_run:
                live.update(_table(found, output, now=store.now()), refresh=True)
    else:
        for status in statuses_of_run:
            if not status.same_as(found):
                if found is not None and output != Output.NAME:
                    print("---" if output == Output.YAML else "")
                _print(status, output)
            found = status
    assert found is not None
    return exit_codes.of_ending(found)


def _print(found: Status, output: Output) -> None:
    if output == Output.NAME:
        print(printable(found.name))
    elif output in (Output.JSON, Output.YAML):
        print_document(json.loads(statuses.to_json(found)), output)
    else:
        print_table(_table(found, output))


def _table(found: Status, output: Output, *, now: datetime | None = None) -> Table:
    table = buckets.status_table(found, now=now)
    if output == Output.WIDE:
        table.add_row("run", printable(found.run))
        put = found.submission.put_at if found.submission else None
        for label, time in (
            ("submitted", put),
            ("started", found.started_at),
            ("finished", found.finished_at),
            ("written", found.updated_at),
        ):
            if time is not None:
                table.add_row(label, time.isoformat(sep=" ", timespec="seconds"))
        if found.reason:
            table.add_row("reason", printable(found.reason))
    return table
