"""The pictures of a run, read from its receipts, and copied small (and whole) into a page's folder."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stylefleet import following, naming, picture_files, pictures, receipt
from stylefleet.cli.folders import make_empty
from stylefleet.errors import AccessDenied, ImageInvalid, NotFound, PreconditionFailed
from stylefleet.gallery import Look
from stylefleet.naming import Ref
from stylefleet.plan import Plan, StyleShare
from stylefleet.planner import load_plan
from stylefleet.receipt import Receipt
from stylefleet.recipe import Recipe
from stylefleet.report_page import duration
from stylefleet.status import Status
from stylefleet.store import Store
from stylefleet.streams import in_order
from stylefleet.tasks import tasks_from_bytes

THUMBNAIL_PX = 480
"""Longer edge: rows of the page are 300 px high at the most, and some screens have two dots a px."""
THUMBNAIL_QUALITY = 80
COPIERS = 4
"""Pictures that are decoded at a time; each may take 100 MB."""
_SUFFIX_BY_FORMAT = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp"}
"""What browsers show; TIFF they do not."""
_MARKER = ".made-by-stylefleet-gallery"


@dataclass(frozen=True, kw_only=True)
class RunPictures:
    """A run and what its receipts say."""

    name: str
    """As it was asked for: NAME or NAME@RUN."""
    plan: Plan
    status: Status | None
    """None where it is an older run's, since a status speaks of the newest only."""
    receipts: tuple[Receipt, ...]
    """One for each picture that ended, by the content's URI."""
    kept: frozenset[str]
    """Contents of those that an earlier run has made and this one found done."""


def read_run(store: Store, bucket: str, asked: str) -> RunPictures:
    """The newest run of a name, which may still go on, or the one that is asked for as NAME@RUN. Raises NotFound where
    none was planned."""
    name, _, run = asked.partition("@")
    status = None if run else following.read_status(store, bucket, name)
    run = status.run if status else run
    plan = load_plan(store, bucket, name, run)
    if plan is None:
        raise NotFound(
            f"{name}: its run {run} was never planned, so there are no pictures; see:  stylefleet status {name}"
        )
    parts = store.list(Ref(bucket, naming.receipts_prefix(name, run)))
    by_task: dict[str, Receipt] = {}
    for found in in_order(lambda part: receipt.from_lines(store.get(part.ref).data), parts):
        for one in found:
            # Of several about one task the first counts, as for the report.
            by_task.setdefault(one.task_id, one)
    kept = _kept(store, bucket, plan) if plan.skipped else {}
    receipts = tuple(sorted([*by_task.values(), *kept.values()], key=lambda one: one.content))
    return RunPictures(name=asked, plan=plan, status=status, receipts=receipts, kept=frozenset(kept))


def _kept(store: Store, bucket: str, plan: Plan) -> dict[str, Receipt]:
    """By content, the newest receipt of earlier runs for what this run had not to do: it is none of its tasks, and the
    result lies where the run's results go, as it was made."""
    shards = [naming.shard_key(plan.name, plan.run, entry.index, entry.digest) for entry in plan.shards]
    own = {
        str(task.content)
        for data in in_order(lambda key: store.get(Ref(bucket, key)).data, shards)
        for task in tasks_from_bytes(data)
    }
    etags = {str(listed.ref): listed.etag for listed in store.list(plan.output_prefix)}
    newest: dict[str, Receipt] = {}
    for found in in_order(
        lambda ref: receipt.from_lines(store.get(ref).data), _receipts_of_others(store, bucket, plan)
    ):
        for one in found:
            if one.outcome != "done" or one.content in own or etags.get(one.result) != one.result_etag:
                continue
            if one.content not in newest or newest[one.content].finished_at < one.finished_at:
                newest[one.content] = one
    return newest


def _receipts_of_others(store: Store, bucket: str, plan: Plan) -> Iterator[Ref]:
    """Objects with receipts of the name's other runs."""
    for listed in store.list(Ref(bucket, naming.run_prefix(plan.name, "")[:-1])):
        part = naming.part_of(plan.name, listed.ref.key)
        if part is not None and not part.whole and part.run != plan.run:
            yield listed.ref


def look_of(run: RunPictures) -> Look:
    """The run's styles and recipe, for people."""
    total = sum(style.weight for style in run.plan.styles)
    blend = ", ".join(f"{_file_name(s)} {s.weight / total:.0%}" for s in run.plan.styles)
    blended = (("Blend", blend),) if len(run.plan.styles) > 1 else ()
    styles = tuple(sorted({_file_name(style) for style in run.plan.styles}))
    return Look(name=run.name, styles=styles, settings=blended + settings_of(run.plan.recipe))


def settings_of(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """The numbers of a recipe that people turn."""
    rows = [
        ("Content weight", f"{recipe.content_weight:g}"),
        ("Style weight", f"{recipe.style_weight:g}"),
        ("Smoothing", f"{recipe.tv_weight:g}"),
        ("Colours", recipe.colors),
        ("Scales", ", ".join(str(s.size_px) for s in recipe.scales) + " px"),
        ("Optimizer", recipe.optimizer),
        ("Start", recipe.start),
        ("Seed", str(recipe.seed)),
    ]
    if recipe.refine:
        rows.append(("Refined boxes", str(len(recipe.refine))))
    return tuple(rows)


def _file_name(style: StyleShare) -> str:
    return style.image.key.rpartition("/")[2]


def measures_of(one: Receipt) -> tuple[tuple[str, str], ...]:
    """What a picture took."""
    loss = () if one.loss is None else (("Loss", f"{one.loss:,.4g}"),)
    stages = {name.replace("_", " ").capitalize(): seconds for name, seconds in one.stage_seconds.items()}
    steps = (("Steps", f"{one.iterations:,}"), ("In a batch of", str(one.batch))) if one.iterations else ()
    engine: tuple[tuple[str, str], ...] = ()
    if one.engine is not None:
        engine = (("Computed with", f"{one.engine.backbone}, {one.engine.precision}"), ("On", one.engine.device))
    return (
        ("Time", duration(sum(one.stage_seconds.values()))),
        *steps,
        *loss,
        *((name, duration(seconds)) for name, seconds in stages.items()),
        *engine,
    )


@dataclass(frozen=True, kw_only=True)
class Side:
    """One version of a picture, in the page's folder."""

    small: str
    """Path of the thumbnail; empty where it cannot be shown."""
    full: str
    """Path of the whole picture; empty where it was not asked for."""
    reason: str = ""
    """Why it cannot be shown, in a word."""
    message: str = ""
    """And in a sentence."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a `Side` is made of."""

    uri: str
    etag: str | None
    """The version it must have; None takes what is there."""
    stem: str
    """Of its files' names. Ours: users' names may be anything."""


class Folder:
    """A page's folder with its thumbnails and, where they are asked for, whole pictures."""

    def __init__(self, path: Path, *, full: bool) -> None:
        """Empties the folder where an earlier gallery has made it; raises SettingsInvalid for other files."""
        self.path = path
        self._full = full
        self._one_at_a_time = threading.Lock()
        make_empty(path, marker=_MARKER, maker="a gallery", remedy="choose another with --to")
        for sub in ("thumbnails", *(("pictures",) if full else ())):
            (path / sub).mkdir()

    def copied(self, store: Store, wanted: Iterable[Wanted]) -> Iterator[Side]:
        """In the same order. A picture that cannot be read is said on the page and stops nothing."""
        return in_order(lambda one: self._side(store, one), wanted, threads=COPIERS, ahead=2 * COPIERS)

    def _side(self, store: Store, wanted: Wanted) -> Side:
        try:
            data = store.get(naming.parse_uri(wanted.uri), if_match=wanted.etag).data
            return Side(small=self._thumbnail(wanted, data), full=self._whole(wanted, data) if self._full else "")
        except ImageInvalid as error:
            return Side(small="", full="", reason=error.reason, message=f"{wanted.uri}: {error}")
        except NotFound as error:
            return Side(small="", full="", reason="gone", message=str(error))
        except AccessDenied as error:
            return Side(small="", full="", reason="no_access", message=str(error))
        except PreconditionFailed:
            message = f"{wanted.uri} is no longer what this run has made: a later run or somebody else has replaced it."
            return Side(small="", full="", reason="replaced", message=message)

    def _thumbnail(self, wanted: Wanted, data: bytes) -> str:
        small = f"thumbnails/{wanted.stem}.webp"
        pixels = self._small(data)
        (self.path / small).write_bytes(pictures.encode(pixels, format="webp", quality=THUMBNAIL_QUALITY))
        return small

    def _small(self, data: bytes) -> np.ndarray:
        try:
            return pictures.preview(data, THUMBNAIL_PX)
        except ImageInvalid as error:
            if error.reason != "too_many_pixels":
                raise
        # A print has no preview in little memory; here, unlike in a controller, there is enough for one at a time.
        with self._one_at_a_time:
            whole = pictures.decode(data)
            factor = THUMBNAIL_PX / max(whole.shape[:2])
            return pictures.resize(whole, *(max(1, round(factor * edge)) for edge in (whole.shape[1], whole.shape[0])))

    def _whole(self, wanted: Wanted, data: bytes) -> str:
        image = picture_files.opened(data, pixels_max=pictures.PIXELS_MAX, bytes_max=pictures.BYTES_MAX)
        suffix = _SUFFIX_BY_FORMAT.get(image.format or "")
        if suffix is None:
            suffix, data = ".webp", pictures.encode(pictures.decode(data), format="webp", quality=95)
        full = f"pictures/{wanted.stem}{suffix}"
        (self.path / full).write_bytes(data)
        return full
