"""`stylefleet results`: what lies in a run's folder of results; with --sync also in a folder here.

Keys come from a bucket that others may write to: none of them makes us write outside the folder.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from stylefleet import following, naming
from stylefleet.cli.options import Output
from stylefleet.cli.output import print_document, say, stream_documents
from stylefleet.errors import ExitCode, NotFound, RecordUnreadable, printable
from stylefleet.naming import Ref
from stylefleet.store import Listed, Store
from stylefleet.streams import in_order

DOWNLOADS = 8
"""At a time: each is held in memory until it is whole."""
NAME_BYTES_MAX = 255
"""Of one part of a path, on every common file system."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one result."""

    listed: Listed
    path: str
    """Below the folder of results."""
    what: Literal["fetched", "kept", "gone", "refused"]
    why: str = ""
    """Of what was refused."""


def run(store: Store, bucket: str, name: str, *, output: Output, folder: Path | None) -> ExitCode:
    """List or fetch them. Raises NotFound where there is no such run, or it has no results yet."""
    prefix = _prefix(store, bucket, name)
    if folder is not None:
        return sync(store, prefix, folder, name=name)
    _print(store, prefix, output)
    return ExitCode.OK


def _prefix(store: Store, bucket: str, name: str) -> Ref:
    found = following.read_status(store, bucket, name)
    if not found.output_prefix:
        raise NotFound(f"{name}: no results yet: the run is {found.phase.value}")
    try:
        return naming.parse_uri(found.output_prefix)
    except ValueError as error:
        raise RecordUnreadable(
            f"{name}: its status says that results are in {found.output_prefix!r}: {error}"
        ) from error


def _print(store: Store, prefix: Ref, output: Output) -> None:
    """One by one as they are listed: there may be a million."""
    listing = store.list(prefix)
    if output == Output.JSON:
        stream_documents(_document(one, prefix) for one in listing)
        return
    if output == Output.YAML:
        for one in listing:
            print_document([_document(one, prefix)], output)
        return
    any_there = False
    for one in listing:
        any_there = True
        path = printable(one.ref.key.removeprefix(prefix.key))
        if output == Output.NAME:
            print(path)
            continue
        when = one.modified_at.strftime("%Y-%m-%d %H:%M:%S")
        print(f"{one.size_bytes:>12,}  {when}  {printable(str(one.ref)) if output == Output.WIDE else path}")
    if not any_there:
        say(f"nothing lies in {prefix}")


def _document(listed: Listed, prefix: Ref) -> dict[str, object]:
    return {
        "path": listed.ref.key.removeprefix(prefix.key),
        "uri": str(listed.ref),
        "bytes": listed.size_bytes,
        "etag": listed.etag,
        "modifiedAt": listed.modified_at.isoformat(),
    }


def sync(store: Store, prefix: Ref, folder: Path, *, name: str) -> ExitCode:
    """Fetch what is not in `folder`, or is another version there; nothing is deleted. PARTLY_FAILED where some could
    not be written: each is named."""
    folder.mkdir(parents=True, exist_ok=True)
    root = folder.resolve()
    counts = {"fetched": 0, "kept": 0, "gone": 0, "refused": 0}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            bar = progress.add_task("fetching", total=None)
            for outcome in _fetched(store, store.list(prefix), prefix, root):
                counts[outcome.what] += 1
                progress.advance(bar)
                if outcome.what == "refused":
                    progress.console.print(
                        f"not fetched: {printable(outcome.path)}: {printable(outcome.why)}",
                        markup=False,
                        highlight=False,
                        soft_wrap=True,
                    )
    except KeyboardInterrupt:
        say(f"stopped; what is there stays. Go on with:  stylefleet results {name} --sync {folder}")
        return ExitCode.INTERRUPTED
    say(f"{counts['fetched']:,} fetched into {folder}, {counts['kept']:,} were there already")
    return ExitCode.PARTLY_FAILED if counts["refused"] else ExitCode.OK


def _fetched(store: Store, listing: Iterable[Listed], prefix: Ref, root: Path) -> Iterator[Outcome]:
    def one(listed: Listed) -> Outcome:
        path = listed.ref.key.removeprefix(prefix.key)
        if fault := path_fault(path):
            return Outcome(listed=listed, path=path, what="refused", why=fault)
        try:
            return Outcome(listed=listed, path=path, what=_fetch(store, listed, root, path))
        except OSError as error:
            return Outcome(listed=listed, path=path, what="refused", why=error.strerror or str(error))

    yield from in_order(one, listing, threads=DOWNLOADS, ahead=DOWNLOADS)


def path_fault(path: str) -> str:
    """Why no file is called that; empty where one may be."""
    if path == "" or path.endswith("/"):
        return "this is a folder"
    if fault := naming.key_fault(path):
        return fault
    if path.startswith("/") or "\\" in path or printable(path) != path:
        return "the key is absolute, or has a backslash or an invisible character"
    if any(len(os.fsencode(part)) > NAME_BYTES_MAX for part in path.split("/")):
        return f"a part of the key is longer than {NAME_BYTES_MAX} bytes"
    return ""


def _fetch(store: Store, listed: Listed, root: Path, path: str) -> Literal["fetched", "kept", "gone"]:
    """Into a file beside it, which then takes its place at once: nobody ever sees half a picture. Raises OSError."""
    target = root / path
    if not target.parent.resolve().is_relative_to(root):
        raise OSError("a link leads out of the folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    if _is_there(target, listed):
        return "kept"
    try:
        found = store.get(listed.ref)
    except NotFound:
        return "gone"
    descriptor, partial = tempfile.mkstemp(prefix=".stylefleet-", suffix=".partial", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(found.data)
            os.fchmod(file.fileno(), 0o644)
        put_at = found.modified_at.timestamp()
        os.utime(partial, (put_at, put_at))
        os.replace(partial, target)
    except BaseException:
        os.unlink(partial)
        raise
    return "fetched"


def _is_there(target: Path, listed: Listed) -> bool:
    """As rsync tells it: by size and time, which is that of the put."""
    try:
        here = target.lstat()
    except FileNotFoundError:
        return False
    return here.st_size == listed.size_bytes and here.st_mtime == listed.modified_at.timestamp()
