"""The plan: the deterministic division of a run into shards, written once. Records and their JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from stylefleet import naming
from stylefleet.companions import Companion
from stylefleet.errors import RecordUnreadable
from stylefleet.naming import Ref
from stylefleet.recipe import Recipe, recipe_from_json, recipe_to_json
from stylefleet.terms import Terms, terms_from_json, terms_to_json

if TYPE_CHECKING:
    # Its models take long to make, and commands that only read statuses need none of them.
    from stylefleet.manifest import ImageFormat, KeptMetadata


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
    terms: Terms
    seconds_per_picture: float = 0.0
    """What a picture was predicted to take a worker, by which the shards were cut; 0: not known, in an older plan."""
    seconds_source: str = ""
    """How that was known, for people."""

    @property
    def tasks(self) -> int:
        """Pictures that this run computes."""
        return self.pictures - self.skipped


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
        "terms": terms_to_json(plan.terms),
        "secondsPerPicture": plan.seconds_per_picture,
        "secondsSource": plan.seconds_source,
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
        # Plans of earlier versions lack these.
        terms=terms_from_json(d.get("terms", {})),
        seconds_per_picture=d.get("secondsPerPicture", 0.0),
        seconds_source=d.get("secondsSource", ""),
    )
