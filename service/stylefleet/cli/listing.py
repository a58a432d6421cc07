"""`stylefleet list`: the runs of a bucket, by their statuses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from rich.table import Table

from stylefleet import naming, price
from stylefleet import status as statuses
from stylefleet.cli.bucket import COLOUR_BY_PHASE, duration
from stylefleet.cli.options import Output
from stylefleet.cli.output import plain_table, print_document, print_table, say, shown
from stylefleet.errors import SettingsInvalid, printable
from stylefleet.overview import Overview, Row
from stylefleet.status_reading import STATUSES_MAX, StatusReader
from stylefleet.store import Store

_COLUMNS = ("NAME", "PHASE", "DONE", "FAILED", "LEFT", "AGE", "COST")
_MORE_COLUMNS = ("PICTURES", "SKIPPED", "READY IN", "RUN", "RESULTS", "NOTE")
_FLUSH_RIGHT = ("DONE", "FAILED", "LEFT", "AGE", "COST", "PICTURES", "SKIPPED", "READY IN")


def run(store: Store, bucket: str, *, tenant: str, output: Output) -> None:
    """Print them: those at work first, then those that ended, the newest first."""
    if tenant and not naming.NAME_PATTERN.fullmatch(tenant):
        raise SettingsInvalid(f"--tenant: found {tenant!r}, allowed are {naming.NAME_RULE}")
    found = StatusReader(store, bucket, tenant=tenant).read()
    now = store.now()
    rows = Overview().look(found.found, now)
    if output == Output.NAME:
        for row in rows:
            print(printable(row.status.name))
    elif output in (Output.JSON, Output.YAML):
        document = {"runs": [json.loads(statuses.to_json(row.status)) for row in rows], "notRead": found.not_read}
        print_document(document, output)
    elif rows:
        wide = output == Output.WIDE
        print_table(_table(rows, now, wide=wide), whole=wide)
    else:
        say(f"no run has a status in s3://{bucket}/{naming.STATUS_PREFIX}{tenant}")
    if found.not_read:
        say(f"{found.not_read:,} left out: older than the newest {STATUSES_MAX:,}, or not to be read")


def _table(rows: Sequence[Row], now: datetime, *, wide: bool) -> Table:
    table = plain_table(*_COLUMNS, *(_MORE_COLUMNS if wide else ()), right=_FLUSH_RIGHT)
    for row in rows:
        status = row.status
        phase = "Waiting" if row.waits else status.phase.value
        colour = "yellow" if row.waits else COLOUR_BY_PHASE.get(status.phase, "cyan")
        left = "" if status.phase.final else f"{status.pending:,}"
        cost = price.in_words(status.cost.actual, status.cost.currency) if status.cost else ""
        cells = [shown(status.name), f"[{colour}]{phase}[/]", f"{status.done:,}", _failed(status.failed), left]
        cells += [_age(row, now), shown(cost)]
        if wide:
            ready_in = "" if row.eta_seconds is None else duration(row.eta_seconds)
            cells += [f"{status.pictures:,}", f"{status.skipped:,}", ready_in, shown(status.run)]
            cells += [shown(status.output_prefix), shown(row.note)]
        table.add_row(*cells)
    return table


def _failed(count: int) -> str:
    return f"[red]{count:,}[/]" if count else "0"


def _age(row: Row, now: datetime) -> str:
    """Since the submission, or what is known of the time after it."""
    status = row.status
    began = status.submission.put_at if status.submission else status.started_at or status.updated_at
    return "" if began is None else duration(max(0.0, (now - began).total_seconds()))
