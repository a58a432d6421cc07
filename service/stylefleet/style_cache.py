"""Style targets in the bucket: each is computed once for all shards, runs and users of a style.

Content-addressed, so two workers that race write the same bytes, and nothing is ever out of date. An entry with a wrong
checksum is computed anew and written over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import structlog

from stylefleet import engine as engines
from stylefleet import naming, pictures
from stylefleet.errors import NotFound
from stylefleet.naming import Ref
from stylefleet.recipe import ENGINE_VERSION, Recipe
from stylefleet.store import Store

log = structlog.get_logger(__name__)

Weighted = tuple[bytes, float]
"""A style picture's file and its share."""


def targets(
    store: Store, bucket: str, engine: engines.Engine, styles: Sequence[Weighted], recipe: Recipe
) -> tuple[engines.StyleTarget, ...]:
    """The blended style target of each scale of the recipe, from the cache where it has them."""
    pixels_by_digest: dict[str, np.ndarray] = {}
    return tuple(
        engines.blend(
            [(_target(store, bucket, engine, data, scale.size_px, pixels_by_digest), weight) for data, weight in styles]
        )
        for scale in recipe.scales
    )


def cache_key(engine: engines.Engine, data: bytes, size_px: int) -> str:
    """Key of a style's target at one scale: everything that its numbers depend on."""
    facts = [hashlib.sha256(data).hexdigest(), engine.weights_sha256, engine.precision, size_px, ENGINE_VERSION]
    return naming.style_cache_key(hashlib.sha256(json.dumps(facts).encode()).hexdigest())


def _target(
    store: Store,
    bucket: str,
    engine: engines.Engine,
    data: bytes,
    size_px: int,
    pixels_by_digest: dict[str, np.ndarray],
) -> engines.StyleTarget:
    ref = Ref(bucket, cache_key(engine, data, size_px))
    try:
        target = engines.from_bytes(store.get(ref).data)
    except NotFound:
        log.info("style_target_miss", key=ref.key)
    except engines.StyleTargetCorrupt as error:
        log.warning("style_target_corrupt", key=ref.key, error=str(error))
    else:
        log.info("style_target_hit", key=ref.key)
        return target
    digest = hashlib.sha256(data).hexdigest()
    if digest not in pixels_by_digest:
        pixels_by_digest[digest] = pictures.decode(data)
    target = engines.style_target(engine, pixels_by_digest[digest], size_px)
    store.put(ref, engines.to_bytes(target))
    return target
