"""`stylefleet compare`: two runs of the same pictures as one page, one result beside the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stylefleet.cli.gallery import SMALL_NOTE, watched, write_page
from stylefleet.cli.run_pictures import Folder, RunPictures, Side, Wanted, look_of, measures_of, read_run
from stylefleet.errors import ExitCode, NotFound, SettingsInvalid
from stylefleet.gallery import GalleryPage, GalleryPicture, Look
from stylefleet.receipt import Receipt
from stylefleet.report_page import common_folder
from stylefleet.store import Store

Rows = tuple[tuple[str, str], ...]
"""Label and value."""


def run(store: Store, bucket: str, first: str, second: str, to: Path, *, full: bool) -> ExitCode:
    """Make the folder. Raises NotFound where the runs share no picture, SettingsInvalid where they are one, or for a
    folder with other files."""
    if first == second:
        raise SettingsInvalid(f"found {first} twice, allowed are two runs; NAME@RUN is an older run of a name")
    runs = read_run(store, bucket, first), read_run(store, bucket, second)
    pairs = pairs_of(*runs)
    if not pairs:
        raise NotFound(f"{first} and {second} have no picture in common that has ended in both")
    both = [pair for pair in pairs if _done(pair)]
    folder = Folder(to, full=full)
    wanted = [
        Wanted(uri=one.result, etag=one.result_etag, stem=f"{number:06}-{side}")
        for number, pair in enumerate(both, start=1)
        for side, one in zip(("left", "right"), pair, strict=True)
    ]
    sides = watched(folder.copied(store, wanted), len(wanted))
    copied = {left.content: (next(sides), next(sides)) for left, _ in both}
    next(sides, None)  # ends the bar
    below = common_folder([left.content for left, _ in pairs])
    left_out = sum(len(each.receipts) for each in runs) - 2 * len(pairs)
    page = GalleryPage(
        title=f"{first} and {second}",
        subtitle=f"The same pictures by two recipes. They are named below {below}" if below else "",
        facts=_facts(runs, pairs),
        looks=(Look(name="", styles=()),),
        pictures=tuple(_picture(runs, pair, below, copied.get(pair[0].content)) for pair in pairs),
        sides=(first, second),
        side_by_side=True,
        note=(f"{left_out:,} pictures are in one of the runs only. " if left_out else "")
        + ("" if full else SMALL_NOTE),
    )
    write_page(to, page)
    return ExitCode.OK


def pairs_of(first: RunPictures, second: RunPictures) -> list[tuple[Receipt, Receipt]]:
    """The pictures that have ended in both, by the photo's place."""
    others = {one.content: one for one in second.receipts}
    return [(one, others[one.content]) for one in first.receipts if one.content in others]


def differing(first: Rows, second: Rows) -> Rows:
    """Rows of both, with one value where they agree and two where they do not; what one of them lacks is a dash."""
    left, right = dict(first), dict(second)
    labels = [*left, *(label for label in right if label not in left)]
    return tuple(
        (label, a if a == b else f"{a} vs {b}")
        for label in labels
        for a, b in [(left.get(label, "–"), right.get(label, "–"))]
    )


def _done(pair: tuple[Receipt, Receipt]) -> bool:
    return all(one.outcome == "done" for one in pair)


def _settings(each: RunPictures) -> Rows:
    look = look_of(each)
    return (("Styles", ", ".join(look.styles)), *look.settings)


def _picture(
    runs: tuple[RunPictures, RunPictures], pair: tuple[Receipt, Receipt], below: str, sides: tuple[Side, Side] | None
) -> GalleryPicture:
    name = pair[0].content.removeprefix(below) or pair[0].content
    details = differing(measures_of(pair[0]), measures_of(pair[1])) + differing(*map(_settings, runs))
    troubles: list[tuple[str, str, str]] = []
    for each, one in zip(runs, pair, strict=True):
        if one.outcome != "done":
            troubles.append((each.name, one.reason, one.message))
    for each, side in zip(runs, sides or (), strict=False):
        if side.reason:
            troubles.append((each.name, side.reason, side.message))
    if troubles or sides is None:
        who_said = {message: [who for who, _, said in troubles if said == message] for _, _, message in troubles}
        said = "; ".join(f"{' and '.join(who)}: {message}" for message, who in who_said.items())
        return GalleryPicture(name=name, reason=troubles[0][1], message=said, details=details)
    # Of different sizes, the larger shows all that there is; their shapes are the same but for a pixel.
    widest = max(pair, key=lambda one: one.width_px)
    return GalleryPicture(
        name=name,
        left=sides[0].small,
        right=sides[1].small,
        full_left=sides[0].full,
        full_right=sides[1].full,
        width_px=widest.width_px,
        height_px=widest.height_px,
        details=details,
    )


def _facts(runs: tuple[RunPictures, RunPictures], pairs: Sequence[tuple[Receipt, Receipt]]) -> Rows:
    """What differs between the recipes, then what each took."""
    settings = differing(*map(_settings, runs))
    changed = tuple((label, value) for label, value in settings if (label, value) not in _settings(runs[0]))
    done = [pair for pair in pairs if _done(pair)]
    if not done:
        return changed
    seconds = [sum(sum(pair[side].stage_seconds.values()) for pair in done) / len(done) for side in (0, 1)]
    return (*changed, ("Seconds a picture", f"{seconds[0]:.2g} vs {seconds[1]:.2g}"))
