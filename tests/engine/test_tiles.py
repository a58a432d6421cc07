"""Large pictures in tiles: every pixel owned once, and loss and gradient those of the whole picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet.engine import Batch, Engine, optimize, stages
from stylefleet.engine import backbone as backbones
from stylefleet.engine import engine as engines
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.evaluation import evaluate
from stylefleet.engine.tiles import ALIGN_PX, Tiler, share_of, tiles
from stylefleet.recipe import layer_names
from tests.engine.pictures import contents, looks, painting, photo, recipe

SIZES = st.integers(16, 3000)


@given(SIZES, SIZES, st.sampled_from([64, 512, 768]), st.integers(1, 130))
def test_every_pixel_is_owned_by_one_tile(height: int, width: int, tile_px: int, margin_px: int) -> None:
    found = tiles(height, width, tile_px=tile_px, margin_px=margin_px)
    assert sum((t.own[1] - t.own[0]) * (t.own[3] - t.own[2]) for t in found) == height * width
    assert len({t.own[::2] for t in found}) == len(found)
    for tile in found:
        top, bottom, left, right = tile.own
        assert 0 < bottom - top <= tile_px
        assert 0 < right - left <= tile_px
        assert top % ALIGN_PX == left % ALIGN_PX == 0
        # it sees the margin around it, as far as there is picture, from a place where pooling windows agree
        crop_top, crop_bottom, crop_left, crop_right = tile.crop
        assert crop_top % ALIGN_PX == crop_left % ALIGN_PX == 0
        assert crop_top <= max(0, top - margin_px)
        assert crop_left <= max(0, left - margin_px)
        assert crop_bottom >= min(height, bottom + margin_px)
        assert crop_right >= min(width, right + margin_px)


@given(SIZES, SIZES, st.sampled_from(layer_names("vgg19-imagenet")))
def test_the_shares_of_all_tiles_are_the_whole_layer(height: int, width: int, layer: str) -> None:
    found = tiles(height, width, tile_px=256, margin_px=70)
    assert sum(share_of(t, layer, (height, width)) for t in found) == pytest.approx(1.0)


@pytest.mark.parametrize("layer", ["block1_conv2", "block2_conv1", "block3_conv3", "block5_conv1"])
def test_a_position_sees_no_further_than_the_reach_of_its_layer(engine: Engine, layer: str) -> None:
    reach, step = backbones.reach("vgg16-hed", layer), backbones.stride(layer)
    size = 160
    position = size // 2 // step
    loaded = engines.load_engine(recipe((32, 1), style_layers={layer: 1.0}))
    with tf.GradientTape() as tape:
        pixels = tf.Variable(np.random.default_rng(0).uniform(0, 255, (1, size, size, 3)), dtype=tf.float32)
        seen = tf.reduce_sum(loaded.activations(pixels)[layer][:, position, position])
    rows = np.flatnonzero(np.abs(tape.gradient(seen, pixels).numpy()).sum(axis=(0, 2, 3)))
    assert rows.min() >= position * step - reach
    assert rows.max() < (position + 1) * step + reach


def problem(engine: Engine, height: int, width: int, **batch: np.ndarray) -> tuple[tf.Tensor, object]:
    wanted = recipe((max(height, width), 1))
    pictures = np.stack([photo(width, height), photo(width, height)[:, ::-1]])
    styles = (painting(),) if "masks" not in batch else (painting(), painting(seed=5))
    made = looks(engine, wanted, *styles)
    canvas = stages.prepare(Batch(contents=pictures, **batch), made, wanted)
    stage = stages.scale_stage(canvas, 0)
    x = tf.constant(np.random.default_rng(1).uniform(0, 255, pictures.shape), tf.float32)
    return x, stages.problem_of(engine, wanted, stage, made[0])


def tiler(engine: Engine, tile_px: int) -> Tiler:
    reach = backbones.reach("vgg16-hed", "block5_conv1")
    return Tiler(engine.programs.model, engine.layers, reach_px=reach, tile_px=tile_px)


def masks(height: int, width: int) -> np.ndarray:
    left = np.zeros((2, 2, height, width), np.uint8)
    left[:, 0, :, : width // 2], left[:, 1, :, width // 3 :] = 255, 130
    return left


@pytest.mark.parametrize(("height", "width"), [(96, 160), (101, 83)])
@pytest.mark.parametrize("extra", ["plain", "masks", "protect"])
def test_loss_and_gradient_in_tiles_are_those_of_the_whole_picture(
    engine: Engine, height: int, width: int, extra: str
) -> None:
    protect = np.zeros((2, height, width), np.uint8)
    protect[:, 20:50, 10:60] = 200
    batch = {"plain": {}, "masks": {"masks": masks(height, width)}, "protect": {"protect": protect}}[extra]
    x, given_problem = problem(engine, height, width, **batch)
    scale = tf.constant([1.0, 4.0])
    loss, gradient, terms = evaluate(engine.programs.model, engine.layers, x, given_problem, scale)
    tiled_loss, tiled_gradient, tiled_terms = tiler(engine, 32).evaluate(x, given_problem, scale)
    assert tiled_loss.numpy() == pytest.approx(loss.numpy(), rel=1e-4)
    for whole, tiled in zip(terms, tiled_terms, strict=True):
        assert tiled.numpy() == pytest.approx(whole.numpy(), rel=1e-3)
    # No seam: the largest difference of any pixel's gradient is rounding.
    assert np.abs(tiled_gradient - gradient).max() < 1e-4 * np.abs(gradient).max()


def test_a_large_picture_is_painted_in_tiles_without_a_seam(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = recipe((48, 6), (96, 4))
    batch = Batch(contents=contents(wanted))
    made = looks(engine, wanted)
    *_, whole = optimize(engine, batch, made, wanted)
    monkeypatch.setattr(stages, "TILED_FROM_PIXELS", 5000)
    monkeypatch.setattr(engine.tiler, "_tile_px", 32)
    *_, tiled = optimize(engine, batch, made, wanted)
    assert len(engine.tiler.tiles((64, 96))) == 6
    assert tiled.losses == pytest.approx(whole.losses, rel=1e-3)
    difference = np.abs(tiled.values - whole.values)[0].mean(axis=-1)
    on_seams = difference[:, 31:33].mean() + difference[31:33].mean()
    assert difference.max() < 1.0
    assert on_seams < 2 * (difference.mean() + 0.01)


def test_a_style_larger_than_a_tile_has_the_moments_of_the_whole(engine: Engine) -> None:
    style = tf.constant(painting(150)[None], tf.float32)
    whole, tiled = tiler(engine, 768).moments(style), tiler(engine, 32).moments(style)
    for name in whole:
        assert tiled[name].gram.numpy() == pytest.approx(whole[name].gram.numpy(), rel=1e-3, abs=1e-3)
        assert tiled[name].mean.numpy() == pytest.approx(whole[name].mean.numpy(), rel=1e-3, abs=1e-3)
