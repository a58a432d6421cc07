"""Style targets in the bucket: each is computed once for all shards, runs and users of a style.

Content-addressed, so two workers that race write the same bytes, and nothing is ever out of date. An entry with a wrong
checksum is computed anew and written over.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from stylefleet import engine as engines
from stylefleet import naming, pictures
from stylefleet.errors import ImageInvalid, NotFound
from stylefleet.naming import Ref
from stylefleet.recipe import ENGINE_VERSION, Recipe
from stylefleet.store import Store

log = structlog.get_logger(__name__)

Weighted = tuple[bytes, float]
"""A style picture's file and its share."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """Looks, and where their targets came from."""

    looks: engines.Looks
    hits: int
    """Targets that were in the cache."""
    misses: int
    """Targets that had to be computed."""


def looks(
    store: Store,
    bucket: str,
    engine: engines.Engine,
    groups: Sequence[Sequence[Weighted]],
    recipe: Recipe,
    *,
    tenant: str = "",
) -> Found:
    """The blended style target of each stage of the recipe and each region, from the cache where it has them.

    `groups` has the styles of each region; `tenant` is whose cache it is. Only for recipes that take the style's own
    colours: other looks depend on the contents too. Raises ImageInvalid.
    """
    cache = _Cache(store, bucket, engine, recipe, tenant)
    found = tuple(
        tuple(engines.blend([(cache.target(data, size_px), weight) for data, weight in group]) for group in groups)
        for size_px in recipe.style_sizes_px
    )
    return Found(looks=found, hits=cache.hits, misses=cache.misses)


def cache_key(engine: engines.Engine, recipe: Recipe, data: bytes, size_px: int, tenant: str = "") -> str:
    """Key of a style's target at one size: everything that its numbers depend on."""
    facts = [
        hashlib.sha256(data).hexdigest(),
        engine.weights_sha256,
        engine.precision,
        recipe.pooling,
        [w.layer for w in recipe.style_layers if w.weight > 0],  # others are not looked at, and not in the target
        size_px,
        ENGINE_VERSION,
    ]
    return naming.style_cache_key(hashlib.sha256(json.dumps(facts).encode()).hexdigest(), tenant)


class _Cache:
    """The targets of one recipe; a style that several regions or stages share is looked up and decoded once."""

    def __init__(self, store: Store, bucket: str, engine: engines.Engine, recipe: Recipe, tenant: str) -> None:
        self._store = store
        self._bucket = bucket
        self._engine = engine
        self._recipe = recipe
        self._tenant = tenant
        self._targets: dict[str, engines.StyleTarget] = {}
        self._pixels: dict[bytes, np.ndarray] = {}
        self.hits = self.misses = 0

    def target(self, data: bytes, size_px: int) -> engines.StyleTarget:
        key = cache_key(self._engine, self._recipe, data, size_px, self._tenant)
        if key not in self._targets:
            stored = self._stored(key)
            if stored is None:
                self.misses += 1
                self._targets[key] = self._made(key, data, size_px)
            else:
                self.hits += 1
                self._targets[key] = stored
        return self._targets[key]

    def _stored(self, key: str) -> engines.StyleTarget | None:
        try:
            target = engines.from_bytes(self._store.get(Ref(self._bucket, key)).data)
        except NotFound:
            log.info("style_target_miss", key=key)
        except engines.StyleTargetCorrupt as error:
            log.warning("style_target_corrupt", key=key, error=str(error))
        else:
            if target.finite:
                log.info("style_target_hit", key=key)
                return target
            log.warning("style_target_not_finite", key=key)
        return None

    def _made(self, key: str, data: bytes, size_px: int) -> engines.StyleTarget:
        if data not in self._pixels:
            self._pixels[data] = pictures.decode(data)
        target = engines.style_target(self._engine, self._pixels[data], size_px)
        if not target.finite:
            sentence = f"looked at in {self._engine.precision}, the style's statistics are not finite; use float32"
            raise ImageInvalid("style_not_finite", sentence)
        self._store.put(Ref(self._bucket, key), engines.to_bytes(target))
        return target
