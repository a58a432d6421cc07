"""Planning against the bucket: list, divide, write once. A crash anywhere leaves a run that is planned anew."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from stylefleet import naming, pictures, timing_book
from stylefleet.companions import Companion, Listing, Pin, companions_of
from stylefleet.errors import FieldError, ImageInvalid, NotFound, PlanInvalid, PreconditionFailed, RecordUnreadable
from stylefleet.ledger import Ledger
from stylefleet.manifest import Manifest, digest
from stylefleet.naming import Ref
from stylefleet.once import Once
from stylefleet.plan import Plan, ShardEntry, StyleShare, plan_from_json, plan_to_json
from stylefleet.recipe import Recipe
from stylefleet.stocktaking import CHUNK, enter_finished, enter_tasks, require_bucket
from stylefleet.store import Listed, Store
from stylefleet.streams import chunks, in_order
from stylefleet.task_making import LeftOut, TaskMaker, pictures_among
from stylefleet.tasks import tasks_per_shard
from stylefleet.terms import terms_of
from stylefleet.timings import Prediction, predict

WRITERS = 16
"""Shards that are written at a time."""
LINES_HELD = 50_000
"""Tasks of shards on their way to the bucket, about: 10 MB."""
SHARED_MAX = 1000
"""Objects of a content folder that is listed once for all who name it: a page of a listing."""
STYLE_PIXELS_MAX = 25_000_000
"""Styles are decoded here to reject a broken one before any GPU is asked for; this bounds the memory for it."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How shards are sized."""

    shard_seconds: float
    """Predicted work of one shard."""
    worker_flops: float
    """Assumed speed of a worker, floating point operations a second; where no run has measured one."""
    workers_max: int | None = None
    """Workers that the cluster can run at a time, where that is known: more shards than these gain nothing."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What planning finds out before it writes anything."""

    styles: tuple[StyleShare, ...]
    companions: tuple[Companion, ...]
    recipe: Recipe
    pictures: int
    """That the manifest names."""
    to_do: int
    """Of these, the ones without a result of an earlier run."""
    prediction: Prediction
    tasks_per_shard: int
    workers: int
    """That may be at work at a time."""
    left_out: LeftOut

    @property
    def shards(self) -> int:
        return math.ceil(self.to_do / self.tasks_per_shard)


def load_plan(store: Store, bucket: str, name: str, run: str) -> Plan | None:
    """The plan of a run; None where it is not planned yet. Raises RecordUnreadable, also for the plan of another run:
    its Job would count as that run's."""
    try:
        plan = plan_from_json(store.get(Ref(bucket, naming.plan_key(name, run))).data)
    except NotFound:
        return None
    if (plan.name, plan.run) != (name, run):
        raise RecordUnreadable(f"the plan of {name}/{run} is that of {plan.name}/{plan.run}")
    return plan


def plan_run(
    store: Store,
    bucket: str,
    *,
    name: str,
    manifest: Manifest,
    manifest_bytes: bytes,
    run: str,
    pace: Pace,
    now: datetime,
    first: bool = False,
    once: Once | None = None,
) -> Plan:
    """Plan a run and write it; raises PlanInvalid where what the manifest names cannot be carried out.

    `first` where no run of the name was planned before; `once` has the looks that plans of this moment share.
    """
    spec = manifest.spec
    with Ledger() as ledger:
        draft = draft_run(store, bucket, ledger, name=name, manifest=manifest, pace=pace, first=first, once=once)
        shards = write_shards(store, bucket, name, run, ledger.lines_to_do(), draft.tasks_per_shard)
        plan = Plan(
            name=name,
            run=run,
            manifest_digest=digest(manifest_bytes),
            planned_at=now,
            styles=draft.styles,
            companions=draft.companions,
            recipe=draft.recipe,
            image_format=spec.output.format,
            quality=spec.output.quality,
            depth=spec.output.depth,
            keep_metadata=tuple(spec.output.keep_metadata),
            output_prefix=naming.parse_uri(spec.output.prefix),
            pictures=draft.pictures,
            skipped=draft.pictures - draft.to_do,
            shards=shards,
            parallelism=spec.run.parallelism,
            queue=spec.run.queue,
            gpus=spec.run.resources.gpu,
            terms=terms_of(spec.run, tasks=draft.to_do),
            seconds_per_picture=draft.prediction.seconds,
            seconds_source=draft.prediction.source,
        )
    try:
        # Last, and only once: a run is planned when this object exists.
        store.put(
            Ref(bucket, naming.plan_key(name, run)), plan_to_json(plan), if_absent=True, content_type="application/json"
        )
    except PreconditionFailed:
        earlier = load_plan(store, bucket, name, run)
        if earlier is None:
            raise
        return earlier
    return plan


def draft_run(
    store: Store,
    bucket: str,
    ledger: Ledger,
    *,
    name: str,
    manifest: Manifest,
    pace: Pace,
    first: bool = False,
    once: Once | None = None,
) -> Draft:
    """What a run would be; the ledger has its tasks then. Only reads; raises PlanInvalid as `plan_run` does."""
    once = once or Once()
    spec = manifest.spec
    recipe = spec.recipe.to_recipe()
    styles = pinned_styles(store, manifest, once)
    companions = find_companions(store, manifest, ledger)
    left_out = LeftOut()
    enter_tasks(ledger, TaskMaker(manifest, styles, companions), list_pictures(store, manifest, left_out, once))
    if not ledger.tasks:
        raise PlanInvalid([_no_pictures(manifest)])
    output, gpus, tenant = naming.parse_uri(spec.output.prefix), spec.run.resources.gpu, naming.tenant_of(name)
    once(("bucket", output.bucket), lambda: require_bucket(store, output))
    if not first:
        enter_finished(ledger, store, bucket, name, output)
    to_do = ledger.close_books()
    known = once(("timings", gpus, tenant), lambda: timing_book.load(store, bucket, gpus=gpus, tenant=tenant))
    prediction = predict(recipe, known, flops=pace.worker_flops)
    workers = min(spec.run.parallelism, pace.workers_max or spec.run.parallelism)
    size = tasks_per_shard(
        to_do, seconds_per_task=prediction.seconds, shard_seconds=pace.shard_seconds, parallelism=workers
    )
    return Draft(
        styles=styles,
        companions=tuple(companions),
        recipe=recipe,
        pictures=ledger.tasks,
        to_do=to_do,
        prediction=prediction,
        tasks_per_shard=size,
        workers=workers,
        left_out=left_out,
    )


def write_shards(
    store: Store, bucket: str, name: str, run: str, lines: Iterable[bytes], size: int
) -> tuple[ShardEntry, ...]:
    """The objects of the shards, of `size` tasks each; their table."""

    def write(numbered: tuple[int, list[bytes]]) -> ShardEntry:
        index, own = numbered
        data = b"".join(own)
        entry = ShardEntry(index=index, tasks=len(own), digest=hashlib.sha256(data).hexdigest())
        key = naming.shard_key(name, run, index, entry.digest)
        store.put(Ref(bucket, key), data, content_type="application/jsonl")
        return entry

    # Long shards are few: the threads must not hold them all.
    ahead = max(1, min(2 * WRITERS, LINES_HELD // size))
    return tuple(in_order(write, enumerate(chunks(lines, size)), threads=min(WRITERS, ahead), ahead=ahead))


def pinned_styles(store: Store, manifest: Manifest, once: Once) -> tuple[StyleShare, ...]:
    """The styles with the versions that are there now; raises PlanInvalid naming every style that cannot be used."""
    errors, shares = [], []
    for index, style in enumerate(manifest.spec.styles):
        ref = naming.parse_uri(style.image)
        try:
            etag = once(("style", ref), partial(_usable_style, store, ref))
        except NotFound as error:
            errors.append(_style_error(index, str(ref), "the style is not there", str(error)))
        except ImageInvalid as error:
            errors.append(_style_error(index, str(ref), "the style is not a usable picture", str(error)))
        else:
            mask = naming.parse_uri(style.mask) if style.mask is not None else None
            shares.append(StyleShare(image=ref, etag=etag, weight=style.weight, mask=mask))
    if errors:
        raise PlanInvalid(errors)
    return tuple(shares)


def _usable_style(store: Store, ref: Ref) -> str:
    """The style's ETag. Raises NotFound and ImageInvalid; its size is looked at before it is read."""
    listed = _find(store, ref)
    if listed is not None and listed.size_bytes > pictures.BYTES_MAX:
        message = f"it has {listed.size_bytes:,} bytes; at most {pictures.BYTES_MAX:,} are allowed"
        raise ImageInvalid("too_many_bytes", message)
    found = store.get(ref)
    pictures.decode(found.data, pixels_max=STYLE_PIXELS_MAX)
    return found.etag


def _style_error(index: int, uri: str, message: str, detail: str) -> FieldError:
    return FieldError(path=f"spec.styles[{index}].image", message=f"{message}: {detail}", found=uri)


def find_companions(store: Store, manifest: Manifest, ledger: Ledger) -> dict[Companion, Listing]:
    """What the manifest names beside pictures and styles, with what lies there; a folder is listed once.

    Raises PlanInvalid where nothing is there at all: no picture could be restyled.
    """
    errors: list[FieldError] = []
    found: dict[Companion, Listing] = {}
    number_by_place: dict[Ref, int] = {}
    for companion, field in companions_of(manifest.spec).items():
        place = companion.at
        try:
            if place not in number_by_place:
                number = number_by_place[place] = len(number_by_place)
                listed = store.list(place) if companion.is_folder else filter(None, [_find(store, place)])
                for chunk in chunks(listed, CHUNK):
                    ledger.add_pins(number, (Pin(o.ref, o.etag, o.size_bytes) for o in chunk))
            found[companion] = partial(ledger.pin, number_by_place[place], place.bucket)
            if not ledger.has_pins(number_by_place[place]):
                errors.append(FieldError(path=field, message="nothing is there", found=str(place)))
        except NotFound as error:
            errors.append(FieldError(path=field, message=str(error), found=str(place)))
    if errors:
        raise PlanInvalid(errors)
    return found


def list_pictures(store: Store, manifest: Manifest, left_out: LeftOut, once: Once) -> Iterator[Listed]:
    """The pictures that the manifest names; raises PlanInvalid where a bucket or a named key is not there."""
    content = manifest.spec.content
    field = "prefix" if content.prefix is not None else "keys"
    try:
        if content.prefix is not None:
            yield from pictures_among(_folder(store, naming.parse_uri(content.prefix), once), manifest.spec, left_out)
        else:
            yield from _named_pictures(store, content.keys or [])
    except NotFound as error:
        raise PlanInvalid([FieldError(path=f"spec.content.{field}", message=str(error))]) from error


def _folder(store: Store, prefix: Ref, once: Once) -> Iterable[Listed]:
    def small() -> tuple[Listed, ...] | None:
        found = tuple(itertools.islice(store.list(prefix), SHARED_MAX + 1))
        return found if len(found) <= SHARED_MAX else None

    found = once(("folder", prefix), small)
    return store.list(prefix) if found is None else found


def _named_pictures(store: Store, keys: Iterable[str]) -> list[Listed]:
    refs = [naming.parse_uri(uri) for uri in dict.fromkeys(keys)]
    found = list(in_order(partial(_find, store), refs))
    missing = [
        FieldError(path=f"spec.content.keys[{i}]", message="the picture is not there", found=str(ref))
        for i, (ref, picture) in enumerate(zip(refs, found, strict=True))
        if picture is None
    ]
    if missing:
        raise PlanInvalid(missing)
    return [picture for picture in found if picture is not None]


def _find(store: Store, ref: Ref) -> Listed | None:
    """One object's listing; a key stands at the very beginning of all keys that begin with it: never walk them all."""
    return next((o for o in itertools.islice(store.list(ref), 100) if o.ref == ref), None)


def _no_pictures(manifest: Manifest) -> FieldError:
    content = manifest.spec.content
    return FieldError(
        path="spec.content",
        message="no picture matches",
        found=f"nothing below {content.prefix} that fits include {content.include} and exclude {content.exclude}",
        allowed="at least one picture",
    )
