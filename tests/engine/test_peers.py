"""The plain methods that benchmarks compare with: they minimize what the engine minimizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from benchmarks import peers
from benchmarks.method import SEED_LOOP, arrival
from benchmarks.peers import Judge, Sample
from benchmarks.problem import Problem

from stylefleet.engine import Batch, Engine, looks_for, optimize
from stylefleet.engine._tensorflow import tf
from stylefleet.presets import recipe_for
from stylefleet.recipe import Scale
from tests.engine.pictures import painting, photo

SIZE_PX = 32
EVALUATIONS = {
    "seed loop": peers.seed_evaluation,
    "keras.io example": peers.batch_evaluation,
    "plain Adam": peers.cached_evaluation,
}


def moderate(pixels: np.ndarray) -> np.ndarray:
    """Colours far enough from black and white that no noise leaves 0..255; what is clipped has another loss."""
    return (90 + pixels * 0.3).astype(np.uint8)


@pytest.fixture(scope="module")
def problem() -> Problem:
    recipe = recipe_for(size_px=SIZE_PX, scales=(Scale(size_px=SIZE_PX, iterations=12),), precision="float32")
    return Problem(
        photo=moderate(photo(SIZE_PX, SIZE_PX * 2 // 3)),
        style=moderate(painting()[: SIZE_PX * 2 // 3, :SIZE_PX]),
        recipe=recipe,
    )


def evaluated(name: str, problem: Problem, picture: tf.Tensor) -> tuple[float, np.ndarray]:
    """Loss and gradient [1, H, W, 3] by one of the peers."""
    others = [tf.constant(p[None], tf.float32) for p in (problem.content, problem.style)]
    loss, gradient = EVALUATIONS[name](problem)(picture, *([] if name == "plain Adam" else others))
    return float(loss), gradient.numpy()


def some_picture(problem: Problem) -> tf.Tensor:
    noise = np.random.default_rng(3).normal(0, 12, problem.content.shape)
    return tf.constant((problem.content + noise)[None], tf.float32)


@pytest.mark.parametrize("name", EVALUATIONS)
def test_a_peers_gradient_is_what_finite_differences_give(name: str, problem: Problem) -> None:
    picture = some_picture(problem)
    _, gradient = evaluated(name, problem, picture)
    rng = np.random.default_rng(0)
    smooth = tf.image.resize(tf.constant(rng.normal(size=(1, 4, 6, 3)), tf.float32), picture.shape[1:3]).numpy()
    for direction in (gradient / np.abs(gradient).max(), smooth):
        step = 0.25  # of 255: above the rounding of float32, below the bends of ReLU and pooling
        up, _ = evaluated(name, problem, picture + step * direction)
        down, _ = evaluated(name, problem, picture - step * direction)
        expected = float(np.sum(gradient * direction))
        assert (up - down) / (2 * step) == pytest.approx(expected, rel=0.02, abs=1e-3 * abs(up))


def test_all_peers_mean_the_same_objective(problem: Problem) -> None:
    picture = some_picture(problem)
    seed, gradient = evaluated("seed loop", problem, picture)
    for name in EVALUATIONS:
        loss, found = evaluated(name, problem, picture)
        assert loss == pytest.approx(seed, rel=1e-4)
        assert found == pytest.approx(gradient, rel=1e-2, abs=1e-3 * float(np.abs(gradient).max()))


@pytest.mark.parametrize("heavy", ["style_weight", "content_weight", "tv_weight"])
def test_the_seed_loops_objective_is_the_engines_own_loss(engine: Engine, problem: Problem, heavy: str) -> None:
    # One term rules at a time: a small one could hide its errors behind the others.
    recipe = replace(problem.recipe, **{heavy: 100 * getattr(problem.recipe, heavy)})
    problem = replace(problem, recipe=recipe)
    looks = looks_for(engine, [[(problem.style, 1.0)]], problem.recipe)
    judge = Judge(problem)
    for iterate in optimize(engine, Batch(contents=problem.photo[None]), looks, problem.recipe):
        values = iterate.values
        assert values.min() > 0, "a clipped picture has another loss"
        assert values.max() < 255
        loss, _ = evaluated("seed loop", problem, tf.constant(values))
        assert loss == pytest.approx(float(iterate.losses[0]), rel=1e-3)
        assert judge(values[0]) == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("method", [peers.seed_loop, peers.keras_example, peers.plain_adam])
def test_a_peer_does_so_many_evaluations_and_gets_better(method: object, problem: Problem) -> None:
    judge, seen = Judge(problem), []
    samples = method(problem, judge, evaluations=20, progress=seen.append)  # type: ignore[operator]
    assert samples == seen
    assert [s.evaluations for s in samples] == list(range(1, 21))
    assert [s.seconds for s in samples] == sorted(s.seconds for s in samples)
    assert samples[-1].objective < judge(problem.content)


def run(*seconds_and_objectives: tuple[float, float]) -> list[Sample]:
    return [Sample(seconds=s, evaluations=round(s), objective=o) for s, o in seconds_and_objectives]


def test_the_first_iterate_that_is_as_good_counts() -> None:
    ours = run((1, 9.0), (2, 5.0), (3, 6.0), (4, 1.0))
    (row,) = arrival("ours", ours, SEED_LOOP, run((10, 7.0), (20, 5.0)))
    assert row.measured.startswith("2.0 s, 2 steps")
    assert row.ratio == "10.0 x sooner (goal 10 x)"


def test_where_ours_never_gets_there_the_table_says_so_and_claims_only_what_was_seen() -> None:
    ours = run((1, 9.0), (4, 6.5))
    reached, own_end = arrival("ours", ours, SEED_LOOP, run((5, 9.0), (10, 7.0), (15, 6.0), (20, 5.0)))
    assert (reached.measured, reached.ratio) == ("not reached", "not reached (goal 10 x)")
    assert own_end.compared_with == "seed loop: not as good after 10.0 s, 10 evaluations"
    assert own_end.ratio == "at least 2.5 x sooner"
    assert arrival("ours", ours, SEED_LOOP, run((2, 6.0), (20, 5.0)))[1].ratio == "2.0 x later"
