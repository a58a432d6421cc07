"""Planning as one would write it for a hundred pictures, with lists and dicts: what the real one must come to, too."""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from stylefleet import naming
from stylefleet.companions import Companion, Pin, pin
from stylefleet.errors import FieldError, PlanInvalid
from stylefleet.field_errors import ERRORS_MAX
from stylefleet.manifest import Content, Manifest
from stylefleet.naming import Ref
from stylefleet.plan import StyleShare
from stylefleet.receipt import Receipt
from stylefleet.recipe import ENGINE_VERSION, Recipe
from stylefleet.store import Listed
from stylefleet.tasks import Task

Pins = Mapping[str, Pin]
"""What lies in a companion's folder, by key."""


def task_id(
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
        masks = [c.at for c in companions if c.role == "mask"]
        parts.append([[c.role, p.etag] for c, p in zip(companions, pins, strict=True)])
        parts.append([masks.index(s.mask) if s.mask is not None else -1 for s in styles])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def matches(relative: str, content: Content) -> bool:
    lowered = relative.lower()
    return any(fnmatch.fnmatchcase(lowered, p.lower()) for p in content.include) and not any(
        fnmatch.fnmatchcase(lowered, p.lower()) for p in content.exclude
    )


def tasks_for(
    manifest: Manifest,
    styles: Sequence[StyleShare],
    pictures: Sequence[Listed],
    pins_by_companion: Mapping[Companion, Pins],
) -> list[Task]:
    """One task a picture; raises PlanInvalid for the first that is impossible."""
    spec = manifest.spec
    output = naming.parse_uri(spec.output.prefix)
    base = None if spec.content.prefix is None else naming.parse_uri(spec.content.prefix).key
    faults = [(p, naming.key_fault(p.ref.key)) for p in pictures]
    if any(fault for _, fault in faults):
        errors = [_error("spec.content", f, str(p.ref), "exclude or rename it") for p, f in faults if f]
        raise PlanInvalid(errors[:ERRORS_MAX])

    def pins_of(picture: Listed) -> tuple[Pin, ...]:
        key = picture.ref.key
        relative = key.rpartition("/")[2] if base is None else key[len(base) :]
        return tuple(pin(companion, relative, pins.get) for companion, pins in pins_by_companion.items())

    def among_results(ref: Ref) -> bool:
        return ref.bucket == output.bucket and ref.key.startswith(output.key)

    sources = [p.ref for p in pictures] + [s.image for s in styles]
    if any(among_results(c.at) for c in pins_by_companion):
        sources += [found.ref for p in pictures for found in pins_of(p)]
    endangered = {ref for ref in sources if among_results(ref)}
    source_by_output: dict[str, Ref] = {}
    tasks = []
    for picture in pictures:
        relative = picture.ref.key[len(base or "") :]
        target = Ref(output.bucket, output.key + naming.output_path(relative, spec.output.format))
        pins = pins_of(picture)
        moved = f"{picture.ref} -> {target}"
        first = source_by_output.setdefault(target.key, picture.ref)
        if first != picture.ref:
            message = "two pictures would have the same result"
            raise PlanInvalid([_error("spec.content", message, f"{first} and {moved}", "exclude one of them")])
        if target in endangered:
            message = "a result would overwrite a source picture"
            raise PlanInvalid([_error("spec.output.prefix", message, moved, "a folder without sources")])
        places = [("in the result's place", target)]
        places += [(f"in the place of its {c.noun}", p.ref) for c, p in zip(pins_by_companion, pins, strict=True)]
        for where, ref in places:
            fault = naming.key_fault(ref.key)
            if fault:
                found = f"{picture.ref} -> {ref}"
                raise PlanInvalid([_error("spec.content", f"{where} {fault}", found, "exclude or rename it")])
        tasks.append(
            Task(
                task_id=task_id(
                    content=picture.ref,
                    content_etag=picture.etag,
                    styles=styles,
                    recipe=spec.recipe.to_recipe(),
                    image_format=spec.output.format,
                    quality=spec.output.quality,
                    depth=spec.output.depth,
                    keep_metadata=spec.output.keep_metadata,
                    companions=tuple(pins_by_companion),
                    pins=pins,
                ),
                content=picture.ref,
                content_etag=picture.etag,
                size_bytes=picture.size_bytes,
                output=target,
                companions=pins,
            )
        )
    return tasks


def _error(path: str, message: str, found: str, allowed: str) -> FieldError:
    found = found if len(found) <= 400 else found[:397] + "..."
    return FieldError(path=path, message=message, found=found, allowed=allowed)


def not_yet_done(tasks: Iterable[Task], receipts: Iterable[Receipt], etag_by_output: Mapping[str, str]) -> list[Task]:
    """Tasks without a finished result: no receipt of an earlier run, or a result that is gone or was replaced."""
    newest: dict[str, Receipt] = {}
    for r in receipts:
        if r.outcome == "done" and (r.task_id not in newest or newest[r.task_id].finished_at < r.finished_at):
            newest[r.task_id] = r
    return [
        task
        for task in tasks
        if task.task_id not in newest or etag_by_output.get(task.output.key) != newest[task.task_id].result_etag
    ]
