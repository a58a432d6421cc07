"""The commands that talk to a bucket and nothing else: validate, submit, wait.

Data goes to stdout, talk to stderr.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from stylefleet import price
from stylefleet.cli import exit_codes
from stylefleet.cli.diagnostics import print_errors
from stylefleet.cli.output import print_table, say, shown
from stylefleet.errors import ExitCode, ManifestInvalid, NotFound
from stylefleet.following import asked_run, follow, is_paused
from stylefleet.naming import Ref
from stylefleet.price import Cost
from stylefleet.status import Phase, Status
from stylefleet.store import Store

if TYPE_CHECKING:
    from stylefleet.manifest import Manifest

COLOUR_BY_PHASE = {
    Phase.PAUSED: "blue",
    Phase.SUCCEEDED: "green",
    Phase.PARTIALLY_SUCCEEDED: "yellow",
    Phase.FAILED: "red",
    Phase.REJECTED: "red",
    Phase.CANCELLED: "magenta",
}


def open_store(endpoint_url: str | None, region: str | None) -> Store:
    """The S3 store of the command's options; credentials, and a region that is not given, as AWS tools find them."""
    # Here, since boto3 takes longer to load than everything else a command needs to see what is wrong with its input.
    from stylefleet.store_s3 import S3Store, make_client

    return S3Store(make_client(endpoint_url, region))


class ManifestFile(NamedTuple):
    """A manifest that is right."""

    path: Path
    name: str
    """What it is called in the inbox, whatever the file is called here: after its metadata.name."""
    data: bytes
    manifest: Manifest


def read_manifest(path: Path, tenant: str = "") -> ManifestFile:
    """Tells every broken rule on stderr, and ends with INVALID. Raises NotFound, and SettingsInvalid for another
    tenant's name than there can be."""
    # Here, since a manifest's models take long to make, and most commands need none of them.
    from stylefleet import submitting

    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    try:
        name, manifest = submitting.checked(data, tenant)
    except ManifestInvalid as error:
        print_errors(path, error)
        raise SystemExit(ExitCode.INVALID) from error
    return ManifestFile(path, name, data, manifest)


def validate(path: Path) -> None:
    """Print `NAME: valid`."""
    print(f"{read_manifest(path).name}: valid")


def submit(store: Store, bucket: str, file: ManifestFile, *, wait_for_end: bool) -> ExitCode:
    """Put the manifest into the inbox (the tenant's folder of it); a cancel marker of an earlier run is taken away."""
    from stylefleet import submitting

    ref = submitting.put(store, bucket, file.name, file.data)
    say_submitted(store, ref, file.name)
    return wait(store, bucket, file.name) if wait_for_end else ExitCode.OK


def say_submitted(store: Store, ref: Ref, name: str) -> None:
    """What was put, and what comes next."""
    paused = is_paused(store, ref.bucket, name)
    more = f"it is paused:  stylefleet resume {name}" if paused else f"watch it:  stylefleet wait {name}"
    Console(stderr=True).print(f"submitted {ref}\n{more}", highlight=False)


def status_table(found: Status, *, now: datetime | None = None) -> Table:
    """The status for a terminal; with `now`, its estimate is counted down from when it was written."""
    table = Table(show_header=False, box=None, pad_edge=False)
    colour = COLOUR_BY_PHASE.get(found.phase, "cyan")
    table.add_row("name", shown(found.name))
    table.add_row("phase", f"[{colour}]{found.phase.value}[/]")
    counts = f"{found.done} done, {found.failed} failed, {found.skipped} already there, {found.pending} to do"
    if found.pictures:
        table.add_row("pictures", f"{found.pictures}: {counts}")
    for label, text in (
        ("message", found.message),
        ("waiting because", found.waiting_because),
        ("results", found.output_prefix),
        ("report", found.report),
    ):
        if text:
            table.add_row(label, shown(text))
    if found.cost is not None:
        table.add_row("cost", shown(_cost_in_words(found.cost)))
    if found.eta_seconds is not None and not found.phase.final:
        since = (now - found.updated_at).total_seconds() if now and found.updated_at else 0.0
        table.add_row("ready in about", duration(max(0.0, found.eta_seconds - since)))
    for error in found.errors if len(found.errors) > 1 else ():
        table.add_row("error", shown(str(error)))
    return table


def _cost_in_words(cost: Cost) -> str:
    estimated = "" if cost.estimated is None else f", estimated {price.in_words(cost.estimated, cost.currency)}"
    return f"{price.in_words(cost.actual, cost.currency)}{estimated}"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`, `4.2 d`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.1f} d"


def ready_in(found: Status, now: datetime) -> str:
    """`ready in about 3 min`, counted down from when the estimate was written; empty where there is none."""
    if found.eta_seconds is None or found.phase.final or found.updated_at is None:
        return ""
    return f"ready in about {duration(max(0.0, found.eta_seconds - (now - found.updated_at).total_seconds()))}"


def wait(store: Store, bucket: str, name: str) -> ExitCode:
    """Follow the newest submission with a progress bar, or with lines where nobody sits; Ctrl-C leaves it running."""
    try:
        following = follow(store, bucket, name, run=asked_run(store, bucket, name))
        told = _with_bar(store, name, following) if sys.stderr.isatty() else _with_lines(store, following)
        last = deque(told, maxlen=1).pop()
    except KeyboardInterrupt:
        say(f"\nthe run goes on; come back with:  stylefleet wait {name}")
        return ExitCode.INTERRUPTED
    print_table(status_table(last))
    return exit_codes.of_ending(last)


def _with_bar(store: Store, name: str, following: Iterator[Status]) -> Iterator[Status]:
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task(shown(name), total=None, note="waiting for the controller")
        for found in following:
            note = found.waiting_because or ready_in(found, store.now()) or found.phase.value
            total = found.pictures or None
            progress.update(bar, total=total, completed=found.pictures - found.pending, note=shown(note))
            yield found


def _with_lines(store: Store, following: Iterator[Status]) -> Iterator[Status]:
    """One when the phase changes, or why it waits, or another tenth of the pictures has ended: a log stays short."""
    before: tuple[object, ...] = ()
    for found in following:
        ended = found.pictures - found.pending
        now = (found.phase, found.waiting_because, 10 * ended // max(1, found.pictures))
        if now != before:
            parts = [found.phase.value, f"{ended:,} of {found.pictures:,} pictures" if found.pictures else ""]
            parts += [found.waiting_because or ready_in(found, store.now())]
            say(f"{found.name}: {', '.join(filter(None, parts))}")
        before = now
        yield found
