"""A run that is stopped and resumed gives the bytes of one that never was."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from stylefleet import pictures
from stylefleet.engine import Batch, CheckpointCorrupt, Engine, Iterate, checkpoint_position, optimize
from stylefleet.recipe import Recipe, Refinement
from tests.engine.pictures import contents, looks, painting, photo, recipe

BOX = Refinement(box=(0.3, 0.2, 0.7, 0.8), zoom=1.5, iterations=12)
CASES: dict[str, dict[str, Any]] = {
    "lbfgs": {},
    "adam, averaged": {"optimizer": "adam", "averaging": 0.9},
    "with a refinement": {"refine": [BOX]},
    "with an early end": {"plateau": 0.02},
}


def batch_for(wanted: Recipe) -> Batch:
    originals = [photo(96, 64), painting(96)[:64]]
    details = [np.stack([pictures.detail(o, r, 48, 32) for o in originals]) for r in wanted.refine]
    return Batch(contents=contents(wanted, *originals), details=tuple(details))


def resumed_at(engine: Engine, wanted: Recipe, stop: int) -> tuple[list[bytes], Iterate]:
    """The checkpoints after the iterate with this number, and the last iterate of a run that goes on from them."""
    batch, made = batch_for(wanted), looks(engine, wanted)
    iterate = next(itertools.islice(optimize(engine, batch, made, wanted), stop, None))
    saved = [iterate.checkpoint(index) for index in range(2)]
    last = iterate
    for last in optimize(engine, batch, made, wanted, resume=saved):  # noqa: B007
        pass
    return saved, last


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_gives_the_bytes_of_an_uninterrupted_one(engine: Engine, case: str) -> None:
    wanted = recipe((32, 20), (48, 20), **CASES[case])
    *iterates, whole = optimize(engine, batch_for(wanted), looks(engine, wanted), wanted)
    for stop in range(len(iterates)):
        _, resumed = resumed_at(engine, wanted, stop)
        assert resumed.values.tobytes() == whole.values.tobytes()
        assert resumed.losses.tobytes() == whole.losses.tobytes()
        assert resumed.iterations.tolist() == whole.iterations.tolist()
        assert resumed.iteration == whole.iteration


def test_one_picture_of_a_batch_is_resumed_alone(engine: Engine) -> None:
    wanted = recipe((32, 10), (48, 20))
    batch, made = batch_for(wanted), looks(engine, wanted)
    first, *_, whole = optimize(engine, batch, made, wanted)
    alone = Batch(contents=batch.contents[1:])
    *_, resumed = optimize(engine, alone, made, wanted, resume=[first.checkpoint(1)])
    assert np.abs(resumed.values[0] - whole.values[1]).max() < 1


def test_a_checkpoint_says_where_it_was_taken_and_equal_states_are_equal_bytes(engine: Engine) -> None:
    wanted = recipe((32, 10), (48, 20))
    saved, _ = resumed_at(engine, wanted, 1)
    assert checkpoint_position(saved[0]) == (1, 10)
    assert resumed_at(engine, wanted, 1)[0] == saved


DAMAGE = {
    "empty": lambda data: b"",
    "another file": lambda data: b"PK" + data,
    "cut": lambda data: data[: len(data) // 2],
    "one bit": lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_checkpoint_is_found(engine: Engine, case: str) -> None:
    wanted = recipe((32, 10))
    saved, _ = resumed_at(engine, wanted, 0)
    with pytest.raises(CheckpointCorrupt):
        checkpoint_position(DAMAGE[case](saved[0]))
    with pytest.raises(CheckpointCorrupt):
        optimize(engine, batch_for(wanted), looks(engine, wanted), wanted, resume=[saved[0], DAMAGE[case](saved[1])])


def test_a_checkpoint_of_another_recipe_or_place_is_not_taken(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = recipe((32, 10), (48, 20))
    batch, made = batch_for(wanted), looks(engine, wanted)
    early, late = resumed_at(engine, wanted, 0)[0], resumed_at(engine, wanted, 1)[0]
    with pytest.raises(ValueError, match="at one position"):
        optimize(engine, batch, made, wanted, resume=[early[0], late[1]])
    with pytest.raises(ValueError, match="for each picture is needed, 2; found 1"):
        optimize(engine, batch, made, wanted, resume=early[:1])
    other = dataclasses.replace(wanted, content_weight=5e2)
    with pytest.raises(CheckpointCorrupt, match="another recipe"):
        optimize(engine, batch, made, other, resume=early)
    monkeypatch.setattr("stylefleet.engine.checkpoint.ENGINE_VERSION", "0")
    with pytest.raises(CheckpointCorrupt, match="another version"):
        optimize(engine, batch, made, wanted, resume=early)


CHILD = """
import sys
from stylefleet.engine import load_engine
from tests.engine.test_checkpoint import resumed_at
from tests.engine.pictures import recipe
wanted = recipe((32, 10), (48, 10))
sys.stdout.buffer.write(resumed_at(load_engine(wanted, threads=1), wanted, 0)[1].values.tobytes())
"""


def test_another_process_goes_on_to_the_same_bytes() -> None:
    """On one thread, where sums have one order."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    outputs = [
        subprocess.run(
            [sys.executable, "-c", CHILD], capture_output=True, check=True, timeout=300, env=environment
        ).stdout
        for _ in range(2)
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0]) == 2 * 32 * 48 * 3 * 4
