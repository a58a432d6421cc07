"""L-BFGS and Adam, batched: one table of problems for both, beside SciPy; and what SciPy's cannot do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.optimize

from stylefleet.engine import lbfgs
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.adam import Adam
from stylefleet.engine.descent import Optimizer
from stylefleet.engine.lbfgs import Lbfgs
from tests.engine.problems import PROBLEMS, STARTS, Loss, evaluate, quadratic, rosenbrock


def minimize(loss: Loss, start: np.ndarray, iterations: int, optimizer: Optimizer | None = None) -> list[Any]:
    """The states from the first on."""
    optimizer = optimizer or Lbfgs()

    @tf.function
    def iteration(state: Any) -> Any:
        return optimizer.update(state, *evaluate(loss, optimizer.trial(state)))[0]

    states = [optimizer.init(tf.constant(start, tf.float32))]
    for _ in range(iterations):
        states.append(iteration(states[-1]))
    return states


def scipy_reaches(loss: Loss, start: np.ndarray, evaluations: int) -> float:
    def both(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = evaluate(loss, tf.constant(x[None], tf.float32))
        return float(value[0]), gradient[0].numpy().astype(float)

    options = {"maxfun": evaluations, "maxcor": lbfgs.HISTORY}
    return float(scipy.optimize.minimize(both, start.astype(float), jac=True, method="L-BFGS-B", options=options).fun)


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_it_reaches_what_scipys_lbfgs_reaches(name: str, optimizer: str) -> None:
    """L-BFGS with as many evaluations; Adam, which knows no curvature, with more, and to a hundredth."""
    problem = PROBLEMS[name]
    if optimizer == "lbfgs":
        states, missing = minimize(problem.loss, problem.starts, problem.evaluations), 1e-3
    else:
        free = Adam(learning_rate=problem.adam_rate, low=-np.inf, high=np.inf)
        states, missing = minimize(problem.loss, problem.starts, problem.adam_evaluations, free), 1e-2
    begin = problem.loss(tf.constant(problem.starts, tf.float32)).numpy()
    for start, value, first in zip(problem.starts, states[-1].loss.numpy(), begin, strict=True):
        reference = scipy_reaches(problem.loss, start, problem.evaluations)
        # Of the way from the start to the minimum, at most this share is missing beside SciPy's line search.
        assert value - reference <= missing * (first - reference) + 1e-4


def test_adam_takes_the_steps_of_the_paper() -> None:
    """Algorithm 1 of Kingma and Ba in NumPy, with the decay of the learning rate."""
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(450, 2, 3)).astype(np.float32)
    optimizer = Adam(learning_rate=1.5)
    state = optimizer.init(tf.constant(np.full((2, 3), 100.0), tf.float32))
    x, m, v = np.full((2, 3), 100.0), np.zeros((2, 3)), np.zeros((2, 3))
    for t, g in enumerate(gradients, start=1):
        state, _ = optimizer.update(state, tf.ones([2]), tf.constant(g))
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g**2
        x -= 1.5 * 0.9 ** ((t - 1) // 200) * (m / (1 - 0.9**t)) / np.sqrt(v / (1 - 0.99**t))
        if t in (1, 2, 199, 200, 201, 450):
            assert state.ahead.numpy() == pytest.approx(x, rel=1e-3)


def test_adam_keeps_pixels_in_their_range() -> None:
    states = minimize(lambda x: -tf.reduce_sum(x, axis=1), np.full((1, 4), 250.0), 30, Adam(learning_rate=2.0))
    assert states[-1].x.numpy().max() == 255.0


def test_the_curvature_that_was_learned_at_one_size_helps_at_the_next() -> None:
    """A smooth picture, whose loss is a mean over pixels with a curvature that differs from place to place."""

    def loss_at(size: int) -> Loss:
        y, x = np.mgrid[0:size, 0:size] / size
        curvature = tf.constant((1 + 60 * x * x)[None, ..., None], tf.float32)
        wanted = tf.constant(127 + 100 * np.sin(3 * x + 2 * y)[None, ..., None], tf.float32)
        return lambda p: tf.reduce_mean(curvature * tf.square(p - wanted), axis=[1, 2, 3])

    coarse = minimize(loss_at(16), np.full((1, 16, 16, 1), 127.0), 12)[-1]
    # As between scales: the coarser picture, enlarged, in a place that the finer one does not like as much.
    start = 0.7 * tf.image.resize(coarse.x, (32, 32), "bicubic") + 30.0

    def after(state: Any, steps: int = 6) -> float:
        for _ in range(steps):
            state, _ = Lbfgs().update(state, *evaluate(loss_at(32), Lbfgs().trial(state)))
        return float(state.loss[0])

    assert after(Lbfgs().enlarge(coarse, start)) < 0.8 * after(Lbfgs().init(start))


def test_adam_goes_on_at_the_next_size_with_its_means_and_its_count() -> None:
    optimizer = Adam(learning_rate=1.0)
    slope = tf.constant(np.random.default_rng(0).normal(size=(1, 8, 8, 3)), tf.float32)
    state = minimize(lambda p: tf.reduce_sum(slope * p, axis=[1, 2, 3]), np.full((1, 8, 8, 3), 127.0), 30, optimizer)[
        -1
    ]
    larger = optimizer.enlarge(state, tf.fill([1, 16, 16, 3], 127.0))
    assert larger.steps.numpy() == [30]
    # Where the gradient pointed before, the first step goes on, although this size has shown no gradient yet; and
    # no pixel leaps.
    after, _ = optimizer.update(larger, tf.ones([1]), tf.zeros([1, 16, 16, 3]))
    moved = (after.ahead - after.x).numpy()
    uphill = np.repeat(np.repeat(slope.numpy(), 2, axis=1), 2, axis=2)
    assert np.mean(np.sign(moved) == -np.sign(uphill)) > 0.7
    assert 0.2 < np.abs(moved).max() <= 1.5


def test_the_loss_of_the_state_never_rises() -> None:
    losses = np.stack([s.loss.numpy() for s in minimize(rosenbrock, 0.5 * STARTS, 60)])
    assert np.all(np.diff(losses[1:], axis=0) <= 1e-5 * losses[1:-1])


def test_one_iteration_is_one_evaluation() -> None:
    evaluations = []

    def counted(x: tf.Tensor) -> tf.Tensor:
        evaluations.append(1)
        return rosenbrock(x)

    state = Lbfgs().init(tf.constant(STARTS))
    for _ in range(25):
        state, _ = Lbfgs().update(state, *evaluate(counted, Lbfgs().trial(state)))
    assert len(evaluations) == 25


def test_the_first_move_is_scaled_to_pixels() -> None:
    states = minimize(quadratic(100.0), 40 * STARTS, 1)
    moved = np.abs(Lbfgs().trial(states[1]).numpy() - 40 * STARTS).max(axis=1)
    assert moved == pytest.approx([lbfgs.FIRST_MOVE] * 3, rel=1e-4)


@pytest.mark.parametrize("optimizer", [Lbfgs(), Adam(learning_rate=0.1)], ids=["lbfgs", "adam"])
def test_a_picture_gets_the_same_alone_and_in_a_batch(optimizer: Optimizer) -> None:
    together = minimize(rosenbrock, 0.3 * STARTS, 40, optimizer)[-1].x.numpy()
    for index in range(3):
        alone = minimize(rosenbrock, 0.3 * STARTS[index : index + 1], 40, optimizer)[-1].x.numpy()
        assert np.array_equal(alone[0], together[index])


@pytest.mark.parametrize("optimizer", [Lbfgs(), Adam(learning_rate=0.1)], ids=["lbfgs", "adam"])
def test_a_member_that_is_never_finite_disturbs_nobody(optimizer: Optimizer) -> None:
    poisoned = STARTS.copy()
    poisoned[1] = np.nan
    clean, mixed = (minimize(quadratic(100.0), starts, 30, optimizer)[-1] for starts in (STARTS, poisoned))
    assert np.array_equal(clean.x.numpy()[[0, 2]], mixed.x.numpy()[[0, 2]])
    assert np.isinf(mixed.loss.numpy()[1])


def test_large_pictures_are_remembered_with_fewer_pairs() -> None:
    state = minimize(lambda p: tf.reduce_mean(tf.square(p), axis=[1, 2, 3]), np.ones((1, 8, 8, 1)), 12)[-1]
    fewer = Lbfgs(history=4).enlarge(state, tf.ones([1, 16, 16, 1]))
    assert len(fewer.s) == len(fewer.y) == len(fewer.rho) == 4
    assert fewer.s[-1].shape == (1, 16, 16, 1)


def test_a_step_into_the_infinite_is_taken_back() -> None:
    def cliff(x: tf.Tensor) -> tf.Tensor:
        """A bowl whose wall turns to NaN half-way down the first step, for the second member only."""
        value = tf.reduce_sum(tf.square(x), axis=1)
        wall = tf.constant([False, True, False]) & (tf.norm(x, axis=1) < 3.0)
        return tf.where(wall, float("nan"), value)

    states = minimize(cliff, 8 * np.sign(STARTS) * np.array([1, 0.15, 1])[:, None], 40)
    final = states[-1]
    assert np.isfinite(final.loss.numpy()).all()
    assert np.isfinite(final.x.numpy()).all()
    assert final.loss.numpy()[1] < states[1].loss.numpy()[1]
    assert max(final.loss.numpy()[[0, 2]]) < 1e-6


def test_repeated_refusals_forget_the_history() -> None:
    states = minimize(quadratic(100.0), STARTS, 8)
    state = states[-1]
    assert sum(float(r[0]) != 0 for r in state.rho) >= 5
    for _ in range(lbfgs.REFUSALS_MAX):
        worse = (state.loss + 1e9, state.gradient)
        state, accepted = Lbfgs().update(state, *worse)
        assert not accepted.numpy().any()
    assert all(float(tf.reduce_max(r)) == 0 for r in state.rho)
    assert np.array_equal(state.x.numpy(), states[-1].x.numpy())
    # From here it goes on by steepest descent, in small steps, and recovers.
    recovered = state
    for _ in range(80):
        recovered, _ = Lbfgs().update(recovered, *evaluate(quadratic(100.0), Lbfgs().trial(recovered)))
    assert np.all(recovered.loss.numpy() < 0.01 * state.loss.numpy() + 1e-4)
