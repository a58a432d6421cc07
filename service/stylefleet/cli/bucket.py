"""The commands that talk to a bucket and nothing else: validate, submit, wait.

Data goes to stdout, talk to stderr.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from stylefleet import price, submitting
from stylefleet.cli import exit_codes
from stylefleet.cli.diagnostics import print_errors
from stylefleet.cli.output import print_table, shown
from stylefleet.errors import ExitCode, ManifestInvalid, NotFound
from stylefleet.following import follow, is_paused, read_status, submitted_run
from stylefleet.manifest import Manifest
from stylefleet.naming import Ref
from stylefleet.price import Cost
from stylefleet.status import Phase, Status
from stylefleet.store import Store

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


def read_manifest(path: Path, tenant: str = "") -> tuple[str, bytes, Manifest]:
    """What the manifest is called in the inbox, its bytes, and what they say; raises what `submitting.checked` does."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    name, manifest = submitting.checked(data, tenant)
    return name, data, manifest


def validate(path: Path) -> None:
    """Print `NAME: valid`, or raise ManifestInvalid."""
    try:
        name, _, _ = read_manifest(path)
    except ManifestInvalid as error:
        print_errors(path, error)
        raise SystemExit(ExitCode.INVALID) from error
    Console().print(f"{name}: valid", highlight=False)


def submit(store: Store, bucket: str, path: Path, *, tenant: str, wait_for_end: bool) -> ExitCode:
    """Put the manifest into the inbox (the tenant's folder of it); a cancel marker of an earlier run is taken away."""
    try:
        name, data, _ = read_manifest(path, tenant)
    except ManifestInvalid as error:
        print_errors(path, error)
        return ExitCode.INVALID
    ref = submitting.put(store, bucket, name, data)
    say_submitted(store, ref, name)
    return wait(store, bucket, name) if wait_for_end else ExitCode.OK


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
    """Follow the newest submission with a progress bar; Ctrl-C leaves it running."""
    console = Console(stderr=True)
    last: Status | None = None
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    try:
        run = submitted_run(store, bucket, name)
        if run is None:
            read_status(store, bucket, name)  # a run whose manifest was deleted has a status; or nobody knows the name
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(shown(name), total=None, note="waiting for the controller")
            for last in follow(store, bucket, name, run=run):
                note = last.waiting_because or ready_in(last, store.now()) or last.phase.value
                total = last.pictures or None
                progress.update(bar, total=total, completed=last.pictures - last.pending, note=shown(note))
    except KeyboardInterrupt:
        console.print(f"\nstill running; come back with:  stylefleet wait {name}", highlight=False, markup=False)
        return ExitCode.INTERRUPTED
    assert last is not None
    print_table(status_table(last))
    return exit_codes.of_ending(last)
