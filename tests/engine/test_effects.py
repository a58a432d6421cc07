"""What each field of a recipe does to the picture; every test fails where its effect is absent."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from stylefleet import pictures
from stylefleet.engine import Batch, Engine, Iterate, load_engine, looks_for, optimize, regions, run, stages
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.colors import color_moments, luma
from stylefleet.engine.evaluation import evaluate
from stylefleet.engine.objective import Terms
from stylefleet.recipe import Recipe, Refinement
from tests.engine.pictures import contents, gray_levels, looks, painting, photo, recipe, restyled

LONG = (48, 25)


def chroma(pixels: np.ndarray) -> np.ndarray:
    """What is left of uint8 [..., 3] without luma."""
    return pixels - luma(pixels)[..., None]


def style_error(engine: Engine, pixels: np.ndarray, style: np.ndarray, layer: str = "block2_conv1") -> float:
    """How far the Gram at a layer of uint8 [H, W, 3] is from the style's, relatively."""
    wanted = recipe((48, 1), style_layers={layer: 1.0})
    found, target = (looks_for(engine, [[(p, 1.0)]], wanted)[0][0].layers[layer].gram for p in (pixels, style))
    return float(np.square(found - target).sum() / np.square(target).sum())


# Backbone and objective


def test_the_chosen_style_layers_are_the_ones_that_match() -> None:
    errors = {}
    for layer in ("block1_conv1", "block4_conv1"):
        wanted = recipe(LONG, style_layers={layer: 1.0}, content_weight=10.0)
        loaded = load_engine(wanted)
        result = restyled(loaded, wanted).pixels[0]
        for judge in ("block1_conv1", "block4_conv1"):
            looked = load_engine(recipe((48, 1), style_layers={judge: 1.0}))
            errors[layer, judge] = style_error(looked, result, painting(), judge)
    assert errors["block1_conv1", "block1_conv1"] < 0.5 * errors["block4_conv1", "block1_conv1"]
    assert errors["block4_conv1", "block4_conv1"] < 0.5 * errors["block1_conv1", "block4_conv1"]


def test_the_weight_of_a_style_layer_moves_the_balance() -> None:
    terms = []
    for weight in (0.02, 2.0):
        wanted = recipe(LONG, style_layers={"block1_conv1": 0.2, "block3_conv1": weight})
        loaded = load_engine(wanted)
        terms.append(
            style_error(
                load_engine(recipe((48, 1), style_layers={"block3_conv1": 1.0})),
                restyled(loaded, wanted).pixels[0],
                painting(),
                "block3_conv1",
            )
        )
    assert terms[1] < 0.7 * terms[0]


def test_a_shallower_content_layer_keeps_finer_edges() -> None:
    kept = []
    for layer in ("block1_conv2", "block4_conv2"):
        wanted = recipe(LONG, content_layers={layer: 1.0})
        result = restyled(load_engine(wanted), wanted).pixels[0]
        kept.append(np.corrcoef(gray_levels(result), gray_levels(contents(wanted)[0]))[0, 1])
    assert kept[0] > kept[1] + 0.02


def test_average_pooling_paints_another_picture(engine: Engine) -> None:
    wanted = recipe(LONG, pooling="average")
    average, usual = restyled(load_engine(wanted), wanted), restyled(engine, recipe(LONG))
    assert np.abs(average.values - usual.values).mean() > 3
    assert average.losses[0] < 500


def test_with_channel_means_the_means_are_matched_closer(engine: Engine) -> None:
    def mean_error(statistics: str) -> float:
        wanted = recipe(LONG, statistics=statistics)
        result = restyled(load_engine(wanted), wanted).pixels[0]
        found, style = (looks_for(engine, [[(p, 1.0)]], recipe((48, 1)))[0][0] for p in (result, painting()))
        return sum(
            float(
                np.square(found.layers[name].mean - style.layers[name].mean).sum()
                / np.square(style.layers[name].mean).sum()
            )
            for name in ("block3_conv1", "block4_conv1", "block5_conv1")
        )

    assert mean_error("gram+mean") < 0.9 * mean_error("gram")


def test_nothing_happens_at_the_border_that_does_not_happen_inside(engine: Engine) -> None:
    """A flat picture and a style without direction: the painted border is as bright and as busy as the rest."""
    grain = np.random.default_rng(0).integers(60, 200, (64, 64, 3), dtype=np.uint8)
    wanted = recipe((64, 30), content_weight=100.0)
    flat = np.full((1, 64, 64, 3), 128, np.uint8)
    values = run(engine, Batch(contents=flat), looks(engine, wanted, grain), wanted).values[0].mean(axis=-1)
    border = np.ones((64, 64), bool)
    border[4:-4, 4:-4] = False
    assert abs(values[border].mean() - values[~border].mean()) < 8
    assert 0.6 < values[border].std() / values[~border].std() < 1.6


# Several styles, regions, protection


def test_a_blend_lies_between_its_styles(engine: Engine) -> None:
    one, two = painting(seed=1), np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    wanted = recipe(LONG, content_weight=100.0)
    errors = []
    for share in (1.0, 0.5, 0.0):
        made = looks_for(engine, [[(one, share), (two, 1.0 - share)]], wanted)
        result = run(engine, Batch(contents=contents(wanted)), made, wanted).pixels[0]
        errors.append((style_error(engine, result, one), style_error(engine, result, two)))
    assert errors[0][0] < errors[1][0] < errors[2][0]
    assert errors[0][1] > errors[1][1] > errors[2][1]


def halves(height: int, width: int, soft: int = 0) -> np.ndarray:
    """Two masks, left and right, fading into each other over `soft` pixels: uint8 [1, 2, H, W]."""
    x = np.arange(width) - width / 2 + 0.5
    right = np.clip(x / max(soft, 1e-6) + 0.5, 0, 1)
    return np.rint(255 * np.broadcast_to(np.stack([1 - right, right])[None, :, None], (1, 2, height, width))).astype(
        np.uint8
    )


def regional(engine: Engine, wanted: Recipe, *styles: np.ndarray, soft: int = 0) -> np.ndarray:
    """The left in the first style, the right in the second."""
    batch = contents(wanted, photo(96, 64))
    height, width = batch.shape[1:3]
    masks = halves(height, width, soft)
    return run(engine, Batch(contents=batch, masks=masks), looks(engine, wanted, *styles), wanted).values[0]


def test_each_region_gets_its_own_style_and_none_of_its_neighbours(engine: Engine) -> None:
    """Leakage, measured: the left style exchanged, how far do the colours of the right half follow?

    Strokes lie otherwise after any change anywhere, so means over many pixels are compared.
    """
    wanted = recipe((96, 12), (192, 10))
    red, green = np.full((64, 64, 3), (200, 40, 30), np.uint8), np.full((64, 64, 3), (30, 160, 60), np.uint8)
    stripes = [np.where(painting(seed=seed) > 127, colour, colour // 3) for seed, colour in ((1, red), (2, green))]
    one, other = (regional(engine, wanted, left, painting(seed=7)) for left in stripes)
    left, strip, right = (
        np.abs((one - other)[:, columns].mean(axis=(0, 1))).max()
        for columns in (slice(84), slice(96, 108), slice(108, 192))
    )
    assert left > 40
    assert strip < 0.2 * left
    assert right < 0.05 * left


def pull_across(engine: Engine) -> float:
    """Share of a style's pull, as the size of its gradient, on pixels outside its mask."""
    wanted = recipe((256, 1))
    batch = Batch(contents=contents(wanted, photo(96, 64)), masks=halves(170, 256))
    made = looks(engine, wanted, painting(seed=1), painting(seed=7))
    stage = stages.scale_stage(stages.prepare(batch, made, wanted), 0)
    problem = stages.problem_of(engine, wanted, stage, made[0])
    left_only = problem._replace(
        shares=tf.constant([[0.5, 0.0]]), weights=Terms(tf.constant(1.0), tf.constant(0.0), tf.constant(0.0))
    )
    x = tf.constant(batch.contents + np.random.default_rng(0).normal(0, 10, batch.contents.shape), tf.float32)
    gradient = np.abs(evaluate(engine.programs.model, engine.layers, x, left_only, tf.ones([1]))[1].numpy())
    return float(gradient[:, :, 128:].sum() / gradient.sum())


def test_a_style_does_not_pull_at_pixels_of_another_region(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    careful = pull_across(engine)
    monkeypatch.setattr(regions, "narrow", lambda masks, _reach: masks)
    assert pull_across(engine) > 0.03  # the measure sees what it is for
    assert careful < 0.003


def test_a_soft_edge_is_crossed_gradually(engine: Engine) -> None:
    wanted = recipe((96, 12), content_weight=5e3)
    dark, bright = np.full((64, 64, 3), 40, np.uint8), np.full((64, 64, 3), 220, np.uint8)
    steepest = [
        np.abs(np.diff(regional(engine, wanted, dark, bright, soft=soft).mean(axis=(0, 2))))[8:-8].max()
        for soft in (0, 40)
    ]
    assert steepest[1] < 0.6 * steepest[0]


def test_what_is_protected_is_left_alone_and_the_rest_is_painted(engine: Engine) -> None:
    wanted = recipe((32, 10), (64, 8))
    batch = contents(wanted, photo(96, 64))
    protect = np.zeros(batch.shape[:3], np.uint8)
    protect[:, 10:30, 20:44] = 255
    made = looks(engine, wanted)
    guarded = run(engine, Batch(contents=batch, protect=protect), made, wanted).values[0]
    free = run(engine, Batch(contents=batch), made, wanted).values[0]
    inside, outside = protect[0] == 255, protect[0] == 0
    assert np.abs(guarded - batch[0])[inside].max() < 0.01
    assert np.abs(free - batch[0])[inside].mean() > 10
    assert np.abs(guarded - batch[0])[outside].mean() > 10


@pytest.mark.parametrize("left_alone", ["protected", "covered by no mask"])
def test_strokes_reach_up_to_what_is_left_alone(engine: Engine, left_alone: str) -> None:
    """A style pulls at the pixels beside it as it does at others."""
    wanted = recipe((256, 1))
    noise = np.random.default_rng(0).integers(0, 255, (1, 170, 256, 3), dtype=np.uint8)
    left, right = halves(170, 256)[:, :1], halves(170, 256)[:, 1]
    batch = Batch(contents=noise, **({"protect": right} if left_alone == "protected" else {"masks": left}))
    made = looks(engine, wanted)
    problem = stages.problem_of(
        engine, wanted, stages.scale_stage(stages.prepare(batch, made, wanted), 0), made[0]
    )._replace(weights=Terms(tf.constant(1.0), tf.constant(0.0), tf.constant(0.0)))
    x = tf.constant(noise, tf.float32)
    pull = np.abs(evaluate(engine.programs.model, engine.layers, x, problem, tf.ones([1]))[1].numpy())
    assert pull[:, :, 128:].max() == 0
    assert pull[:, :, 112:128].mean() > 0.8 * pull[:, :, 32:96].mean()


def test_what_no_mask_covers_is_left_alone(engine: Engine) -> None:
    wanted = recipe((32, 10), (64, 8))
    batch = contents(wanted, photo(96, 64))
    masks = halves(*batch.shape[1:3])[:, :1]
    result = run(engine, Batch(contents=batch, masks=masks), looks(engine, wanted), wanted).values[0]
    moved = np.abs(result - batch[0]).mean(axis=(0, 2))
    assert moved[33:].max() < 0.01
    assert moved[:28].mean() > 10


def test_half_a_mask_counts_as_half_a_region(engine: Engine) -> None:
    wanted = recipe((32, 1))
    batch = contents(wanted)
    half = np.full((1, 1, *batch.shape[1:3]), 128, np.uint8)
    made = looks(engine, wanted)
    for given in ({"masks": half}, {"protect": 255 - half[:, 0]}):
        canvas = stages.prepare(Batch(contents=batch, **given), made, wanted)
        problem = stages.problem_of(engine, wanted, stages.scale_stage(canvas, 0), made[0])
        assert problem.shares.numpy() == pytest.approx(np.array([[0.5]]), abs=0.01)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_scale_goes_on_from_the_picture_where_the_optimizer_could_not_paint(
    engine: Engine, optimizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = recipe((32, 6), (48, 1), optimizer=optimizer, learning_rate=2.0)
    batch = contents(wanted)
    protect = np.full(batch.shape[:3], 255, np.uint8)
    starts = []
    next_start = stages.next_start
    monkeypatch.setattr(stages, "next_start", lambda *given: starts.append(given[0]) or next_start(*given))
    run(engine, Batch(contents=batch, protect=protect), looks(engine, wanted), wanted)
    expected = pictures.resize(batch[0], starts[0].shape[2], starts[0].shape[1])
    assert np.abs(starts[0].numpy()[0] - expected).max() < 0.01  # without the noise that the variable began with


@pytest.mark.parametrize("layer", ["block3_conv1", "block5_conv1"])
@pytest.mark.parametrize("width", [89, 90, 96])
def test_masks_lie_over_the_positions_that_see_them_at_every_size(engine: Engine, layer: str, width: int) -> None:
    """A position of the network begins at a multiple of its stride; so do the weights of a mask."""
    step = 2 ** (int(layer[5]) - 1)
    masks = np.zeros((1, 33, width, 1), np.float32)
    masks[:, :, : 2 * step] = 1.0
    wanted = load_engine(recipe((32, 1), style_layers={layer: 1.0})).layers
    found, _ = regions.regions_at(tf.constant(masks), wanted, "vgg16-hed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions, "narrow", lambda masks, _reach: masks)
        found, _ = regions.regions_at(tf.constant(masks), wanted, "vgg16-hed")
    weights = found[layer].weights.numpy()[0, 0, :, 0]
    assert weights.tolist() == [1.0, 1.0, *[0.0] * (len(weights) - 2)]
    assert len(weights) == -(-width // step)


def test_a_half_protected_pixel_is_half_painted(engine: Engine) -> None:
    wanted = recipe((32, 8))
    batch = contents(wanted)
    half = np.full(batch.shape[:3], 204, np.uint8)
    made = looks(engine, wanted)
    moved = [
        np.abs(run(engine, Batch(contents=batch, protect=protect), made, wanted).values[0] - batch[0]).mean()
        for protect in (None, half)
    ]
    assert 0.02 * moved[0] < moved[1] < 0.6 * moved[0]


# Refinement


BOX = Refinement(box=(0.3, 0.2, 0.7, 0.8), zoom=2.0, iterations=12)


def refined(engine: Engine, **changes: Any) -> tuple[Iterate, Iterate, Recipe]:
    """The same picture without and with a box worked out finer."""
    plain = recipe((48, 12), **changes)
    fine = dataclasses.replace(plain, refine=(BOX,))
    original = photo(192, 128)
    batch = contents(plain, original)
    detail = pictures.detail(original, BOX, 48, 32)[None]
    made = looks(engine, plain, contents=batch), looks(engine, fine, contents=batch)
    before = run(engine, Batch(contents=batch), made[0], plain)
    *_, after = optimize(engine, Batch(contents=batch, details=(detail,)), made[1], fine)
    return before, after, fine


@pytest.mark.parametrize("colors", ["style", "luminance"])
def test_a_box_is_worked_out_again_and_the_rest_stays(engine: Engine, colors: str) -> None:
    before, after, fine = refined(engine, colors=colors)
    left, top, right, bottom = fine.refine[0].crop(48, 32)
    change = np.abs(after.values - before.values)[0].mean(axis=-1)
    outside = np.ones_like(change, bool)
    outside[top:bottom, left:right] = False
    assert change[outside].max() == 0
    assert change[12:20, 18:30].mean() > 3
    assert after.iterations.tolist() == [24]


def test_a_refined_box_takes_its_colours_by_the_map_of_the_whole_picture(engine: Engine) -> None:
    """A box of nothing but sky: by a map of its own it would get the whole palette."""
    sky = Refinement(box=(0.0, 0.0, 0.4, 0.3), zoom=2.0, iterations=1)
    wanted = dataclasses.replace(recipe((48, 1)), refine=(sky,))
    original = photo(192, 128)
    detail = pictures.detail(original, sky, 48, 32)[None]
    batch = Batch(contents=contents(wanted, original), details=(detail,))
    canvas = stages.prepare(batch, looks(engine, wanted), wanted)
    left, top, right, bottom = sky.crop(48, 32)
    coarse = canvas.contents[0, top:bottom, left:right].mean(axis=(0, 1))
    assert canvas.details[0][0].mean(axis=(0, 1)) == pytest.approx(coarse, abs=3)


@pytest.mark.parametrize("colors", ["style", "luminance"])
def test_what_is_protected_is_left_alone_inside_a_refined_box_too(engine: Engine, colors: str) -> None:
    wanted = dataclasses.replace(recipe((48, 8), colors=colors), refine=(BOX,))
    original = np.random.default_rng(0).integers(0, 255, (128, 192, 3), dtype=np.uint8)
    batch = contents(wanted, original)
    protect = np.zeros((1, 32, 48), np.uint8)
    protect[:, 10:22, 18:30] = 255
    detail = pictures.detail(original, BOX, 48, 32)[None]
    made = looks(engine, wanted, contents=batch)
    result = run(engine, Batch(contents=batch, protect=protect, details=(detail,)), made, wanted).values[0]
    assert np.abs(result - batch[0])[10:22, 18:30].max() < 0.6
    assert np.abs(result - batch[0])[8:24, 32:34].mean() > 3


def test_a_style_pulls_at_a_refined_box_as_it_does_at_a_whole_picture(engine: Engine) -> None:
    """Were fewer positions counted than its pixels have, each would count more."""
    wanted = dataclasses.replace(recipe((192, 1)), refine=(BOX,))
    original = photo(384, 256)
    batch = Batch(contents=contents(wanted, original), details=(pictures.detail(original, BOX, 192, 128)[None],))
    made = looks(engine, wanted)
    canvas = stages.prepare(batch, made, wanted)
    stage = stages.refinement_stage(canvas, 0, batch.contents.astype(np.float32))
    problem = stages.problem_of(engine, wanted, stage, made[1])
    for name, region in problem.regions.items():
        height, width = region.weights.shape[1:3]
        assert region.positions.numpy() / (height * width) == pytest.approx(problem.shares.numpy(), rel=0.1), name


def test_a_refined_box_has_no_seam(engine: Engine) -> None:
    """Across the crop's border the picture steps no more than it does elsewhere."""
    before, after, fine = refined(engine)
    left, _, right, _ = fine.refine[0].crop(48, 32)
    steps = [np.abs(np.diff(i.values[0].mean(axis=-1), axis=1)) for i in (before, after)]
    at_border = [s[8:24, [left - 1, right - 1]].mean() for s in steps]
    assert at_border[1] < 1.2 * at_border[0] + 1


# Colour


def test_with_luminance_the_content_keeps_its_colours(engine: Engine) -> None:
    wanted = recipe(LONG, colors="luminance")
    content = contents(wanted)[0]
    result = restyled(engine, wanted)
    inside = (result.values[0] > 1) & (result.values[0] < 254)  # clipping at black and white bends colours
    whole = inside.all(axis=-1)
    assert np.abs(chroma(result.values[0]) - chroma(content))[whole].max() < 0.1
    assert np.abs(luma(result.values[0]) - luma(content)).mean() > 5
    usual = restyled(engine, recipe(LONG))
    assert np.abs(chroma(usual.values[0]) - chroma(content)).mean() > 20


def test_with_matched_colours_the_result_has_the_contents_palette(engine: Engine) -> None:
    wanted = recipe(LONG, colors="match")
    content = contents(wanted)[0]
    usual, matched = restyled(engine, recipe(LONG)), restyled(engine, wanted)

    def palette_distance(pixels: np.ndarray) -> float:
        (mean, gram), (content_mean, content_gram) = color_moments(pixels), color_moments(content)
        return float(np.abs(mean - content_mean).mean() + np.sqrt(np.abs(gram - content_gram)).mean())

    assert palette_distance(matched.pixels[0]) < 0.7 * palette_distance(usual.pixels[0])
    # and it is painted, not left as it was
    assert np.abs(matched.values[0] - content).mean() > 5


@pytest.mark.parametrize("colors", ["match", "luminance"])
def test_a_look_that_is_made_for_a_content_does_not_depend_on_the_batch(engine: Engine, colors: str) -> None:
    wanted = recipe((32, 5), colors=colors)
    both = restyled(engine, wanted, photo(), photo()[:, ::-1] // 2)
    alone = restyled(engine, wanted, photo()[:, ::-1] // 2)
    assert np.abs(both.values[1] - alone.values[0]).max() < 0.5


# Optimizer and start


def test_adam_paints_as_well(engine: Engine) -> None:
    wanted = recipe((48, 120), optimizer="adam", learning_rate=2.0)
    result = restyled(engine, wanted)
    start = restyled(engine, recipe((48, 1)))
    assert result.losses[0] < 0.5 * start.losses[0]
    assert result.raw.numpy().min() >= 0
    assert result.raw.numpy().max() <= 255


def test_the_learning_rate_is_the_step_of_a_pixel(engine: Engine) -> None:
    moved = []
    for rate in (0.5, 2.0):
        wanted = recipe((48, 2), optimizer="adam", learning_rate=rate)
        first, second = (
            restyled(engine, dataclasses.replace(wanted, scales=recipe((48, 1)).scales)),
            restyled(engine, wanted),
        )
        inside = (first.raw.numpy() > 5) & (first.raw.numpy() < 250)  # beyond 0 and 255 a pixel is brought back at once
        moved.append(np.abs(second.raw - first.raw)[inside].max())
    assert moved == pytest.approx([0.5, 2.0], rel=0.01)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_the_average_of_iterates_is_their_decaying_mean(engine: Engine, optimizer: str) -> None:
    wanted = recipe((48, 3), optimizer=optimizer, averaging=0.75, learning_rate=2.0)
    singles = [restyled(engine, recipe((48, n), optimizer=optimizer, learning_rate=2.0)).raw.numpy() for n in (1, 2, 3)]
    weights = 0.25 * 0.75 ** np.array([2, 1, 0])
    expected = sum(w * x for w, x in zip(weights / weights.sum(), singles, strict=True))
    assert np.abs(restyled(engine, wanted).raw.numpy() - expected).max() < 0.05


def test_painting_starts_from_the_content_noise_or_a_picture(engine: Engine) -> None:
    """After one evaluation nothing has moved, so the result is the start."""
    begin = {}
    other = painting(48)[:32][None]
    for start in ("content", "noise", "picture"):
        wanted = recipe((48, 1), start=start)
        batch = Batch(contents=contents(wanted), starts=other if start == "picture" else None)
        begin[start] = run(engine, batch, looks(engine, wanted), wanted).values[0]
    likeness = {
        name: np.corrcoef(gray_levels(values), gray_levels(contents(recipe((48, 1)))[0]))[0, 1]
        for name, values in begin.items()
    }
    assert likeness["content"] > 0.8
    assert abs(likeness["noise"]) < 0.2
    assert begin["noise"].std() > 40
    assert np.abs(begin["picture"] - other[0]).mean() < 12


def test_noise_is_painted_into_the_content_too() -> None:
    wanted = recipe((48, 60), start="noise", content_weight=4e3, content_layers={"block1_conv2": 1.0})
    result = restyled(load_engine(wanted), wanted).pixels[0]
    assert np.corrcoef(gray_levels(result), gray_levels(contents(wanted)[0]))[0, 1] > 0.5
