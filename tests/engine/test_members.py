"""A picture whose loss has stopped falling ends early, and a batch does not wait for its slowest member."""

from __future__ import annotations

import numpy as np
import pytest

from stylefleet.engine import Batch, Engine, members, optimize, stages
from stylefleet.engine import programs as programs_module
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.members import size_to_compute
from tests.engine.pictures import contents, looks, painting, photo, recipe

FLAT = np.full((32, 48, 3), 128, np.uint8)


def test_a_run_without_a_plateau_takes_every_step(engine: Engine) -> None:
    wanted = recipe((48, 30))
    *_, last = optimize(engine, Batch(contents=contents(wanted)), looks(engine, wanted), wanted)
    assert last.iterations.tolist() == [30]
    assert last.iteration == last.iterations_total == 30


def test_a_scale_ends_when_the_loss_stops_falling(engine: Engine) -> None:
    wanted = recipe((32, 200), (48, 200), plateau=0.05)
    *_, last = optimize(engine, Batch(contents=contents(wanted)), looks(engine, wanted), wanted)
    assert 20 <= last.iterations[0] < 300
    assert last.finished.tolist() == [True]
    full = recipe((32, 200), (48, 200))
    *_, without = optimize(engine, Batch(contents=contents(full)), looks(engine, full), full)
    assert last.losses[0] < 2.0 * without.losses[0]


def test_a_batch_becomes_smaller_as_its_members_finish(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[tuple[int, int]] = []
    advance = programs_module.Programs.advance

    def counted(self: object, stepper: object, descent: object, problem: object, steps: int) -> object:
        computed.append((int(descent.state.x.shape[0]), steps))  # type: ignore[attr-defined]
        return advance(self, stepper, descent, problem, steps)  # type: ignore[arg-type]

    monkeypatch.setattr(programs_module.Programs, "advance", counted)
    # The style itself as content: its loss cannot fall far.
    wanted = recipe((48, 100), plateau=0.08)
    batch = Batch(contents=contents(wanted, photo(), painting(), photo()[::-1]))
    iterates = list(optimize(engine, batch, looks(engine, wanted), wanted))
    last = iterates[-1]
    assert len(set(last.iterations.tolist())) > 1
    # Nothing was computed for a picture after its end.
    assert sum(rows * steps for rows, steps in computed) == last.iterations.sum()
    # What was finished stayed as it was, in its own place, while the others went on.
    first_done = next(i for i in iterates if i.finished.any())
    index = int(np.flatnonzero(first_done.finished)[0])
    assert first_done.values[index].tobytes() == last.values[index].tobytes()
    assert not first_done.finished.all()
    for picture in range(3):
        alone = Batch(contents=batch.contents[picture : picture + 1])
        *_, single = optimize(engine, alone, looks(engine, wanted), wanted)
        assert single.losses[0] == pytest.approx(last.losses[picture], rel=0.05)


def test_nobody_waits_for_a_picture_that_finds_nothing_finite(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: one picture's content features are not numbers."""
    problem_of = stages.problem_of

    def poisoned(*arguments: object) -> object:
        problem = problem_of(*arguments)  # type: ignore[arg-type]
        nan = tf.constant([1.0, float("nan")])[:, None, None, None]
        return problem._replace(content={name: f * nan for name, f in problem.content.items()})

    monkeypatch.setattr(stages, "problem_of", poisoned)
    wanted = recipe((48, 60), plateau=0.01)
    *_, last = optimize(engine, Batch(contents=contents(wanted, photo(), FLAT)), looks(engine, wanted), wanted)
    assert last.iterations[1] == 20
    assert np.isfinite(last.losses[0])
    assert not np.isfinite(last.losses[1])
    monkeypatch.undo()
    *_, alone = optimize(engine, Batch(contents=contents(wanted)), looks(engine, wanted), wanted)
    assert alone.losses[0] == pytest.approx(last.losses[0], rel=1e-3)


@pytest.mark.parametrize(
    ("alive", "rows", "fixed", "expected"),
    [
        (8, 8, False, 8),
        (5, 8, False, 5),
        (1, 8, False, 1),
        (8, 8, True, 8),
        (5, 8, True, 8),
        (4, 8, True, 4),
        (3, 8, True, 4),
        (1, 8, True, 1),
        (1, 1, True, 1),
        (2, 5, True, 3),
        (1, 3, True, 1),
    ],
)
def test_with_compiled_shapes_a_batch_only_halves(alive: int, rows: int, fixed: bool, expected: int) -> None:
    assert size_to_compute(alive, rows, fixed_shapes=fixed) == expected


def test_rows_that_nobody_waits_for_are_computed_and_left_aside(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where every shape is compiled anew; results are the same."""
    wanted = recipe((48, 60), plateau=0.08)
    batch = Batch(contents=contents(wanted, photo(), painting(), photo()[::-1]))
    *_, free = optimize(engine, batch, looks(engine, wanted), wanted)
    always_full = size_to_compute
    monkeypatch.setattr(
        members, "size_to_compute", lambda alive, rows, **_: always_full(alive, rows, fixed_shapes=True)
    )
    *_, fixed = optimize(engine, batch, looks(engine, wanted), wanted)
    assert fixed.iterations.tolist() == free.iterations.tolist()
    assert np.abs(fixed.values - free.values).max() < 1
