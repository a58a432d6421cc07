"""`stylefleet demo`: the sample photos through everything real on this machine, and a page with before and after."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stylefleet import following, gallery, naming, receipt
from stylefleet.cli import bucket as commands
from stylefleet.cli import exit_codes
from stylefleet.cli.folders import make_empty
from stylefleet.errors import ExitCode, NotFound, SettingsInvalid, StylefleetError
from stylefleet.local_s3 import LocalS3, local_s3
from stylefleet.naming import Ref
from stylefleet.status import Phase, Status
from stylefleet.store import Store

BUCKET = "shop"
SAMPLES = Path(__file__).parents[3] / "samples"
WORK_FOLDER = Path(".stylefleet/demo")
MARKER = ".made-by-stylefleet-demo"
STOP_SECONDS = 60.0
GOOD, WRONG = "catalog", "mistakes"
ASSUMED_GFLOPS = 80
"""Speed of two CPU cores with AVX2, for the first estimate; the pace of finished pictures replaces it."""


@dataclass(frozen=True, kw_only=True)
class Shop:
    """The running demo: a bucket and a controller that watches it."""

    store: Store
    controller: subprocess.Popen[bytes]


def run(out: Path) -> ExitCode:
    """Run the demo and write its results below `out`."""
    console = Console(highlight=False)
    started = time.monotonic()
    if not SAMPLES.is_dir():
        raise SettingsInvalid(f"{SAMPLES}: no samples; the demo runs from a clone of the repository")
    make_empty(out, marker=MARKER, maker="the demo", remedy="choose another folder with --out")
    if WORK_FOLDER.exists():
        shutil.rmtree(WORK_FOLDER)
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Unwind as Ctrl-C does: the server and the controller must not outlive the demo.
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    console.print("[bold]Stylefleet demo[/]: a manifest in a bucket becomes restyled pictures\n")
    with contextlib.ExitStack() as running:
        with console.status("starting an S3 server"):
            s3 = running.enter_context(local_s3(WORK_FOLDER / "s3"))
            s3.create_bucket(BUCKET)
        console.print(f"1. an S3 server runs at {s3.endpoint_url} (SeaweedFS)")
        shop = running.enter_context(_shop(s3, out / "controller.log"))
        console.print("2. a controller watches s3://shop/jobs/")
        photos = _fill(shop.store)
        console.print(f"3. {photos} photos, 2 styles and 2 manifests are in the bucket\n")
        _show_rejection(console, shop)
        final = _follow(console, shop)
        page = _collect(shop.store, out, final)
    console.print(commands.status_table(final))
    seconds = time.monotonic() - started
    lines = {
        "results": out / "restyled",
        "report": out / "report.html",
        "before and after": page,
    }
    text = "\n".join(f"[bold]{label:18}[/]{path}" for label, path in lines.items())
    console.print(Panel(f"{text}\n\nopen  {page.resolve().as_uri()}", title=f"done in {seconds:.0f} s"))
    return exit_codes.of_ending(final)


@contextlib.contextmanager
def _shop(s3: LocalS3, log_path: Path) -> Iterator[Shop]:
    environment = {
        **s3.process_environment(os.environ),
        "STYLEFLEET_BUCKET": BUCKET,
        "STYLEFLEET_CLUSTER": "local",
        "STYLEFLEET_LOCAL_FOLDER": str((WORK_FOLDER / "jobs").absolute()),
        "STYLEFLEET_POLL_SECONDS": "0.5",
        "STYLEFLEET_HTTP_PORT": "0",
        "STYLEFLEET_WORKER_GFLOPS": str(ASSUMED_GFLOPS),
    }
    with log_path.open("wb") as log:
        controller = subprocess.Popen(
            [sys.executable, "-m", "stylefleet.cli.main", "controller"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield Shop(store=s3.store(), controller=controller)
    finally:
        controller.send_signal(signal.SIGTERM)
        try:
            controller.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            controller.kill()
            controller.wait()


def _fill(store: Store) -> int:
    """Put photos, styles and manifests into the bucket; the manifests last."""
    photos = sorted(p for p in (SAMPLES / "photos").iterdir() if p.suffix in (".jpg", ".png"))
    for photo in photos:
        store.put(Ref(BUCKET, f"catalog/{photo.name}"), photo.read_bytes())
    for style in ("starry_night.jpg", "the_scream.jpg"):
        store.put(Ref(BUCKET, f"styles/{style}"), (SAMPLES / "styles" / style).read_bytes())
    for name in (WRONG, GOOD):
        data = (SAMPLES / "manifests" / f"{name}.yaml").read_bytes()
        store.put(Ref(BUCKET, f"{naming.INBOX_PREFIX}{name}.yaml"), data)
    return len(photos)


def _statuses(shop: Shop, name: str) -> Iterator[Status]:
    """The status until it is final; raises where the controller ended before."""
    while True:
        if shop.controller.poll() is not None:
            raise StylefleetError(f"the controller ended with code {shop.controller.returncode}; see controller.log")
        with contextlib.suppress(NotFound):
            found = following.read_status(shop.store, BUCKET, name)
            yield found
            if found.phase.final:
                return
        time.sleep(0.5)


def _show_rejection(console: Console, shop: Shop) -> None:
    for found in _statuses(shop, WRONG):
        if found.phase is Phase.REJECTED:
            errors = "\n".join(escape(str(e)) for e in found.errors)
            title = f"status/{WRONG}.json: a manifest with mistakes is rejected, nothing else stops"
            console.print(Panel(errors, title=title, title_align="left", border_style="red"))


def _follow(console: Console, shop: Shop) -> Status:
    last: Status | None = None
    columns = (
        TextColumn("[bold]restyling[/]"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pictures"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[eta]}"),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=None, eta="")
        for last in _statuses(shop, GOOD):
            eta = commands.ready_in(last, shop.store.now())
            progress.update(bar, total=last.pictures or None, completed=last.pictures - last.pending, eta=eta)
    assert last is not None
    return last


def _collect(store: Store, out: Path, final: Status) -> Path:
    """Copy originals, results and the report to `out` and make the page."""
    pictures, engines = [], set()
    for listed in store.list(Ref(BUCKET, naming.receipts_prefix(GOOD, final.run))):
        for one in receipt.from_lines(store.get(listed.ref).data):
            name = one.content.rpartition("/")[2]
            if one.outcome == "failed":
                pictures.append(gallery.GalleryPicture(name=name, reason=one.reason, message=one.message))
                continue
            before = _save(store, one.content, out / "originals")
            after = _save(store, one.result, out / "restyled")
            engines.add(one.engine)
            pictures.append(
                gallery.GalleryPicture(
                    name=name,
                    left=before.relative_to(out).as_posix(),
                    right=after.relative_to(out).as_posix(),
                    width_px=one.width_px,
                    height_px=one.height_px,
                    details=(
                        ("Steps", str(one.iterations)),
                        ("Optimizer", f"{one.stage_seconds.get('optimize', 0):.1f} s"),
                        ("In a batch of", str(one.batch)),
                    ),
                )
            )
    page_ref = Ref(BUCKET, naming.report_page_key(GOOD, final.run))
    for file_name, ref in (("report.json", naming.parse_uri(final.report)), ("report.html", page_ref)):
        (out / file_name).write_bytes(store.get(ref).data)
    seconds = (final.finished_at - final.started_at).total_seconds() if final.finished_at and final.started_at else 0.0
    facts = [
        ("Pictures restyled", f"{final.done} of {final.pictures}"),
        ("Time", commands.duration(seconds)),
        ("A picture", commands.duration(seconds / max(1, final.done))),
        *(("Computed with", f"{e.backbone}, {e.precision}") for e in engines if e),
        *(("On", e.device) for e in engines if e),
    ]
    page = gallery.GalleryPage(
        title="Stylefleet demo",
        subtitle="The Starry Night, with a little of The Scream",
        facts=tuple(facts),
        pictures=tuple(sorted(pictures, key=lambda p: p.name)),
    )
    path = out / "index.html"
    path.write_text(gallery.render(page), encoding="utf-8")
    return path


def _save(store: Store, uri: str, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / uri.rpartition("/")[2]
    path.write_bytes(store.get(naming.parse_uri(uri)).data)
    return path
