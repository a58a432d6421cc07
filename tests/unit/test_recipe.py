"""The recipe: presets become scales, and its digest is the identity of a look."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet.recipe import (
    ITERATIONS_BY_PRESET,
    PRESETS,
    SCALE_PX_MIN,
    SIZE_PX_MAX,
    SIZE_PX_MIN,
    Preset,
    Scale,
    recipe_for,
    recipe_from_json,
    recipe_to_json,
    scales_for,
)


def test_a_preset_goes_from_coarse_to_the_full_size() -> None:
    assert scales_for(preset="balanced", size_px=512) == (
        Scale(size_px=128, iterations=100),
        Scale(size_px=256, iterations=60),
        Scale(size_px=512, iterations=30),
    )


@given(st.sampled_from(PRESETS), st.integers(SIZE_PX_MIN, SIZE_PX_MAX))
def test_every_size_has_scales_that_grow_to_it_and_the_coarsest_has_the_most_steps(preset: Preset, size: int) -> None:
    scales = scales_for(preset=preset, size_px=size)
    sizes = [s.size_px for s in scales]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == size
    assert scales[0].iterations == max(ITERATIONS_BY_PRESET[preset])
    assert all(s.iterations >= 1 for s in scales)
    assert all(s >= SCALE_PX_MIN for s in sizes) or len(sizes) == 1


CHANGES = {
    "backbone": "vgg19-imagenet",
    "scales": (Scale(size_px=64, iterations=1),),
    "content_weight": 2e3,
    "style_weight": 2e-2,
    "tv_weight": 2.0,
    "seed": 1,
    "precision": "float32",
}


def test_the_list_of_changes_names_every_field() -> None:
    assert {f.name for f in fields(recipe_for())} == set(CHANGES)


@pytest.mark.parametrize("field", CHANGES)
def test_each_field_is_part_of_the_digest(field: str) -> None:
    recipe = recipe_for()
    assert replace(recipe, **{field: CHANGES[field]}).digest != recipe.digest


def test_whole_numbers_and_their_decimals_are_one_recipe() -> None:
    assert recipe_for(content_weight=1000).digest == recipe_for(content_weight=1e3).digest


def test_a_recipe_survives_json() -> None:
    recipe = recipe_for(preset="fine", size_px=1024, seed=7)
    assert recipe_from_json(json.loads(json.dumps(recipe_to_json(recipe)))) == recipe
