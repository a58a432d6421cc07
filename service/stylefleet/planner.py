"""Planning against the bucket: list, divide, write once. A crash anywhere leaves a run that is planned anew."""

from __future__ import annotations

import hashlib
import itertools
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from stylefleet import naming, pictures, receipt
from stylefleet.companions import Companion, Pin, companions_of
from stylefleet.cost import predicted_seconds
from stylefleet.errors import FieldError, ImageInvalid, NotFound, PlanInvalid, PreconditionFailed, RecordUnreadable
from stylefleet.manifest import Manifest, digest
from stylefleet.naming import Ref
from stylefleet.plan import Plan, ShardEntry, StyleShare, plan_from_json, plan_to_json
from stylefleet.receipt import Receipt
from stylefleet.store import Listed, Object, Store
from stylefleet.tasks import Task, not_yet_done, pictures_among, shard_bytes, tasks_for, tasks_per_shard
from stylefleet.terms import terms_of

READERS = 16
"""Requests at a time where many small objects are read."""
STYLE_PIXELS_MAX = 25_000_000
"""Styles are decoded here to reject a broken one before any GPU is asked for; this bounds the memory for it."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How shards are sized."""

    shard_seconds: float
    """Predicted work of one shard."""
    worker_flops: float
    """Assumed speed of a worker, floating point operations a second."""
    workers_max: int | None = None
    """Workers that the cluster can run at a time, where that is known: more shards than these gain nothing."""


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
) -> Plan:
    """Plan a run and write it; raises PlanInvalid where what the manifest names cannot be carried out."""
    plan, tasks_by_shard = divide(
        store, bucket, name=name, manifest=manifest, manifest_bytes=manifest_bytes, run=run, pace=pace, now=now
    )
    for entry, tasks in zip(plan.shards, tasks_by_shard, strict=True):
        key = naming.shard_key(plan.name, run, entry.index, entry.digest)
        store.put(Ref(bucket, key), shard_bytes(tasks), content_type="application/jsonl")
    try:
        # Last, and only once: a run is planned when this object exists.
        store.put(
            Ref(bucket, naming.plan_key(plan.name, run)),
            plan_to_json(plan),
            if_absent=True,
            content_type="application/json",
        )
    except PreconditionFailed:
        first = load_plan(store, bucket, plan.name, run)
        if first is None:
            raise
        return first
    return plan


def divide(
    store: Store,
    bucket: str,
    *,
    name: str,
    manifest: Manifest,
    manifest_bytes: bytes,
    run: str,
    pace: Pace,
    now: datetime,
) -> tuple[Plan, list[list[Task]]]:
    """The plan of a manifest as the bucket is now, and the tasks of each shard; writes nothing."""
    spec = manifest.spec
    recipe = spec.recipe.to_recipe()
    styles = pinned_styles(store, manifest)
    companions = find_companions(store, manifest)
    tasks = list(tasks_for(manifest, styles, list_pictures(store, manifest), companions))
    if not tasks:
        raise PlanInvalid([_no_pictures(manifest)])
    todo = list(not_yet_done(tasks, finished_results(store, bucket, name), list_results(store, manifest)))
    size = tasks_per_shard(
        len(todo),
        seconds_per_task=predicted_seconds(recipe, flops=pace.worker_flops),
        shard_seconds=pace.shard_seconds,
        parallelism=min(spec.run.parallelism, pace.workers_max or spec.run.parallelism),
    )
    tasks_by_shard = [todo[first : first + size] for first in range(0, len(todo), size)]
    plan = Plan(
        name=name,
        run=run,
        manifest_digest=digest(manifest_bytes),
        planned_at=now,
        styles=styles,
        companions=tuple(companions),
        recipe=recipe,
        image_format=spec.output.format,
        quality=spec.output.quality,
        depth=spec.output.depth,
        keep_metadata=tuple(spec.output.keep_metadata),
        output_prefix=naming.parse_uri(spec.output.prefix),
        pictures=len(tasks),
        skipped=len(tasks) - len(todo),
        shards=tuple(
            ShardEntry(index=i, tasks=len(shard), digest=hashlib.sha256(shard_bytes(shard)).hexdigest())
            for i, shard in enumerate(tasks_by_shard)
        ),
        parallelism=spec.run.parallelism,
        queue=spec.run.queue,
        gpus=spec.run.resources.gpu,
        terms=terms_of(spec.run, tasks=len(todo)),
    )
    return plan, tasks_by_shard


def pinned_styles(store: Store, manifest: Manifest) -> tuple[StyleShare, ...]:
    """The styles with the versions that are there now; raises PlanInvalid naming every style that cannot be used."""
    errors, shares = [], []
    for index, style in enumerate(manifest.spec.styles):
        ref = naming.parse_uri(style.image)
        try:
            found = _usable_style(store, ref)
        except NotFound as error:
            errors.append(_style_error(index, str(ref), "the style is not there", str(error)))
        except ImageInvalid as error:
            errors.append(_style_error(index, str(ref), "the style is not a usable picture", str(error)))
        else:
            mask = naming.parse_uri(style.mask) if style.mask is not None else None
            shares.append(StyleShare(image=ref, etag=found.etag, weight=style.weight, mask=mask))
    if errors:
        raise PlanInvalid(errors)
    return tuple(shares)


def _usable_style(store: Store, ref: Ref) -> Object:
    """The style's object. Raises NotFound and ImageInvalid; its size is looked at before it is read."""
    listed = _find(store, ref)
    if listed is not None and listed.size_bytes > pictures.BYTES_MAX:
        message = f"it has {listed.size_bytes:,} bytes; at most {pictures.BYTES_MAX:,} are allowed"
        raise ImageInvalid("too_many_bytes", message)
    found = store.get(ref)
    pictures.decode(found.data, pixels_max=STYLE_PIXELS_MAX)
    return found


def _style_error(index: int, uri: str, message: str, detail: str) -> FieldError:
    return FieldError(path=f"spec.styles[{index}].image", message=f"{message}: {detail}", found=uri)


def find_companions(store: Store, manifest: Manifest) -> dict[Companion, dict[str, Pin]]:
    """What the manifest names beside pictures and styles, with what lies there by key; a folder is listed once.

    Raises PlanInvalid where nothing is there at all: no picture could be restyled.
    """
    errors: list[FieldError] = []
    found: dict[Companion, dict[str, Pin]] = {}
    by_place: dict[Ref, dict[str, Pin]] = {}
    for companion, field in companions_of(manifest.spec).items():
        place = companion.at
        try:
            if place not in by_place:
                listed = (
                    store.list(place) if companion.is_folder else [o for o in [_find(store, place)] if o is not None]
                )
                by_place[place] = {o.ref.key: Pin(o.ref, o.etag, o.size_bytes) for o in listed}
            found[companion] = by_place[place]
            if not found[companion]:
                errors.append(FieldError(path=field, message="nothing is there", found=str(place)))
        except NotFound as error:
            errors.append(FieldError(path=field, message=str(error), found=str(place)))
    if errors:
        raise PlanInvalid(errors)
    return found


def list_pictures(store: Store, manifest: Manifest) -> list[Listed]:
    """The pictures that the manifest names; raises PlanInvalid where a bucket or a named key is not there."""
    content = manifest.spec.content
    try:
        if content.prefix is not None:
            return list(pictures_among(store.list(naming.parse_uri(content.prefix)), manifest.spec))
        refs = [naming.parse_uri(uri) for uri in dict.fromkeys(content.keys or [])]
        with ThreadPoolExecutor(READERS) as pool:
            found = list(pool.map(lambda ref: _find(store, ref), refs))
    except NotFound as error:
        field = "prefix" if content.prefix is not None else "keys"
        raise PlanInvalid([FieldError(path=f"spec.content.{field}", message=str(error))]) from error
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


def list_results(store: Store, manifest: Manifest) -> dict[str, str]:
    """ETag by key of what lies below the output prefix; raises PlanInvalid where its bucket is not there."""
    prefix = naming.parse_uri(manifest.spec.output.prefix)
    try:
        return {o.ref.key: o.etag for o in store.list(prefix)}
    except NotFound as error:
        raise PlanInvalid([FieldError(path="spec.output.prefix", message=str(error))]) from error


def finished_results(store: Store, bucket: str, name: str) -> dict[str, str]:
    """Result ETag by task id, from the receipts of every earlier run of this name."""
    newest: dict[str, Receipt] = {}
    refs = [o.ref for o in store.list(Ref(bucket, naming.run_prefix(name, "")[:-1])) if "/receipts/" in o.ref.key]
    with ThreadPoolExecutor(READERS) as pool:
        for r in itertools.chain.from_iterable(pool.map(lambda ref: receipt.from_lines(store.get(ref).data), refs)):
            if r.outcome == "done" and (r.task_id not in newest or newest[r.task_id].finished_at < r.finished_at):
                newest[r.task_id] = r
    return {task_id: r.result_etag for task_id, r in newest.items()}
