"""Looks come from the bucket where they are there, and say what they were made of."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stylefleet import pictures, style_cache
from stylefleet.engine import Engine, Looks, blend, load_engine, style_target, to_bytes
from stylefleet.errors import ImageInvalid, NotFound
from stylefleet.naming import Ref
from stylefleet.presets import recipe_for
from stylefleet.recipe import Recipe, Refinement, Scale
from stylefleet.store_memory import MemoryStore
from tests.engine.pictures import painting

RECIPE = recipe_for(
    size_px=64,
    scales=(Scale(size_px=32, iterations=1), Scale(size_px=64, iterations=1)),
    refine=(Refinement(box=(0, 0, 0.5, 0.5), zoom=1.5, iterations=1),),
    precision="float32",
)


def png(seed: int) -> bytes:
    return pictures.encode(painting(seed=seed), format="png", quality=90)


def equal(one: Looks, other: Looks) -> bool:
    def numbers(looks: Looks) -> Iterable[np.ndarray]:
        return (a for stage in looks for t in stage for s in t.layers.values() for a in (s.mean, s.gram))

    return all(np.array_equal(a, b) for a, b in zip(numbers(one), numbers(other), strict=True))


class Counting(MemoryStore):
    def __init__(self) -> None:
        super().__init__("service")
        self.gets: list[str] = []
        self.puts: list[str] = []

    def get(self, ref: Ref, **options: Any) -> Any:
        self.gets.append(ref.key)
        return super().get(ref, **options)

    def put(self, ref: Ref, data: bytes, **options: Any) -> str:
        self.puts.append(ref.key)
        return super().put(ref, data, **options)


def test_there_is_one_look_for_each_stage_and_region_of_the_blend_of_its_styles(engine: Engine) -> None:
    groups = [[(png(1), 0.25), (png(2), 0.75)], [(png(3), 1.0)]]
    found = style_cache.looks(MemoryStore("service"), "service", engine, groups, RECIPE).looks
    assert [[t.size_px for t in stage] for stage in found] == [[32, 32], [64, 64], [96, 96]]
    one, two, three = (painting(seed=seed) for seed in (1, 2, 3))
    wanted = tuple(
        (
            blend([(style_target(engine, one, size), 0.25), (style_target(engine, two, size), 0.75)]),
            blend([(style_target(engine, three, size), 1.0)]),
        )
        for size in (32, 64, 96)
    )
    assert equal(found, wanted)


def test_a_style_is_made_once_for_all_regions_and_once_for_all_workers(engine: Engine) -> None:
    store = Counting()
    groups = [[(png(1), 1.0)], [(png(1), 2.0)]]
    first = style_cache.looks(store, "service", engine, groups, RECIPE)
    assert len(store.puts) == len(set(store.puts)) == len(store.gets) == 3
    second = style_cache.looks(store, "service", engine, groups, RECIPE)
    assert len(store.puts) == 3
    assert equal(first.looks, second.looks)
    assert (first.hits, first.misses, second.hits, second.misses) == (0, 3, 3, 0)


def test_a_damaged_entry_is_made_anew_and_written_over(engine: Engine) -> None:
    store = Counting()
    groups = [[(png(1), 1.0)]]
    first = style_cache.looks(store, "service", engine, groups, RECIPE).looks
    key = store.puts[0]
    store.put(Ref("service", key), b"damaged")
    second = style_cache.looks(store, "service", engine, groups, RECIPE)
    assert equal(second.looks, first)
    assert (second.hits, second.misses) == (2, 1)
    assert store.puts[-1] == key
    assert store.get(Ref("service", key)).data != b"damaged"


def test_workers_that_race_for_a_style_all_get_it_and_leave_whole_entries(engine: Engine) -> None:
    """All find nothing before any has written, as when the shards of a run start at once."""
    everybody_looked = threading.Barrier(4)

    class Racing(Counting):
        def get(self, ref: Ref, **options: Any) -> Any:
            try:
                return super().get(ref, **options)
            except NotFound:
                everybody_looked.wait(timeout=60)
                raise

    store, groups = Racing(), [[(png(1), 1.0)]]
    with ThreadPoolExecutor(4) as pool:
        raced = list(pool.map(lambda _: style_cache.looks(store, "service", engine, groups, RECIPE).looks, range(4)))
    assert len(store.puts) == 4 * 3
    assert all(equal(raced[0], looks) for looks in raced)
    after = len(store.puts)
    assert equal(style_cache.looks(store, "service", engine, groups, RECIPE).looks, raced[0])
    assert len(store.puts) == after


def test_a_layer_of_weight_0_is_not_in_an_entry_and_not_in_its_key(engine: Engine) -> None:
    without = replace(RECIPE, style_layers=RECIPE.style_layers[:-1])
    of_weight_0 = replace(
        RECIPE, style_layers=(*RECIPE.style_layers[:-1], replace(RECIPE.style_layers[-1], weight=0.0))
    )
    keys = [style_cache.cache_key(engine, recipe, b"style", 64) for recipe in (RECIPE, without, of_weight_0)]
    assert keys[1] == keys[2] != keys[0]


def test_an_entry_that_is_not_finite_is_neither_taken_nor_written(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, groups = Counting(), [[(png(1), 1.0)]]
    good = style_cache.looks(store, "service", engine, groups, RECIPE).looks
    poisoned = replace(
        good[0][0], layers={n: replace(s, gram=np.full_like(s.gram, np.inf)) for n, s in good[0][0].layers.items()}
    )
    key = store.puts[0]
    store.put(Ref("service", key), to_bytes(poisoned))
    assert equal(style_cache.looks(store, "service", engine, groups, RECIPE).looks, good)
    assert store.puts[-1] == key
    monkeypatch.setattr("stylefleet.engine.style_target", lambda *_: poisoned)
    with pytest.raises(ImageInvalid, match="looked at in float32, the style's statistics are not finite"):
        style_cache.looks(Counting(), "service", engine, groups, RECIPE)


@pytest.mark.parametrize(
    "changes",
    [
        {"pooling": "average"},
        {"style_layers": RECIPE.style_layers[:2]},
        {"backbone": "vgg19-imagenet"},
    ],
    ids=str,
)
def test_the_key_of_an_entry_names_all_that_its_numbers_depend_on(engine: Engine, changes: dict[str, Any]) -> None:
    other: Recipe = replace(RECIPE, **changes)
    engines = replace(engine, weights_sha256="of another backbone") if "backbone" in changes else engine
    key = style_cache.cache_key(engine, RECIPE, b"style", 64)
    assert style_cache.cache_key(engines, other, b"style", 64) != key
    assert style_cache.cache_key(engine, RECIPE, b"another", 64) != key
    assert style_cache.cache_key(engine, RECIPE, b"style", 32) != key
    assert style_cache.cache_key(replace(engine, precision="mixed_bfloat16"), RECIPE, b"style", 64) != key
    assert style_cache.cache_key(engine, replace(RECIPE, content_weight=1.0), b"style", 64) == key


def test_an_entry_of_a_recipe_is_of_no_use_to_one_with_other_layers_and_says_so_by_its_key() -> None:
    store = Counting()
    recipe = replace(RECIPE, style_layers=RECIPE.style_layers[:2])
    groups = [[(png(1), 1.0)]]
    for one in (RECIPE, recipe):
        found = style_cache.looks(store, "service", load_engine(one), groups, one).looks
        assert {w.layer for w in one.style_layers} <= set(found[0][0].layers)
    assert len(set(store.puts)) == 6
