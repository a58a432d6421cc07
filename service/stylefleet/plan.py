"""The plan: the deterministic division of a run into shards, written once. Pure: listings in, records out."""

from __future__ import annotations

import fnmatch
import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Literal

from stylefleet import naming
from stylefleet.companions import Companion, Listing, Pin, pin
from stylefleet.errors import FieldError, PlanInvalid, RecordUnreadable
from stylefleet.manifest import ERRORS_MAX, Content, ImageFormat, KeptMetadata, Manifest
from stylefleet.naming import Ref
from stylefleet.recipe import ENGINE_VERSION, Recipe, recipe_from_json, recipe_to_json
from stylefleet.store import Listed

SHARDS_MAX = 10_000
"""Indexes of one Indexed Job with a back-off limit per index stay far below Kubernetes' 100,000 (KEP-3850)."""


@dataclass(frozen=True, kw_only=True)
class StyleShare:
    """One style of a run, pinned to the version that was there at planning."""

    image: Ref
    etag: str
    weight: float
    mask: Ref | None = None
    """Where it applies: a folder or one object; None: where no mask covers."""


def regions(styles: Iterable[StyleShare]) -> dict[Ref | None, list[StyleShare]]:
    """The styles by their mask, in the order of first appearance: each group is blended in its own region."""
    groups: dict[Ref | None, list[StyleShare]] = {}
    for style in styles:
        groups.setdefault(style.mask, []).append(style)
    return groups


@dataclass(frozen=True, kw_only=True)
class Task:
    """One output image; the unit of idempotency."""

    task_id: str
    """SHA-256 (hex) of everything that shapes the result's bytes; see `task_id_for`."""
    content: Ref
    content_etag: str
    size_bytes: int
    """Size of the content object."""
    output: Ref
    """Where the result goes."""
    companions: tuple[Pin, ...] = ()
    """The picture's own of each of the plan's companions, in their order."""

    def to_line(self) -> str:
        fields: list[object] = [
            self.task_id,
            str(self.content),
            self.content_etag,
            self.size_bytes,
            str(self.output),
            *([str(p.ref), p.etag, p.size_bytes] for p in self.companions),
        ]
        return json.dumps(fields, ensure_ascii=False)

    @staticmethod
    def from_line(line: bytes | str) -> Task:
        task_id, content, content_etag, size_bytes, output, *pins = json.loads(line)
        return Task(
            task_id=task_id,
            content=naming.parse_uri(content),
            content_etag=content_etag,
            size_bytes=size_bytes,
            output=naming.parse_uri(output),
            companions=tuple(Pin(naming.parse_uri(uri), etag, size) for uri, etag, size in pins),
        )


@dataclass(frozen=True, kw_only=True)
class ShardEntry:
    """One row of the plan's shard table."""

    index: int
    """Completion index of the Indexed Job."""
    tasks: int
    digest: str
    """SHA-256 (hex) of the shard's object, which is named by it: two planners never overwrite each other's shards."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does, all but its tasks, which are in the shards."""

    name: str
    run: str
    manifest_digest: str
    planned_at: datetime
    styles: tuple[StyleShare, ...]
    companions: tuple[Companion, ...]
    """What comes with every picture."""
    recipe: Recipe
    image_format: ImageFormat
    quality: int
    depth: Literal[8, 16]
    """Bits a channel of the results."""
    keep_metadata: tuple[KeptMetadata, ...]
    """What the results carry beside pixels."""
    output_prefix: Ref
    pictures: int
    """Pictures that the manifest names."""
    skipped: int
    """Of these, the ones whose result an earlier run of this name has already made."""
    shards: tuple[ShardEntry, ...]
    parallelism: int
    queue: str | None
    gpus: int

    @property
    def tasks(self) -> int:
        """Pictures that this run computes."""
        return self.pictures - self.skipped


def task_id_for(
    *,
    content: Ref,
    content_etag: str,
    styles: Sequence[StyleShare],
    recipe: Recipe,
    image_format: str,
    quality: int,
    depth: int,
    keep_metadata: Sequence[str],
    companions: Sequence[Companion] = (),
    pins: Sequence[Pin] = (),
) -> str:
    """Identity of a result by everything that shapes its bytes; where it is stored is not part of it."""
    parts = [
        str(content),
        content_etag,
        [[s.etag, s.weight] for s in styles],
        recipe.digest,
        image_format,
        quality,
        depth,
        list(keep_metadata),
        ENGINE_VERSION,
    ]
    if pins:
        # What the masks are and which style has which; not where they lie.
        masks = [c.at for c in companions if c.role == "mask"]
        parts.append([[c.role, p.etag] for c, p in zip(companions, pins, strict=True)])
        parts.append([masks.index(s.mask) if s.mask is not None else -1 for s in styles])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def matches(relative: str, content: Content) -> bool:
    """Whether the path below the content prefix is asked for: some include and no exclude pattern, in any case."""
    lowered = relative.lower()
    return any(fnmatch.fnmatchcase(lowered, p.lower()) for p in content.include) and not any(
        fnmatch.fnmatchcase(lowered, p.lower()) for p in content.exclude
    )


def tasks_for(
    manifest: Manifest,
    styles: Sequence[StyleShare],
    pictures: Iterable[Listed],
    companions: Mapping[Companion, Listing] = MappingProxyType({}),
) -> Iterator[Task]:
    """One task a picture, in the listing's order; raises PlanInvalid where two results would have one key."""
    spec = manifest.spec
    recipe = spec.recipe.to_recipe()
    output = naming.parse_uri(spec.output.prefix)
    base = naming.parse_uri(spec.content.prefix).key if spec.content.prefix is not None else ""
    pictures = list(pictures)
    _refuse_unusable_keys(pictures)

    kinds = tuple(companions)

    def pins_of(picture: Listed) -> tuple[Pin, ...]:
        relative = (
            picture.ref.key[len(base) :] if spec.content.prefix is not None else picture.ref.key.rpartition("/")[2]
        )
        return tuple(pin(companion, relative, listing) for companion, listing in companions.items())

    # Mostly empty: sources that lie where the results go.
    beside = any(c.at.bucket == output.bucket and c.at.key.startswith(output.key) for c in companions)
    endangered = {
        ref
        for ref in itertools.chain(
            (p.ref for p in pictures),
            (s.image for s in styles),
            (found.ref for p in pictures if beside for found in pins_of(p)),
        )
        if ref.bucket == output.bucket and ref.key.startswith(output.key)
    }
    source_by_output: dict[str, Ref] = {}
    for picture in pictures:
        relative = picture.ref.key[len(base) :]
        target = Ref(output.bucket, output.key + naming.output_path(relative, spec.output.format))
        moved = f"{picture.ref} -> {target}"
        other = source_by_output.setdefault(target.key, picture.ref)
        if other != picture.ref:
            message = "two pictures would have the same result"
            raise _refusal("spec.content", message, f"{other} and {moved}", "exclude one of them")
        if target in endangered:
            message = "a result would overwrite a source picture"
            raise _refusal("spec.output.prefix", message, moved, "a folder without sources")
        fault = naming.key_fault(target.key)
        if fault:
            raise _refusal("spec.content", f"in the result's place {fault}", moved, "exclude or rename it")
        pins = pins_of(picture)
        for companion, found in zip(companions, pins, strict=True):
            fault = naming.key_fault(found.ref.key)
            if fault:
                message = f"in the place of its {companion.noun} {fault}"
                raise _refusal("spec.content", message, f"{picture.ref} -> {found.ref}", "exclude or rename it")
        yield Task(
            task_id=task_id_for(
                content=picture.ref,
                content_etag=picture.etag,
                styles=styles,
                recipe=recipe,
                image_format=spec.output.format,
                quality=spec.output.quality,
                depth=spec.output.depth,
                keep_metadata=spec.output.keep_metadata,
                companions=kinds,
                pins=pins,
            ),
            content=picture.ref,
            content_etag=picture.etag,
            size_bytes=picture.size_bytes,
            output=target,
            companions=pins,
        )


def _refuse_unusable_keys(pictures: Iterable[Listed]) -> None:
    """A listing may hold keys that no manifest may name; said at once, rather than a shard that cannot be read."""
    faults = ((p.ref, naming.key_fault(p.ref.key)) for p in pictures)
    errors = [
        FieldError(path="spec.content", message=fault, found=_shorten(str(ref)), allowed="exclude or rename it")
        for ref, fault in faults
        if fault
    ]
    if errors:
        raise PlanInvalid(errors[:ERRORS_MAX])


def _refusal(path: str, message: str, found: str, allowed: str) -> PlanInvalid:
    return PlanInvalid([FieldError(path=path, message=message, found=_shorten(found), allowed=allowed)])


def _shorten(text: str) -> str:
    return text if len(text) <= 400 else text[:397] + "..."


def not_yet_done(
    tasks: Iterable[Task], etag_by_task: Mapping[str, str], etag_by_output: Mapping[str, str]
) -> Iterator[Task]:
    """Tasks without a finished result: no receipt of an earlier run, or a result that is gone or was replaced."""
    for task in tasks:
        etag = etag_by_task.get(task.task_id)
        if etag is None or etag_by_output.get(task.output.key) != etag:
            yield task


def tasks_per_shard(tasks: int, *, seconds_per_task: float, shard_seconds: float, parallelism: int) -> int:
    """Tasks of each shard: about `shard_seconds` of work, enough shards for all workers, not too many shards."""
    by_time = max(1, round(shard_seconds / seconds_per_task))
    by_workers = max(1, math.ceil(tasks / parallelism))
    by_limit = math.ceil(tasks / SHARDS_MAX)
    return max(min(by_time, by_workers), by_limit)


def shard_bytes(tasks: Iterable[Task]) -> bytes:
    """A shard's object: its tasks, one JSON line each."""
    return "".join(t.to_line() + "\n" for t in tasks).encode()


def tasks_from_bytes(data: bytes) -> list[Task]:
    """The inverse of `shard_bytes`. Raises RecordUnreadable."""
    # Lines of bytes, not of text: str.splitlines() also breaks at U+2028 and its like, which a key may hold.
    try:
        return [Task.from_line(line) for line in data.splitlines()]
    except (TypeError, ValueError) as error:
        raise RecordUnreadable(f"a shard cannot be read: {error!r}") from error


def plan_to_json(plan: Plan) -> bytes:
    """The plan's object; deterministic."""
    document = {
        "name": plan.name,
        "run": plan.run,
        "manifestDigest": plan.manifest_digest,
        "plannedAt": plan.planned_at.isoformat(),
        "styles": [
            {"image": str(s.image), "etag": s.etag, "weight": s.weight, "mask": s.mask and str(s.mask)}
            for s in plan.styles
        ],
        "companions": [[c.role, str(c.at)] for c in plan.companions],
        "recipe": recipe_to_json(plan.recipe),
        "recipeDigest": plan.recipe.digest,
        "format": plan.image_format,
        "quality": plan.quality,
        "depth": plan.depth,
        "keepMetadata": list(plan.keep_metadata),
        "outputPrefix": str(plan.output_prefix),
        "pictures": plan.pictures,
        "skipped": plan.skipped,
        "shards": [[s.index, s.tasks, s.digest] for s in plan.shards],
        "parallelism": plan.parallelism,
        "queue": plan.queue,
        "gpus": plan.gpus,
    }
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def plan_from_json(data: bytes) -> Plan:
    """The inverse of `plan_to_json`. Raises RecordUnreadable."""
    try:
        return _plan_from(json.loads(data))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"a plan cannot be read: {error!r}") from error


def _plan_from(d: dict[str, Any]) -> Plan:
    return Plan(
        name=d["name"],
        run=d["run"],
        manifest_digest=d["manifestDigest"],
        planned_at=datetime.fromisoformat(d["plannedAt"]),
        styles=tuple(
            StyleShare(
                image=naming.parse_uri(s["image"]),
                etag=s["etag"],
                weight=s["weight"],
                mask=s["mask"] and naming.parse_uri(s["mask"]),
            )
            for s in d["styles"]
        ),
        companions=tuple(Companion(role=role, at=naming.parse_uri(uri)) for role, uri in d["companions"]),
        recipe=recipe_from_json(d["recipe"]),
        image_format=d["format"],
        quality=d["quality"],
        # Plans of earlier versions lack the next two.
        depth=d.get("depth", 8),
        keep_metadata=tuple(d.get("keepMetadata", ())),
        output_prefix=naming.parse_uri(d["outputPrefix"]),
        pictures=d["pictures"],
        skipped=d["skipped"],
        shards=tuple(ShardEntry(index=i, tasks=n, digest=h) for i, n, h in d["shards"]),
        parallelism=d["parallelism"],
        queue=d["queue"],
        gpus=d["gpus"],
    )
