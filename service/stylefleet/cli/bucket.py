"""The commands that talk to a bucket and nothing else: validate, submit, status, wait, cancel.

Data goes to stdout, talk to stderr.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from stylefleet import manifest as manifests
from stylefleet import naming, yaml_positions
from stylefleet import status as statuses
from stylefleet.errors import ExitCode, ManifestInvalid, NotFound, SettingsInvalid
from stylefleet.naming import Ref
from stylefleet.status import Phase, Status
from stylefleet.store import Store
from stylefleet.store_s3 import S3Store, make_client

POLL_SECONDS = 1.0
EXIT_CODE_BY_PHASE = {
    Phase.SUCCEEDED: ExitCode.OK,
    Phase.PARTIALLY_SUCCEEDED: ExitCode.PARTLY_FAILED,
    Phase.FAILED: ExitCode.PARTLY_FAILED,
    Phase.REJECTED: ExitCode.INVALID,
    Phase.CANCELLED: ExitCode.CANCELLED,
}
COLOUR_BY_PHASE = {
    Phase.SUCCEEDED: "green",
    Phase.PARTIALLY_SUCCEEDED: "yellow",
    Phase.FAILED: "red",
    Phase.REJECTED: "red",
    Phase.CANCELLED: "magenta",
}


def open_store(endpoint_url: str | None) -> S3Store:
    """The S3 store of the command's options; credentials and region as AWS tools find them."""
    return S3Store(make_client(endpoint_url, None))


def _read(path: Path) -> tuple[str, bytes]:
    """The manifest's own name and its bytes; raises ManifestInvalid with every broken rule."""
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    document = yaml_positions.parse(data).data
    metadata = document.get("metadata") if isinstance(document, dict) else None
    name = metadata.get("name") if isinstance(metadata, dict) else None
    # Whatever the file is called here: in the inbox it is called after its metadata.name.
    manifests.parse(data, name=str(name))
    return str(name), data


def validate(path: Path) -> None:
    """Print `NAME: valid`, or raise ManifestInvalid."""
    try:
        name, _ = _read(path)
    except ManifestInvalid as error:
        _print_errors(path.name, error)
        raise SystemExit(ExitCode.INVALID) from error
    Console().print(f"{name}: valid", highlight=False)


def submit(store: Store, bucket: str, path: Path, *, wait_for_end: bool) -> ExitCode:
    """Put the manifest into the inbox; a cancel marker of an earlier run is taken away."""
    try:
        name, data = _read(path)
    except ManifestInvalid as error:
        _print_errors(path.name, error)
        return ExitCode.INVALID
    store.delete(Ref(bucket, naming.cancel_key(name)))
    ref = Ref(bucket, f"{naming.INBOX_PREFIX}{name}.yaml")
    store.put(ref, data, content_type="application/yaml")
    Console(stderr=True).print(f"submitted {ref}\nwatch it:  stylefleet wait {name}", highlight=False)
    if not wait_for_end:
        return ExitCode.OK
    found = store.get(ref)
    return wait(store, bucket, name, run=naming.run_id(name, data, found.modified_at))


def read_status(store: Store, bucket: str, name: str) -> Status:
    """Raises NotFound where the controller has not seen the manifest yet, or there is none."""
    try:
        return statuses.from_json(store.get(Ref(bucket, naming.status_key(name))).data)
    except NotFound as error:
        raise NotFound(
            f"{name}: no status in s3://{bucket}/{naming.STATUS_PREFIX}; is a controller running?"
        ) from error


def status(store: Store, bucket: str, name: str, *, output: str) -> None:
    """Print the status as a table or as the JSON document."""
    if output == "json":
        print(store.get(Ref(bucket, naming.status_key(name))).data.decode(), end="")
        return
    if output != "table":
        raise SettingsInvalid(f"-o: found {output!r}, allowed are table and json")
    Console().print(status_table(read_status(store, bucket, name)))


def status_table(found: Status) -> Table:
    """The status for a terminal."""
    table = Table(show_header=False, box=None, pad_edge=False)
    colour = COLOUR_BY_PHASE.get(found.phase, "cyan")
    table.add_row("name", found.name)
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
            table.add_row(label, escape(text))
    if found.eta_seconds is not None and not found.phase.final:
        table.add_row("ready in about", duration(found.eta_seconds))
    for error in found.errors if len(found.errors) > 1 else ():
        table.add_row("error", escape(str(error)))
    return table


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def follow(store: Store, bucket: str, name: str, *, run: str | None = None) -> Iterator[Status]:
    """The status each second until it is final; of `run` only, where given. Raises NotFound where nobody answers."""
    waited = 0
    while True:
        try:
            found = read_status(store, bucket, name)
        except NotFound:
            if run is None or waited > 60:
                raise
        else:
            if run is None or found.run == run:
                yield found
                if found.phase.final:
                    return
        time.sleep(POLL_SECONDS)
        waited += 1


def wait(store: Store, bucket: str, name: str, *, run: str | None = None) -> ExitCode:
    """Follow a run with a progress bar; Ctrl-C leaves it running."""
    console = Console(stderr=True)
    last: Status | None = None
    columns = (
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
    )
    try:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task(name, total=None, note="")
            for last in follow(store, bucket, name, run=run):
                note = last.waiting_because or (
                    f"ready in about {duration(last.eta_seconds)}" if last.eta_seconds is not None else last.phase.value
                )
                total = last.pictures or None
                progress.update(bar, total=total, completed=last.pictures - last.pending, note=escape(note))
    except KeyboardInterrupt:
        console.print(f"\nstill running; come back with:  stylefleet wait {name}", highlight=False)
        return ExitCode.OK
    assert last is not None
    Console().print(status_table(last))
    return EXIT_CODE_BY_PHASE[last.phase]


def cancel(store: Store, bucket: str, name: str) -> None:
    """Put the marker that stops the run; raises NotFound where there is no such manifest."""
    keys = {o.ref.key for o in store.list(Ref(bucket, f"{naming.INBOX_PREFIX}{name}."))}
    if not any(naming.manifest_name(key) == name for key in keys):
        raise NotFound(f"{name}: no manifest in s3://{bucket}/{naming.INBOX_PREFIX}")
    store.put(Ref(bucket, naming.cancel_key(name)), b"")
    Console(stderr=True).print(f"cancelling {name}; what is finished stays", highlight=False)


def _print_errors(file_name: str, error: ManifestInvalid) -> None:
    console = Console(stderr=True, soft_wrap=True)
    for one in error.errors:
        console.print(f"{file_name}: {one}", markup=False, highlight=False)
