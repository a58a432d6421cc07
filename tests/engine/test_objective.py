"""The terms against NumPy written from the formulas, and the gradient against finite differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from stylefleet.engine import Engine, objective
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.objective import CONTENT_LAYER, STYLE_LAYERS, Terms
from stylefleet.recipe import recipe_for
from tests.engine.pictures import painting, photo

RNG = np.random.default_rng(0)


def features(batch: int = 2, height: int = 5, width: int = 7, channels: int = 4) -> np.ndarray:
    return RNG.normal(size=(batch, height, width, channels)).astype(np.float32)


def test_the_gram_is_the_mean_outer_product_of_the_activations() -> None:
    f = features()
    expected = np.einsum("bhwc,bhwd->bcd", f, f) / (5 * 7)
    assert objective.gram(tf.constant(f)).numpy() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_the_gram_does_not_grow_with_the_picture() -> None:
    f = features(batch=1)
    tiled = np.tile(f, (1, 3, 2, 1))
    assert objective.gram(tf.constant(tiled)).numpy() == pytest.approx(
        objective.gram(tf.constant(f)).numpy(), rel=1e-5, abs=1e-6
    )


def test_the_gram_of_large_half_precision_activations_is_finite() -> None:
    f = tf.cast(tf.constant(300 * features()), tf.float16)
    found = objective.gram(f)
    assert found.dtype == tf.float32
    assert np.isfinite(found.numpy()).all()
    assert found.numpy().max() > 65504


def test_the_gradient_through_the_gram_is_tensorflows_own() -> None:
    f = tf.constant(features())
    upstream = tf.constant(RNG.normal(size=(2, 4, 4)).astype(np.float32))  # deliberately not symmetric
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(f)
        ours = tf.reduce_sum(objective.gram(f) * upstream)
        plain = tf.reduce_sum(tf.einsum("bhwc,bhwd->bcd", f, f) / 35.0 * upstream)
    assert tape.gradient(ours, f).numpy() == pytest.approx(tape.gradient(plain, f).numpy(), rel=1e-4, abs=1e-6)


def test_the_style_term_is_the_relative_squared_error_of_the_grams() -> None:
    grams = [RNG.normal(size=(2, c, c)).astype(np.float32) for c in (3, 4, 5, 6, 7)]
    styles = [RNG.normal(size=(c, c)).astype(np.float32) for c in (3, 4, 5, 6, 7)]
    expected = sum(
        w * ((g - s) ** 2).mean(axis=(1, 2)) / (s**2).mean()
        for w, g, s in zip(objective.STYLE_LAYER_WEIGHTS, grams, styles, strict=True)
    )
    found = objective.style_term(tuple(map(tf.constant, grams)), tuple(map(tf.constant, styles)))
    assert found.numpy() == pytest.approx(expected, rel=1e-5)
    assert sum(objective.STYLE_LAYER_WEIGHTS) == pytest.approx(1)


def test_the_content_term_is_the_relative_squared_error_of_the_activations() -> None:
    f, c = features(), features()
    expected = ((f - c) ** 2).mean(axis=(1, 2, 3)) / (c**2).mean(axis=(1, 2, 3))
    assert objective.content_term(tf.constant(f), tf.constant(c)).numpy() == pytest.approx(expected, rel=1e-5)


def test_total_variation_is_the_mean_squared_step_between_neighbours() -> None:
    pixels = RNG.uniform(0, 255, size=(2, 5, 7, 3)).astype(np.float32)
    expected = [(np.diff(p / 255, axis=0) ** 2).mean() + (np.diff(p / 255, axis=1) ** 2).mean() for p in pixels]
    assert objective.tv_term(tf.constant(pixels)).numpy() == pytest.approx(expected, rel=1e-5)
    assert objective.tv_term(tf.fill([1, 4, 4, 3], 77.0)).numpy() == pytest.approx([0.0])


def test_every_weight_of_the_recipe_scales_its_own_term() -> None:
    usual = objective.term_weights(recipe_for())
    changed = objective.term_weights(recipe_for(content_weight=2e3, style_weight=3e-2, tv_weight=5.0))
    factors = {f.name: getattr(changed, f.name) / getattr(usual, f.name) for f in dataclasses.fields(usual)}
    assert factors == pytest.approx({"content": 2.0, "style": 3.0, "tv": 5.0})


def test_the_gradient_agrees_with_finite_differences(engine: Engine) -> None:
    """Through the whole backbone and all three terms, for each picture of a batch."""
    # Noise, because between equal neighbours max-pooling has no derivative.
    start = tf.constant(np.stack([photo(24, 16), painting(24)[:16]]) + RNG.normal(0, 8, (2, 16, 24, 3)), tf.float32)
    content = engine.activations(tf.reverse(start, [1]))[CONTENT_LAYER]
    style = engine.activations(tf.constant(painting(32)[None], tf.float32))
    grams = tuple(objective.gram(style[name])[0] for name in STYLE_LAYERS)
    weights = Terms(style=tf.constant(10.0), content=tf.constant(10.0), tv=tf.constant(10.0))

    def loss(x: tf.Tensor) -> tf.Tensor:
        found = engine.activations(x)
        terms = Terms(
            style=objective.style_term(tuple(objective.gram(found[name]) for name in STYLE_LAYERS), grams),
            content=objective.content_term(found[CONTENT_LAYER], content),
            tv=objective.tv_term(x),
        )
        return terms.total(weights)

    state, _ = engine.advance(*first_evaluation(start), content, grams, weights, tf.constant(1))
    assert state.loss.numpy() == pytest.approx(loss(start).numpy(), rel=1e-4)
    for seed in range(3):
        # Uphill in every pixel, by random amounts: the slope is then large beside the rounding of the loss.
        amounts = tf.abs(tf.random.stateless_normal(start.shape, [seed, 0]))
        direction = amounts * tf.sign(state.gradient)
        step = 0.03
        difference = (loss(start + step * direction) - loss(start - step * direction)) / (2 * step)
        slope = tf.reduce_sum(state.gradient * direction, axis=[1, 2, 3])
        assert difference.numpy() == pytest.approx(slope.numpy(), rel=0.01)


def first_evaluation(x: tf.Tensor) -> tuple[object, Terms]:
    from stylefleet.engine import optimizers

    return optimizers.init(x), Terms(*(tf.zeros([x.shape[0]]) for _ in Terms._fields))
