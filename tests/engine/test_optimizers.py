"""The batched L-BFGS against SciPy's, and what SciPy's cannot do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.optimize

from stylefleet.engine import optimizers
from stylefleet.engine._tensorflow import tf

Loss = Callable[[tf.Tensor], tf.Tensor]  # [B, n] -> [B]


def quadratic(condition: float, size: int = 30) -> Loss:
    scales = tf.constant(np.geomspace(1.0, condition, size), tf.float32)
    return lambda x: 0.5 * tf.reduce_sum(scales * tf.square(x - 1.0), axis=1)


def rosenbrock(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(100.0 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1.0 - x[:, :-1]) ** 2, axis=1)


def quartic(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.square(tf.square(x)) - x, axis=1) + tf.reduce_sum(tf.square(x[:, 1:] - x[:, :-1]), axis=1)


def tilted_cosh(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.math.log(tf.cosh(x)) - 0.3 * x, axis=1)


def evaluate(loss: Loss, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(x)
        total = tf.reduce_sum(value)
    return value, tape.gradient(total, x)


def minimize(loss: Loss, start: np.ndarray, iterations: int) -> list[optimizers.State]:
    @tf.function
    def iteration(state: optimizers.State) -> optimizers.State:
        return optimizers.update(state, *evaluate(loss, optimizers.trial(state)))[0]

    states = [optimizers.init(tf.constant(start, tf.float32))]
    for _ in range(iterations):
        states.append(iteration(states[-1]))
    return states


STARTS = np.random.default_rng(3).normal(size=(3, 30)).astype(np.float32)
PROBLEMS = {
    "a round bowl": (quadratic(1.0), STARTS, 20),
    "a narrow valley": (quadratic(100.0), STARTS, 60),
    "a very narrow valley": (quadratic(10_000.0), STARTS, 150),
    "Rosenbrock in 2 dimensions": (rosenbrock, np.array([[-1.2, 1.0], [0.0, 0.0], [2.0, -1.0]]), 80),
    "Rosenbrock in 10 dimensions": (rosenbrock, 0.3 * STARTS[:, :10], 150),
    "log cosh": (tilted_cosh, 3 * STARTS, 40),
    "a chain of quartics": (quartic, 3 * STARTS, 40),
}


@pytest.mark.parametrize("problem", PROBLEMS)
def test_it_reaches_what_scipy_reaches_with_as_many_evaluations(problem: str) -> None:
    loss, starts, evaluations = PROBLEMS[problem]
    found = minimize(loss, starts, evaluations)[-1].loss.numpy()
    begin = loss(tf.constant(starts, tf.float32)).numpy()
    for start, value, first in zip(starts, found, begin, strict=True):
        reference = scipy.optimize.minimize(
            lambda x: tuple(
                float(v[0]) if v.shape.rank == 1 else v[0].numpy().astype(float)
                for v in evaluate(loss, tf.constant(x[None], tf.float32))
            ),
            start.astype(float),
            jac=True,
            method="L-BFGS-B",
            options={"maxfun": evaluations, "maxcor": optimizers.HISTORY},
        ).fun
        # Of the way from the start to the minimum, at most a thousandth is missing beside SciPy's line search.
        assert value - reference <= 1e-3 * (first - reference) + 1e-4


def test_the_loss_of_the_state_never_rises() -> None:
    losses = np.stack([s.loss.numpy() for s in minimize(rosenbrock, 0.5 * STARTS, 60)])
    assert np.all(np.diff(losses[1:], axis=0) <= 1e-5 * losses[1:-1])


def test_one_iteration_is_one_evaluation() -> None:
    evaluations = []

    def counted(x: tf.Tensor) -> tf.Tensor:
        evaluations.append(1)
        return rosenbrock(x)

    state = optimizers.init(tf.constant(STARTS))
    for _ in range(25):
        state, _ = optimizers.update(state, *evaluate(counted, optimizers.trial(state)))
    assert len(evaluations) == 25


def test_the_first_move_is_scaled_to_pixels() -> None:
    states = minimize(quadratic(100.0), 40 * STARTS, 1)
    moved = np.abs(optimizers.trial(states[1]).numpy() - 40 * STARTS).max(axis=1)
    assert moved == pytest.approx([optimizers.FIRST_MOVE] * 3, rel=1e-4)


def test_a_picture_gets_the_same_alone_and_in_a_batch() -> None:
    together = minimize(rosenbrock, 0.3 * STARTS, 40)[-1].x.numpy()
    for index in range(3):
        alone = minimize(rosenbrock, 0.3 * STARTS[index : index + 1], 40)[-1].x.numpy()
        assert np.array_equal(alone[0], together[index])


def test_a_member_that_is_never_finite_disturbs_nobody() -> None:
    poisoned = STARTS.copy()
    poisoned[1] = np.nan
    clean, mixed = (minimize(quadratic(100.0), starts, 30)[-1] for starts in (STARTS, poisoned))
    assert np.array_equal(clean.x.numpy()[[0, 2]], mixed.x.numpy()[[0, 2]])
    assert np.isinf(mixed.loss.numpy()[1])


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
    for _ in range(optimizers.REFUSALS_MAX):
        worse = (state.loss + 1e9, state.gradient)
        state, accepted = optimizers.update(state, *worse)
        assert not accepted.numpy().any()
    assert all(float(tf.reduce_max(r)) == 0 for r in state.rho)
    assert np.array_equal(state.x.numpy(), states[-1].x.numpy())
    # From here it goes on by steepest descent, in small steps, and recovers.
    recovered = state
    for _ in range(80):
        recovered, _ = optimizers.update(recovered, *evaluate(quadratic(100.0), optimizers.trial(recovered)))
    assert np.all(recovered.loss.numpy() < 0.01 * state.loss.numpy() + 1e-4)
