"""The arithmetic of docs/roofline.md."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import roofline
from benchmarks.roofline import convolutions, expected_seconds, recipe_flop, step_flop

from stylefleet.cost import flop_per_pixel_step
from stylefleet.presets import recipe_for
from stylefleet.recipe import BACKBONES, Backbone, Scale

ROOT = Path(__file__).parents[2]


def test_the_committed_page_is_the_one_that_the_arithmetic_gives() -> None:
    committed = (ROOT / "docs/roofline.md").read_text()
    assert committed == roofline.markdown(), "run: python -m benchmarks --write-roofline"


def test_a_step_of_sixteen_pixels_is_what_a_hand_calculation_gives() -> None:
    # 2 x 9 x channels in x channels out x positions, with 16, 8, 4, 2 and 1 positions along each edge.
    block1 = 18 * 3 * 64 * 256 + 18 * 64 * 64 * 256
    block2 = 18 * 64 * 128 * 64 + 18 * 128 * 128 * 64
    block3 = 18 * 128 * 256 * 16 + 2 * 18 * 256 * 256 * 16
    block4 = 18 * 256 * 512 * 4 + 2 * 18 * 512 * 512 * 4
    block5 = 18 * 512 * 512 * 1
    forward = block1 + block2 + block3 + block4 + block5
    assert forward == 147_161_088
    grams = 2 * (256 * 64**2 + 64 * 128**2 + 16 * 256**2 + 4 * 512**2 + 1 * 512**2)
    found = step_flop(recipe_for(), 16, 16)
    assert (found.forward, found.input_gradient, found.gram) == (forward, forward, 2 * grams)
    assert found.total == 2 * 147_161_088 + 2 * grams


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_service_predicts_with_the_same_numbers(backbone: Backbone) -> None:
    recipe = recipe_for(backbone=backbone)
    assert step_flop(recipe, 64, 48).total == flop_per_pixel_step(recipe) * 64 * 48


def test_an_odd_size_loses_no_row_to_pooling() -> None:
    layers = {c.layer: (c.height, c.width) for c in convolutions("vgg16-hed", 37, 50, deepest="block5_conv1")}
    assert [layers[f"block{b}_conv1"] for b in range(1, 6)] == [(37, 50), (19, 25), (10, 13), (5, 7), (3, 4)]


def test_layers_behind_the_deepest_that_is_looked_at_cost_nothing() -> None:
    assert [c.layer for c in convolutions("vgg19-imagenet", 8, 8, deepest="block2_conv1")] == [
        "block1_conv1",
        "block1_conv2",
        "block2_conv1",
    ]
    shallow = recipe_for(style_layers={"block1_conv1": 1.0}, content_layers={"block2_conv2": 1.0})
    deep = recipe_for()
    assert step_flop(shallow, 64, 64).total < step_flop(deep, 64, 64).total


def test_a_layer_that_a_backbone_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="vgg16-hed has no layer 'block3_conv4'"):
        convolutions("vgg16-hed", 8, 8, deepest="block3_conv4")


def test_a_recipe_is_the_sum_of_its_scales() -> None:
    recipe = recipe_for(size_px=64, scales=(Scale(size_px=32, iterations=3), Scale(size_px=64, iterations=2)))
    assert recipe_flop(recipe) == 3 * step_flop(recipe, 32, 32).total + 2 * step_flop(recipe, 64, 64).total


def test_half_the_share_of_the_peak_takes_twice_the_time() -> None:
    # 125 TFLOP/s at 40 % are 50 TFLOP/s.
    assert expected_seconds(100e12, "V100", share_of_peak=0.4) == pytest.approx(2.0)
    assert expected_seconds(100e12, "V100", share_of_peak=0.2) == pytest.approx(4.0)
