"""`stylefleet gallery`: runs as one folder with a page, photo and result of each picture, small or whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from stylefleet import gallery
from stylefleet.cli import bucket as buckets
from stylefleet.cli.run_pictures import Folder, RunPictures, Side, Wanted, look_of, measures_of, read_run
from stylefleet.errors import ExitCode, NotFound, printable
from stylefleet.gallery import GalleryPage, GalleryPicture
from stylefleet.receipt import Receipt
from stylefleet.report_page import common_folder
from stylefleet.store import Store

SMALL_NOTE = "The pictures are small copies; each says where the whole one lies. --full copies these too."


def run(store: Store, bucket: str, names: Sequence[str], to: Path, *, full: bool) -> ExitCode:
    """Make the folder. Raises NotFound for a name without run, and SettingsInvalid for a folder with other files."""
    runs = [read_run(store, bucket, name) for name in dict.fromkeys(names)]
    ended = [(number, one) for number, each in enumerate(runs) for one in each.receipts]
    if not ended:
        raise NotFound(f"{', '.join(names)}: no picture has ended yet; see:  stylefleet wait {names[0]}")
    folder = Folder(to, full=full)
    below = common_folder([one.content for _, one in ended])
    shown = []
    for (number, one), sides in zip(ended, _sides(store, folder, [one for _, one in ended]), strict=True):
        kept = one.content in runs[number].kept
        if kept and sides is not None and any(side.reason == "gone" for side in sides):
            continue  # its photo has left the catalog since
        name = one.content.removeprefix(below) or one.content
        shown.append(_picture(one, name, number, sides, kept=kept))
    order = sorted(range(len(shown)), key=lambda i: (shown[i].name, shown[i].look))
    page = GalleryPage(
        title=" and ".join(each.name for each in runs),
        subtitle=_subtitle(runs, below),
        facts=_facts(runs) if len(runs) == 1 else (),
        looks=tuple(look_of(each) for each in runs),
        pictures=tuple(shown[i] for i in order),
        note="" if full else SMALL_NOTE,
    )
    write_page(to, page)
    return ExitCode.OK


def write_page(to: Path, page: GalleryPage) -> None:
    """Write `index.html` and say where it is: its path to stdout, the talk to stderr."""
    path = to / "index.html"
    path.write_text(gallery.render(page), encoding="utf-8")
    unshown = sum(1 for picture in page.pictures if picture.reason)
    without = f", {unshown:,} without a result to show" if unshown else ""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    console.print(f"{len(page.pictures):,} pictures{without}; open  {escape(printable(path.resolve().as_uri()))}")
    print(printable(str(path)))


def watched(sides: Iterator[Side], total: int) -> Iterator[Side]:
    """The same, with a progress bar on stderr."""
    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("copying pictures", total=total)
        for side in sides:
            yield side
            progress.advance(bar)


def _sides(store: Store, folder: Folder, receipts: Sequence[Receipt]) -> Iterator[tuple[Side, Side] | None]:
    """Photo and result of each picture that was restyled, None for the others."""
    wanted = []
    for number, one in enumerate(receipts, start=1):
        if one.outcome == "done":
            wanted.append(Wanted(uri=one.content, etag=None, stem=f"{number:06}-before"))
            wanted.append(Wanted(uri=one.result, etag=one.result_etag, stem=f"{number:06}-after"))
    copied = watched(folder.copied(store, wanted), len(wanted))
    for one in receipts:
        yield (next(copied), next(copied)) if one.outcome == "done" else None
    # Ends the bar.
    next(copied, None)


def _picture(one: Receipt, name: str, look: int, sides: tuple[Side, Side] | None, *, kept: bool) -> GalleryPicture:
    places = (("Photo", one.content), *((("Result", one.result),) if one.result else ()))
    details = measures_of(one) + ((("Made by", "an earlier run"),) if kept else ()) + places
    if sides is None:
        return GalleryPicture(name=name, look=look, reason=one.reason, message=one.message, details=details)
    before, after = sides
    trouble = next((side for side in (after, before) if side.reason), None)
    if trouble is not None:
        return GalleryPicture(name=name, look=look, reason=trouble.reason, message=trouble.message, details=details)
    return GalleryPicture(
        name=name,
        look=look,
        left=before.small,
        right=after.small,
        full_left=before.full,
        full_right=after.full,
        width_px=one.width_px,
        height_px=one.height_px,
        details=details,
    )


def _subtitle(runs: Sequence[RunPictures], below: str) -> str:
    styles = sorted({style for each in runs for style in look_of(each).styles})
    listed = ", ".join(styles[:4]) + (f" and {len(styles) - 4} more" if len(styles) > 4 else "")
    return f"Styles: {listed}. Pictures are named below {below}" if below else f"Styles: {listed}"


def _facts(runs: Sequence[RunPictures]) -> tuple[tuple[str, str], ...]:
    plan, status, receipts = runs[0].plan, runs[0].status, runs[0].receipts
    own = [one for one in receipts if one.content not in runs[0].kept]
    done = sum(1 for one in own if one.outcome == "done")
    facts = [("Restyled", f"{done:,} of {plan.tasks:,}")]
    if len(own) > done:
        facts.append(("Failed", f"{len(own) - done:,}"))
    if plan.skipped:
        facts.append(("Already there", f"{plan.skipped:,}"))
    if status and status.started_at and status.finished_at:
        facts.append(("Time", buckets.duration((status.finished_at - status.started_at).total_seconds())))
    seconds = [sum(one.stage_seconds.values()) for one in receipts if one.outcome == "done"]
    if seconds:
        facts.append(("A picture", buckets.duration(sum(seconds) / len(seconds))))
    return tuple(facts)
