"""Preparing pictures: fetch and decode one with its masks and its start, and put like ones together for the engine.

What is wrong with a picture, or with what belongs to it, becomes a `Refused`: it never stops the others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from stylefleet import engine as engines
from stylefleet import picture_files, pictures
from stylefleet.checkpoints import Checkpoint
from stylefleet.companions import Companion, Pin
from stylefleet.errors import AccessDenied, ImageInvalid, NotFound, PreconditionFailed
from stylefleet.naming import Ref
from stylefleet.plan import Plan, regions
from stylefleet.receipt import Stage
from stylefleet.store import Store
from stylefleet.tasks import Task

_DECODERS = threading.BoundedSemaphore(2)
"""Pictures decoded at the same time: enough to be ahead of the engine, few enough to leave it the cores."""


class Room:
    """Pixels that may be decoded at the same time, by any thread. (A large picture takes 2 GB meanwhile.)"""

    def __init__(self, pixels: int) -> None:
        self._left = pixels
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, pixels: int) -> Iterator[None]:
        """Waits until there is so much room, which is at most what there is at all, and holds it."""
        with self._changed:
            self._changed.wait_for(lambda: self._left >= pixels)
            self._left -= pixels
        try:
            yield
        finally:
            with self._changed:
                self._left += pixels
                self._changed.notify_all()


_ROOM = Room(pictures.PIXELS_MAX)


@contextmanager
def _decoding(data: bytes) -> Iterator[None]:
    """While a picture of these bytes may be decoded. Raises ImageInvalid."""
    pixels = picture_files.pixels_of(data)
    with _DECODERS, _ROOM.taken(pixels):
        yield


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A picture that is ready to be optimized."""

    task: Task
    pixels: np.ndarray
    """uint8 [H, W, 3] at the result's size."""
    masks: np.ndarray | None = None
    """uint8 [R, H, W], 255 where the styles of region r apply; None: one region, everywhere."""
    protect: np.ndarray | None = None
    """uint8 [H, W], 255 where the picture is left alone."""
    start: np.ndarray | None = None
    """uint8 [H, W, 3], what is painted over."""
    details: tuple[np.ndarray, ...] = ()
    """For each refinement, uint8 [h, w, 3] of the original picture."""
    checkpoint: Checkpoint | None = None
    """Where an earlier attempt was ended."""
    exif: bytes = b""
    """The source's EXIF as the result carries it; empty where none is asked for."""
    seconds: dict[Stage, float]

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def position(self) -> tuple[int, int] | None:
        return self.checkpoint.position if self.checkpoint is not None else None


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A picture that cannot be restyled, and why."""

    task: Task
    reason: str
    message: str
    seconds: dict[Stage, float] = field(default_factory=dict)


def prepare(store: Store, plan: Plan, task: Task) -> Prepared | Refused:
    """Fetch and decode one picture and its companions; what is wrong with them becomes a Refused."""
    seconds: dict[Stage, float] = {}
    started = time.monotonic()
    try:
        companions = dict(zip(plan.companions, task.companions, strict=True))
        # Before anything is fetched: what planning has seen already, and what may not fit into memory.
        _check_size(task)
        for companion, pin in companions.items():
            _check_pin(companion, pin)
        data = _content(store, task)
        data_by_companion = {c: _companion(store, c, pin) for c, pin in companions.items()}
        fetched = time.monotonic()
        seconds["fetch"] = fetched - started
        with _decoding(data):
            decoded = pictures.decode(data)
            width, height = pictures.result_size(decoded.shape[1], decoded.shape[0], plan.recipe.size_px)
            pixels = pictures.resize(decoded, width, height)
            details = tuple(pictures.detail(decoded, refinement, width, height) for refinement in plan.recipe.refine)
            exif = pictures.exif(data) if "exif" in plan.keep_metadata else b""
        del decoded
        beside = {
            companion: _decoded(companion, companions[companion], found, width, height)
            for companion, found in data_by_companion.items()
        }
    except ImageInvalid as error:
        return Refused(task=task, reason=error.reason, message=str(error), seconds=seconds)
    seconds["decode"] = time.monotonic() - fetched
    by_role = {companion.role: array for companion, array in beside.items()}
    return Prepared(
        task=task,
        pixels=pixels,
        masks=region_masks(
            list(regions(plan.styles)), {c.at: array for c, array in beside.items() if c.role == "mask"}
        ),
        protect=by_role.get("protect"),
        start=by_role.get("start"),
        details=details,
        exif=exif,
        seconds=seconds,
    )


def region_masks(places: Sequence[Ref | None], mask_by_place: Mapping[Ref, np.ndarray]) -> np.ndarray | None:
    """uint8 [R, H, W], one mask for each region in their order; the region without a mask (None) gets what the others
    leave of 255. None where that is the only region."""
    if not mask_by_place:
        return None
    covered = np.sum([mask.astype(np.int64) for mask in mask_by_place.values()], axis=0)
    rest = np.clip(255 - covered, 0, 255).astype(np.uint8)
    return np.stack([rest if place is None else mask_by_place[place] for place in places])


def compose(batch: Sequence[Prepared]) -> engines.Batch:
    """Pictures of one size as the engine takes them."""
    return engines.Batch(
        contents=np.stack([p.pixels for p in batch]),
        masks=_stacked([p.masks for p in batch]),
        protect=_stacked([p.protect for p in batch]),
        starts=_stacked([p.start for p in batch]),
        details=tuple(np.stack(details) for details in zip(*(p.details for p in batch), strict=True)),
    )


def _stacked(arrays: Sequence[np.ndarray | None]) -> np.ndarray | None:
    """None where the pictures have none; a plan gives it to all of them or to none."""
    there = [array for array in arrays if array is not None]
    return np.stack(there) if there else None


def _check_size(task: Task) -> None:
    if task.size_bytes > pictures.BYTES_MAX:
        message = f"the picture has {task.size_bytes:,} bytes; at most {pictures.BYTES_MAX:,} are allowed"
        raise ImageInvalid("too_many_bytes", message)


def _check_pin(companion: Companion, pin: Pin) -> None:
    noun = companion.noun
    if not pin.etag:
        message = f"{pin.ref}: the {noun} was not there when the run was planned; put it there and submit again"
        raise ImageInvalid(f"{noun}_missing", message)
    if pin.size_bytes > pictures.BYTES_MAX:
        message = f"{pin.ref}: the {noun} has {pin.size_bytes:,} bytes; at most {pictures.BYTES_MAX:,} are allowed"
        raise ImageInvalid(f"{noun}_invalid", message)


def _content(store: Store, task: Task) -> bytes:
    return _fetched(store, task.content, task.content_etag, word="content", noun="picture")


def _companion(store: Store, companion: Companion, pin: Pin) -> bytes:
    return _fetched(store, pin.ref, pin.etag, word=companion.noun, noun=companion.noun)


def _fetched(store: Store, ref: Ref, etag: str, *, word: str, noun: str) -> bytes:
    """The bytes of the very version that was planned; raises ImageInvalid with `word` in the reason."""
    try:
        return store.get(ref, if_match=etag).data
    except NotFound as error:
        raise ImageInvalid(f"{word}_missing", str(error)) from error
    except PreconditionFailed as error:
        message = f"{ref}: the {noun} was replaced after the run was planned; submit the manifest again"
        raise ImageInvalid(f"{word}_changed", message) from error
    except AccessDenied as error:
        raise ImageInvalid(f"{word}_unreadable", str(error)) from error


def _decoded(companion: Companion, pin: Pin, data: bytes, width: int, height: int) -> np.ndarray:
    """A mask uint8 [H, W], or a start uint8 [H, W, 3]. Raises ImageInvalid."""
    try:
        with _decoding(data):
            if companion.role == "start":
                return pictures.resize(pictures.decode(data), width, height)
            return pictures.decode_mask(data, width, height)
    except ImageInvalid as error:
        raise ImageInvalid(f"{companion.noun}_invalid", f"{pin.ref}: {error}") from error
