"""What is held in memory is what Jobs ask for."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from stylefleet import memory
from stylefleet.checkpoints import CHECKPOINT_PIXELS_MAX
from stylefleet.engine import Batch, Engine, checkpoint, lbfgs, optimize
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.descent import HISTORY_OF_LARGE
from stylefleet.engine.lbfgs import Lbfgs
from tests.engine.pictures import contents, looks, recipe


@pytest.mark.parametrize("case", [{}, {"optimizer": "adam"}])
def test_a_scale_holds_nothing_of_the_one_before(engine: Engine, case: dict[str, Any]) -> None:
    wanted = recipe((32, 1), (48, 1), **case)
    iterates = optimize(engine, Batch(contents=contents(wanted)), looks(engine, wanted), wanted)
    coarse = next(iterates)
    picture = weakref.ref(coarse.raw)
    assert picture() is not None
    del coarse
    fine = next(iterates)
    gc.collect()
    assert fine.scale_px == 48
    assert picture() is None


def test_a_resumed_run_does_not_hold_its_checkpoint_to_the_end(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = recipe((32, 2), (48, 1))
    batch, made = Batch(contents=contents(wanted)), looks(engine, wanted)
    saved = next(optimize(engine, batch, made, wanted)).checkpoint(0)
    found: list[weakref.ref[Any]] = []
    from_bytes = checkpoint.from_bytes

    def watched(data: bytes) -> Any:
        read = from_bytes(data)
        found.append(weakref.ref(read))
        return read

    monkeypatch.setattr(checkpoint, "from_bytes", watched)
    iterates = optimize(engine, batch, made, wanted, resume=[saved])
    next(iterates)
    gc.collect()
    assert [reference() for reference in found] == [None]


def test_pairs_that_are_carried_to_the_next_size_are_arrays_of_their_own() -> None:
    # The benchmark of memory counts on it: few steps at the full size then hold what many do.
    optimizer = Lbfgs()
    first = optimizer.init(tf.ones([1, 8, 8, 3]))
    assert len(addresses(first)) == 1
    assert len(addresses(optimizer.enlarge(first, tf.ones([1, 16, 16, 3])))) == 2 * lbfgs.HISTORY


def addresses(state: lbfgs.State) -> set[int]:
    """Of the arrays of all pairs."""
    return {np.asarray(array).__array_interface__["data"][0] for array in (*state.s, *state.y)}


def test_memory_is_predicted_for_the_state_that_the_optimizer_has_and_for_what_is_saved_of_it() -> None:
    x = tf.ones([1, 4, 4, 3])
    for history, predicted in ((lbfgs.HISTORY, memory.STATE), (HISTORY_OF_LARGE, memory.STATE_OF_LARGE)):
        arrays = [a for a in tf.nest.flatten(Lbfgs(history=history).init(x)) if a.shape == x.shape]
        assert sum(a.dtype.size * 3 for a in arrays) == predicted
    assert memory.CHECKPOINT * CHECKPOINT_PIXELS_MAX <= memory.CHECKPOINT_MAX
