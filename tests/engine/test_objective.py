"""The terms against NumPy written from the formulas, and the gradient against finite differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stylefleet.engine import Batch, Engine, load_engine, objective, stages
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.evaluation import Problem, evaluate
from stylefleet.engine.objective import Layers, Moments
from stylefleet.presets import recipe_for
from tests.engine.pictures import looks, painting, photo, recipe

RNG = np.random.default_rng(0)
ONE = tf.constant([[1.0]])


def features(batch: int = 2, height: int = 5, width: int = 7, channels: int = 4) -> np.ndarray:
    return RNG.normal(size=(batch, height, width, channels)).astype(np.float32)


def gram(f: np.ndarray | tf.Tensor, positions: int) -> np.ndarray:
    return objective.moments(tf.constant(f), None, tf.constant([[float(positions)]])).gram[:, 0].numpy()


def test_the_gram_is_the_mean_outer_product_of_the_activations() -> None:
    f = features()
    assert gram(f, 35) == pytest.approx(np.einsum("bhwc,bhwd->bcd", f, f) / 35, rel=1e-5, abs=1e-6)


def test_the_moments_of_a_region_are_weighted_means() -> None:
    f, weights = features(), RNG.uniform(size=(2, 5, 7, 3)).astype(np.float32)
    positions = weights.sum(axis=(1, 2))
    found = objective.moments(tf.constant(f), tf.constant(weights), tf.constant(positions))
    expected_gram = np.einsum("bhwr,bhwc,bhwd->brcd", weights, f, f) / positions[..., None, None]
    expected_mean = np.einsum("bhwr,bhwc->brc", weights, f) / positions[..., None]
    assert found.gram.numpy() == pytest.approx(expected_gram, rel=1e-4, abs=1e-5)
    assert found.mean.numpy() == pytest.approx(expected_mean, rel=1e-4, abs=1e-5)


def test_the_gram_does_not_grow_with_the_picture() -> None:
    f = features(batch=1)
    assert gram(np.tile(f, (1, 3, 2, 1)), 35 * 6) == pytest.approx(gram(f, 35), rel=1e-5, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.just(1), st.integers(1, 6), st.integers(1, 6), st.integers(1, 5)),
        elements=st.floats(-50, 50, width=32),
    )
)
def test_a_gram_of_any_shape_is_symmetric_and_not_negative(f: np.ndarray) -> None:
    found = gram(f, f.shape[1] * f.shape[2])
    assert found.shape == (1, f.shape[3], f.shape[3])
    assert found == pytest.approx(found.transpose(0, 2, 1), rel=1e-4, abs=1e-3)
    assert np.linalg.eigvalsh(found[0].astype(np.float64)).min() >= -1e-3 * (1 + np.abs(found).max())


@pytest.mark.parametrize(("dtype", "error"), [(tf.float16, 1e-3), (tf.bfloat16, 6e-3)])
@pytest.mark.parametrize("size", [(8, 8), (5, 7)])
def test_the_gram_of_half_precision_activations_is_a_float32_sum(
    dtype: tf.DType, error: float, size: tuple[int, int]
) -> None:
    f = np.abs(300 * features(1, *size))
    found = objective.moments(tf.cast(tf.constant(f), dtype), None, tf.constant([[float(size[0] * size[1])]])).gram
    assert found.dtype == tf.float32
    expected = np.einsum("bhwc,bhwd->bcd", f, f) / (size[0] * size[1])
    assert expected.max() > 65504  # what float16 cannot hold
    assert np.linalg.norm(found.numpy()[0] - expected) < error * np.linalg.norm(expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_gradient_through_the_gram_is_tensorflows_own(weighted: bool) -> None:
    f = tf.constant(features())
    weights = tf.constant(RNG.uniform(size=(2, 5, 7, 1)), tf.float32) if weighted else tf.ones([2, 5, 7, 1])
    upstream = tf.constant(RNG.normal(size=(2, 1, 4, 4)).astype(np.float32))  # deliberately not symmetric
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(f)
        ours = objective.moments(f, weights if weighted else None, tf.constant([[35.0]])).gram
        plain = tf.einsum("bhwr,bhwc,bhwd->brcd", weights, f, f) / 35.0
        both = tf.reduce_sum(ours * upstream), tf.reduce_sum(plain * upstream)
    assert tape.gradient(both[0], f).numpy() == pytest.approx(tape.gradient(both[1], f).numpy(), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("statistics", ["gram", "gram+mean"])
def test_the_style_term_is_the_relative_squared_error_of_the_statistics(statistics: str) -> None:
    layers = Layers(content=(), style=(("block1_conv1", 0.2), ("block2_conv1", 0.7)), statistics=statistics)  # type: ignore[arg-type]
    shares = np.array([[0.25, 0.75], [1.0, 0.0]], np.float32)

    def moments(batch: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
        return RNG.normal(size=(batch, 2, channels, channels)), RNG.normal(size=(batch, 2, channels))

    found = {name: moments(2, c) for name, c in (("block1_conv1", 3), ("block2_conv1", 4))}
    wanted = {name: moments(1, c) for name, c in (("block1_conv1", 3), ("block2_conv1", 4))}
    expected = np.zeros(2)
    for name, weight in layers.style:
        for part, axes in zip(range(2), ((2, 3), (2,)), strict=True):
            if part == 0 or statistics == "gram+mean":
                error = ((found[name][part] - wanted[name][part]) ** 2).mean(axis=axes)
                expected += weight * (shares * error / (wanted[name][part] ** 2).mean(axis=axes)).sum(axis=1)
    as_tensors = [
        {n: Moments(*(tf.constant(a, tf.float32) for a in pair)) for n, pair in given_.items()}
        for given_ in (found, wanted)
    ]
    assert objective.style_term(*as_tensors, tf.constant(shares), layers).numpy() == pytest.approx(expected, rel=1e-5)


def test_the_content_term_is_the_relative_squared_error_of_the_activations() -> None:
    f, c = tf.constant(features()), tf.constant(features())
    expected = ((f.numpy() - c.numpy()) ** 2).mean(axis=(1, 2, 3)) / (c.numpy() ** 2).mean(axis=(1, 2, 3))
    found = objective.content_error(f, c, objective.content_norm(c))
    assert found.numpy() == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=30)
@given(
    hnp.arrays(
        np.float32,
        st.tuples(st.integers(1, 2), st.integers(1, 6), st.integers(1, 6), st.just(3)),
        elements=st.floats(0, 255, width=32),
    )
)
def test_total_variation_is_the_mean_squared_step_between_neighbours_at_any_shape(pixels: np.ndarray) -> None:
    def mean_square(steps: np.ndarray) -> float:
        return float((steps**2).mean()) if steps.size else 0.0

    expected = [mean_square(np.diff(p / 255, axis=0)) + mean_square(np.diff(p / 255, axis=1)) for p in pixels]
    with tf.GradientTape() as tape:
        x = tf.constant(pixels)
        tape.watch(x)
        found = objective.tv_term(x)
    assert found.numpy() == pytest.approx(expected, rel=1e-4, abs=1e-9)
    gradient = tape.gradient(found, x).numpy()
    # It is quadratic, so a central difference is exact: against the direction of the pixels themselves, twice itself.
    assert (gradient * pixels).sum(axis=(1, 2, 3)) == pytest.approx(2 * np.array(expected), rel=1e-3, abs=1e-6)


def test_every_weight_of_the_recipe_scales_its_own_term() -> None:
    usual = objective.term_weights(recipe_for())
    changed = objective.term_weights(recipe_for(content_weight=2e3, style_weight=3e-2, tv_weight=5.0))
    factors = {name: getattr(changed, name) / getattr(usual, name) for name in usual._fields}
    assert factors == pytest.approx({"content": 2.0, "style": 3.0, "tv": 5.0})


def test_a_layer_of_weight_0_is_not_computed() -> None:
    layers = objective.layers_of(recipe_for(style_layers={"block1_conv1": 1.0, "block5_conv3": 0.0}))
    assert layers.outputs == ("block1_conv1", "block4_conv2")


def problem(
    engine: Engine, wanted_recipe: dict[str, object], batch: dict[str, np.ndarray]
) -> tuple[tf.Tensor, Problem]:
    """At a point away from the content; noise, because between equal neighbours max-pooling has no derivative."""
    wanted = recipe((24, 1), **wanted_recipe)
    pictures = np.stack([photo(24, 16), painting(24)[:16]])
    styles = (painting(), painting(seed=4))[: 2 if "masks" in batch else 1]
    made = looks(engine, wanted, *styles, contents=pictures)
    stage = stages.scale_stage(stages.prepare(Batch(contents=pictures, **batch), made, wanted), 0)
    x = tf.constant(pictures[:, ::-1] + RNG.normal(0, 8, pictures.shape), tf.float32)
    return x, stages.problem_of(engine, wanted, stage, made[0])


MASKS = np.zeros((2, 2, 16, 24), np.uint8)
MASKS[:, 0, :, :10], MASKS[:, 1, :, 8:] = 255, 190
CASES: dict[str, tuple[dict[str, object], dict[str, np.ndarray]]] = {
    "as usual": ({}, {}),
    "means beside Grams": ({"statistics": "gram+mean"}, {}),
    "average pooling": ({"pooling": "average"}, {}),
    "other layers": (
        {"content_layers": {"block2_conv2": 0.4, "block3_conv3": 1.0}, "style_layers": {"block3_conv2": 1.0}},
        {},
    ),
    "regions": ({}, {"masks": MASKS}),
    "a part left alone": ({}, {"protect": MASKS[:, 1]}),
    "a look for each picture": ({"colors": "match"}, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_the_gradient_agrees_with_finite_differences(engine: Engine, case: str) -> None:
    """Through the whole backbone and all terms, for each picture of a batch."""
    recipe_fields, batch = CASES[case]
    loaded = engine if not set(recipe_fields) - {"colors"} else load_engine(recipe((24, 1), **recipe_fields))
    x, given_problem = problem(loaded, recipe_fields, batch)
    scale = tf.constant([1.0, 16.0])

    @tf.function
    def both(at: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return evaluate(loaded.programs.model, loaded.layers, at, given_problem, scale)[:2]

    _, gradient = both(x)
    for seed in range(2):
        # Uphill in every pixel, by random amounts: the slope is then large beside the rounding of the loss.
        direction = tf.abs(tf.random.stateless_normal(x.shape, [seed, 0])) * tf.sign(gradient)
        step = 0.03
        difference = (both(x + step * direction)[0] - both(x - step * direction)[0]) / (2 * step)
        slope = tf.reduce_sum(gradient * direction, axis=[1, 2, 3])
        assert difference.numpy() == pytest.approx(slope.numpy(), rel=0.01)


def test_style_strength_does_not_drift_between_256_and_1024_px(engine: Engine) -> None:
    """The same scene, seen with four times as much of it: the style pulls at each part as hard beside the content.

    (With Grams divided by C H W, as in the reference implementation, its pull would fall to a sixteenth.)
    """
    scene = np.concatenate([photo(32, 64), painting(64)[:, 32:]], axis=1)
    noise = np.random.default_rng(1).normal(0, 20, scene.shape)
    balance = []
    for size in (256, 1024):
        wanted, times = recipe((size, 1)), size // 64
        contents = np.tile(scene, (max(1, times // 4), times, 1))[None]
        made = looks(engine, wanted, painting(256))
        given_problem = stages.problem_of(
            engine, wanted, stages.scale_stage(stages.prepare(Batch(contents=contents), made, wanted), 0), made[0]
        )
        x = tf.constant(contents + np.tile(noise, (max(1, times // 4), times, 1)), tf.float32)
        pulls = []
        for term in ("style", "content"):
            weights = objective.Terms(*(tf.constant(float(name == term)) for name in objective.Terms._fields))
            gradient = evaluate(
                engine.programs.model, engine.layers, x, given_problem._replace(weights=weights), tf.ones([1])
            )[1]
            pulls.append(float(tf.norm(gradient)))
        balance.append(pulls[0] / pulls[1])
    assert balance[1] == pytest.approx(balance[0], rel=0.2)
