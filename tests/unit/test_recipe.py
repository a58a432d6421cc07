"""The recipe: presets become scales, rules have places, and its digest is the identity of a look."""

from __future__ import annotations

import itertools
import json
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet.presets import PRESET_NUMBERS, SCALE_PX_MIN, recipe_for, scales_for
from stylefleet.recipe import (
    BACKBONES,
    ITERATIONS_MAX,
    PRESETS,
    SIZE_PX_MAX,
    SIZE_PX_MIN,
    ZOOM_MAX,
    LayerWeight,
    Preset,
    Recipe,
    Refinement,
    Scale,
    recipe_from_json,
    recipe_to_json,
)
from stylefleet.recipe_rules import RecipeInvalid, check

# --- scales -----------------------------------------------------------------------------------------------------------


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
    assert scales[0].iterations == max(PRESET_NUMBERS[preset].iterations)
    assert all(s.iterations >= 1 for s in scales)
    assert all(s >= SCALE_PX_MIN for s in sizes) or len(sizes) == 1
    check(recipe_for(preset=preset, size_px=size))


@given(st.lists(st.builds(Scale, size_px=st.integers(1, SIZE_PX_MAX + 9), iterations=st.integers(0, 9)), min_size=1))
def test_scales_of_ones_own_are_taken_as_they_are_where_they_grow_and_are_in_range(scales: list[Scale]) -> None:
    sizes = [s.size_px for s in scales]
    good = (
        all(SIZE_PX_MIN <= size <= SIZE_PX_MAX for size in sizes)
        and all(a < b for a, b in itertools.pairwise(sizes))
        and all(s.iterations >= 1 for s in scales)
    )
    if not good:
        with pytest.raises(RecipeInvalid):
            recipe_for(size_px=sizes[-1], scales=scales)
        return
    recipe = recipe_for(size_px=sizes[-1], scales=scales)
    assert recipe.scales == tuple(scales)
    assert recipe.size_px == sizes[-1]
    assert recipe.iterations_total == sum(s.iterations for s in scales)


# --- refinements ------------------------------------------------------------------------------------------------------

edges = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted).filter(lambda pair: pair[1] - pair[0] > 1e-6)
boxes = st.tuples(edges, edges).map(lambda e: (e[0][0], e[1][0], e[0][1], e[1][1]))
refinements = st.builds(Refinement, box=boxes, zoom=st.floats(1, ZOOM_MAX), iterations=st.just(1))


@given(refinements, st.integers(16, 5000), st.integers(16, 5000))
def test_the_crop_of_a_refinement_stays_inside_the_picture_and_contains_the_box(
    refinement: Refinement, width: int, height: int
) -> None:
    left, top, right, bottom = refinement.crop(width, height)
    box_left, box_top, box_right, box_bottom = refinement.box
    assert 0 <= left <= box_left * width < box_right * width <= right <= width
    assert 0 <= top <= box_top * height < box_bottom * height <= bottom <= height


@given(refinements, st.integers(16, 5000), st.integers(16, 5000))
def test_the_crop_is_optimized_at_the_zoom_of_its_own_size(refinement: Refinement, width: int, height: int) -> None:
    left, top, right, bottom = refinement.crop(width, height)
    crop_width, crop_height = refinement.crop_size(width, height)
    assert abs(crop_width - (right - left) * refinement.zoom) <= 0.5
    assert abs(crop_height - (bottom - top) * refinement.zoom) <= 0.5


middle = st.tuples(st.floats(0.3, 0.45), st.floats(0.3, 0.45), st.floats(0.55, 0.7), st.floats(0.55, 0.7))


@given(middle, st.integers(500, 1000), st.integers(500, 1000))
def test_a_box_in_the_middle_has_the_same_margin_on_every_side(
    box: tuple[float, float, float, float], width: int, height: int
) -> None:
    crop = Refinement(box=box, zoom=1, iterations=1).crop(width, height)
    edge = max((box[2] - box[0]) * width, (box[3] - box[1]) * height)
    margins = (box[0] * width - crop[0], box[1] * height - crop[1], crop[2] - box[2] * width, crop[3] - box[3] * height)
    assert all(0.15 * edge - 1e-6 <= margin <= 0.15 * edge + 1 + 1e-6 for margin in margins)


def test_a_style_is_looked_at_once_for_each_scale_and_each_refinement() -> None:
    refine = (Refinement(box=(0, 0, 1, 1), zoom=2, iterations=7), Refinement(box=(0, 0, 1, 1), zoom=1.5, iterations=9))
    recipe = recipe_for(size_px=256, refine=refine)
    assert recipe.style_sizes_px == (128, 256, 512, 384)
    assert recipe.iterations_total == sum(s.iterations for s in recipe.scales) + 16


# --- presets and layers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_decides_what_is_left_out_and_nothing_else(preset: Preset) -> None:
    numbers = PRESET_NUMBERS[preset]
    recipe = recipe_for(preset=preset)
    assert (recipe.content_weight, recipe.tv_weight) == (numbers.content_weight, numbers.tv_weight)
    assert {w.layer: w.weight for w in recipe.content_layers} == numbers.content_layers
    own = recipe_for(preset=preset, content_weight=7, tv_weight=0, style_layers={"block3_conv1": 1})
    assert (own.content_weight, own.tv_weight) == (7.0, 0.0)
    assert own.style_layers == (LayerWeight(layer="block3_conv1", weight=1.0),)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_layers_are_in_the_networks_order_whatever_the_order_they_were_named_in(backbone: Any) -> None:
    layers = {"block5_conv1": 1.0, "block1_conv1": 0.5, "block4_conv2": 0.0}
    recipe = recipe_for(backbone=backbone, style_layers=layers, content_layers={"block4_conv2": 1})
    assert recipe.layers == ("block1_conv1", "block4_conv2", "block5_conv1")
    turned = recipe_for(
        backbone=backbone, style_layers=dict(reversed(layers.items())), content_layers={"block4_conv2": 1}
    )
    assert turned.digest == recipe.digest


# --- rules ------------------------------------------------------------------------------------------------------------

BOX = (0.25, 0.25, 0.75, 0.75)


def refined(**changes: Any) -> dict[str, Any]:
    return {"refine": [Refinement(**{"box": BOX, "zoom": 2.0, "iterations": 60, **changes})]}


@pytest.mark.parametrize(
    ("changes", "path", "found", "allowed"),
    [
        ({"content_weight": -1.0}, ("contentWeight",), "-1.0", "0 to 1e+09"),
        ({"content_weight": float("nan")}, ("contentWeight",), "nan", "0 to 1e+09"),
        ({"style_weight": float("inf")}, ("styleWeight",), "inf", "0 to 1e+09"),
        ({"tv_weight": 2e9}, ("tvWeight",), "2000000000.0", "0 to 1e+09"),
        ({"content_weight": 0, "style_weight": 0}, ("styleWeight",), "0", "more than 0 for one of them"),
        ({"learning_rate": 0.05}, ("learningRate",), "0.05", "0.1 to 20"),
        ({"learning_rate": 21}, ("learningRate",), "21.0", "0.1 to 20"),
        ({"averaging": 1.0}, ("averaging",), "1.0", "0 to below 1"),
        ({"plateau": -0.1}, ("plateau",), "-0.1", "0 to below 1"),
        ({"content_layers": {"block4_conv4": 1}}, ("contentLayers", "block4_conv4"), "block4_conv4", "block4_conv3"),
        ({"style_layers": {"block9": 1}}, ("styleLayers", "block9"), "block9", "block5_conv3"),
        (
            {"style_layers": {"block1_conv1": -1, "block2_conv1": 1}},
            ("styleLayers", "block1_conv1"),
            "-1.0",
            "0 to 1e+09",
        ),
        ({"style_layers": {"block1_conv1": 0}}, ("styleLayers",), "weights of 0", "a weight above 0 for one layer"),
        ({"style_layers": {}}, ("styleLayers",), "no layer", "a weight above 0 for one layer"),
        ({"content_layers": {}}, ("contentLayers",), "no layer", "a weight above 0 for one layer"),
        ({"scales": [Scale(size_px=9, iterations=1)], "size_px": 9}, ("scales", 0, "size"), "9", "16 to 8192"),
        ({**refined(), "size_px": 0}, ("scales", 0, "size"), "0", "16 to 8192"),
        ({**refined(), "size_px": -64}, ("scales", 0, "size"), "-64", "16 to 8192"),
        ({"size_px": 8193}, ("scales", 6, "size"), "8193", "16 to 8192"),
        (
            {"scales": [Scale(size_px=64, iterations=1), Scale(size_px=64, iterations=1)], "size_px": 64},
            ("scales", 1, "size"),
            "64",
            "more than 64",
        ),
        ({"scales": [Scale(size_px=64, iterations=1)], "size_px": 65}, ("scales", 0, "size"), "64", "65"),
        (
            {"scales": [Scale(size_px=64, iterations=ITERATIONS_MAX + 1)], "size_px": 64},
            ("scales", 0, "iterations"),
            "10001",
            "1 to 10000",
        ),
        (refined(iterations=0), ("refine", 0, "iterations"), "0", "1 to 10000"),
        (refined(box=(0.5, 0, 0.5, 1)), ("refine", 0, "box"), "[0.5, 0, 0.5, 1]", "left < right"),
        (refined(box=(0, 0, 1.1, 1)), ("refine", 0, "box"), "[0, 0, 1.1, 1]", "0 to 1"),
        (refined(zoom=0.9), ("refine", 0, "zoom"), "0.9", "1 to 8"),
        (refined(zoom=9.0), ("refine", 0, "zoom"), "9.0", "1 to 8"),
        ({**refined(zoom=3.0), "size_px": 4096}, ("refine", 0, "zoom"), "3.0", "1 to 2, so that size times zoom"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_told_with_its_place_what_was_found_and_what_is_allowed(
    changes: dict[str, Any], path: tuple[str | int, ...], found: str, allowed: str
) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        recipe_for(**changes)
    (fault,) = caught.value.faults
    assert (fault.path, fault.found) == (path, found)
    assert allowed in fault.allowed
    assert str(fault) in str(caught.value)


def test_a_recipe_without_scales_is_told() -> None:
    with pytest.raises(RecipeInvalid, match="there is no scale"):
        check(replace(recipe_for(), scales=()))


def test_everything_that_cannot_be_meant_is_told_at_once() -> None:
    with pytest.raises(RecipeInvalid) as caught:
        recipe_for(learning_rate=0, plateau=2, **refined(zoom=0.0, iterations=0))
    assert [f.path[0] for f in caught.value.faults] == ["learningRate", "plateau", "refine", "refine"]


# --- identity ---------------------------------------------------------------------------------------------------------

CHANGES: dict[str, Any] = {
    "backbone": "vgg19-imagenet",
    "pooling": "average",
    "content_layers": (LayerWeight(layer="block4_conv2", weight=2.0),),
    "style_layers": (LayerWeight(layer="block1_conv1", weight=0.2),),
    "statistics": "gram+mean",
    "scales": (Scale(size_px=64, iterations=1),),
    "refine": (Refinement(box=BOX, zoom=2.0, iterations=60),),
    "content_weight": 2e3,
    "style_weight": 2e-2,
    "tv_weight": 2.0,
    "optimizer": "adam",
    "learning_rate": 2.0,
    "averaging": 0.5,
    "plateau": 0.01,
    "colors": "luminance",
    "start": "noise",
    "seed": 1,
    "precision": "float32",
}


def test_the_list_of_changes_names_every_field() -> None:
    assert {f.name for f in fields(recipe_for())} == set(CHANGES)


@pytest.mark.parametrize("field", CHANGES)
def test_each_field_is_part_of_the_digest(field: str) -> None:
    recipe = recipe_for()
    before = recipe.digest
    assert replace(recipe, **{field: CHANGES[field]}).digest != before


def test_whole_numbers_and_their_decimals_are_one_recipe() -> None:
    assert recipe_for(content_weight=1000).digest == recipe_for(content_weight=1e3).digest


@pytest.mark.parametrize("recipe", [recipe_for(preset="fine", size_px=1024, seed=7), replace(recipe_for(), **CHANGES)])
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert recipe_from_json(json.loads(json.dumps(recipe_to_json(recipe)))) == recipe
