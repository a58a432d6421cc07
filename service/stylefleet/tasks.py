"""Tasks: one a picture, named by all that shapes its result, and their shards. Pure: listings in, records out."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from stylefleet import naming
from stylefleet.companions import Companion, Listing, Pin, companions_of, pin
from stylefleet.errors import FieldError, PlanInvalid, RecordUnreadable
from stylefleet.field_errors import ERRORS_MAX
from stylefleet.manifest import Content, Manifest, Spec
from stylefleet.naming import Ref
from stylefleet.plan import StyleShare
from stylefleet.recipe import ENGINE_VERSION, Recipe
from stylefleet.store import Listed

SHARDS_MAX = 10_000
"""Indexes of one Indexed Job with a back-off limit per index stay far below Kubernetes' 100,000 (KEP-3850)."""


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


def pictures_among(listed: Iterable[Listed], spec: Spec) -> Iterator[Listed]:
    """Of what lies below the content prefix, the pictures to restyle: what the patterns ask for, without the run's own
    styles, masks and starts where these lie there too."""
    prefix = naming.parse_uri(spec.content.prefix or "")
    styles = {naming.parse_uri(style.image) for style in spec.styles}
    beside = [c.at for c in companions_of(spec) if c.at != prefix and naming.is_below(c.at, prefix)]
    for each in listed:
        asked_for = matches(each.ref.key[len(prefix.key) :], spec.content)
        if asked_for and each.ref not in styles and not any(naming.is_below(each.ref, at) for at in beside):
            yield each


def tasks_for(
    manifest: Manifest,
    styles: Sequence[StyleShare],
    pictures: Iterable[Listed],
    companions: Mapping[Companion, Listing] = MappingProxyType({}),
) -> Iterator[Task]:
    """One task a picture, in the listing's order; raises PlanInvalid where two results would have one key."""
    spec = manifest.spec
    pictures = list(pictures)
    _refuse_unusable_keys(pictures)
    places = _Places.of(manifest, companions)
    endangered = places.sources_among_results(pictures, styles)
    identify = partial(
        task_id_for,
        styles=styles,
        recipe=spec.recipe.to_recipe(),
        image_format=spec.output.format,
        quality=spec.output.quality,
        depth=spec.output.depth,
        keep_metadata=spec.output.keep_metadata,
        companions=tuple(companions),
    )
    source_by_output: dict[str, Ref] = {}
    for picture in pictures:
        target, pins = places.result_of(picture), places.pins_of(picture)
        _refuse_clash(picture.ref, target, source_by_output.setdefault(target.key, picture.ref), endangered)
        _refuse_unusable_places(picture.ref, target, zip(companions, pins, strict=True))
        yield Task(
            task_id=identify(content=picture.ref, content_etag=picture.etag, pins=pins),
            content=picture.ref,
            content_etag=picture.etag,
            size_bytes=picture.size_bytes,
            output=target,
            companions=pins,
        )


@dataclass(frozen=True, kw_only=True)
class _Places:
    """What belongs to a picture by its key."""

    base: str | None
    """Key of the content prefix; None where pictures are named one by one."""
    output: Ref
    image_format: str
    companions: Mapping[Companion, Listing]

    @staticmethod
    def of(manifest: Manifest, companions: Mapping[Companion, Listing]) -> _Places:
        spec = manifest.spec
        return _Places(
            base=None if spec.content.prefix is None else naming.parse_uri(spec.content.prefix).key,
            output=naming.parse_uri(spec.output.prefix),
            image_format=spec.output.format,
            companions=companions,
        )

    def result_of(self, picture: Listed) -> Ref:
        relative = picture.ref.key[len(self.base or "") :]
        return Ref(self.output.bucket, self.output.key + naming.output_path(relative, self.image_format))

    def pins_of(self, picture: Listed) -> tuple[Pin, ...]:
        key = picture.ref.key
        relative = key.rpartition("/")[2] if self.base is None else key[len(self.base) :]
        return tuple(pin(companion, relative, listing) for companion, listing in self.companions.items())

    def sources_among_results(self, pictures: Iterable[Listed], styles: Iterable[StyleShare]) -> set[Ref]:
        """Sources that lie where the results go; mostly none."""
        sources = [p.ref for p in pictures] + [s.image for s in styles]
        if any(self._is_among_results(c.at) for c in self.companions):
            sources += [found.ref for p in pictures for found in self.pins_of(p)]
        return {ref for ref in sources if self._is_among_results(ref)}

    def _is_among_results(self, ref: Ref) -> bool:
        return ref.bucket == self.output.bucket and ref.key.startswith(self.output.key)


def _refuse_clash(source: Ref, target: Ref, first_source: Ref, endangered: set[Ref]) -> None:
    moved = f"{source} -> {target}"
    if first_source != source:
        message = "two pictures would have the same result"
        raise _refusal("spec.content", message, f"{first_source} and {moved}", "exclude one of them")
    if target in endangered:
        message = "a result would overwrite a source picture"
        raise _refusal("spec.output.prefix", message, moved, "a folder without sources")


def _refuse_unusable_places(source: Ref, target: Ref, pins: Iterable[tuple[Companion, Pin]]) -> None:
    places = [("in the result's place", target), *((f"in the place of its {c.noun}", p.ref) for c, p in pins)]
    for where, ref in places:
        fault = naming.key_fault(ref.key)
        if fault:
            raise _refusal("spec.content", f"{where} {fault}", f"{source} -> {ref}", "exclude or rename it")


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
