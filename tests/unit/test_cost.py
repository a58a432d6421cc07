"""The prediction follows the network that the recipe asks for."""

from __future__ import annotations

import pytest

from stylefleet.cost import flop_per_pixel_step, predicted_seconds
from stylefleet.presets import recipe_for
from stylefleet.recipe import Recipe, Refinement, Scale


def seconds(recipe: Recipe) -> float:
    return predicted_seconds(recipe, flops=1e12)


def test_the_prediction_grows_with_pixels_and_steps_and_shrinks_with_speed() -> None:
    small = seconds(recipe_for(preset="draft", size_px=512))
    assert seconds(recipe_for(preset="draft", size_px=1024)) == pytest.approx(4 * small, rel=0.05)
    assert seconds(recipe_for(preset="fine", size_px=512)) > small
    assert predicted_seconds(recipe_for(preset="draft", size_px=512), flops=2e12) == pytest.approx(small / 2)


def test_the_whole_vgg19_of_the_default_layers_has_the_published_number_of_multiply_adds() -> None:
    # 18.1 billion at 224 px up to block5_conv1 (19.6 for all 16 convolutions), and a twentieth for the Gram matrices.
    network = 4 * 18.1e9 / 224**2
    assert flop_per_pixel_step(recipe_for(backbone="vgg19-imagenet")) == pytest.approx(1.05 * network, rel=0.01)


def test_only_the_network_up_to_the_deepest_layer_is_paid_for() -> None:
    # 3 -> 64 -> 64 channels at full size, then 64 -> 128 at a quarter of the positions; a Gram of 128 channels there.
    recipe = recipe_for(content_layers={"block1_conv2": 1}, style_layers={"block2_conv1": 1})
    multiply_adds = 9 * 3 * 64 + 9 * 64 * 64 + (9 * 64 * 128 + 128 * 128) / 4
    assert flop_per_pixel_step(recipe) == 4 * multiply_adds
    deeper = recipe_for(content_layers={"block2_conv2": 1}, style_layers={"block2_conv1": 1})
    assert flop_per_pixel_step(deeper) > flop_per_pixel_step(recipe)


def test_a_refinement_costs_the_pixels_of_its_crop_at_its_zoom() -> None:
    plain = recipe_for(size_px=300, scales=(Scale(size_px=300, iterations=10),))
    refinement = Refinement(box=(0.0, 0.0, 1.0, 1.0), zoom=2.0, iterations=30)
    refined = recipe_for(size_px=300, scales=plain.scales, refine=(refinement,))
    # The whole picture at twice the size has four times the pixels, for three times the steps.
    assert seconds(refined) == pytest.approx((1 + 4 * 3) * seconds(plain))
