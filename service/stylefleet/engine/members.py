"""Which pictures of a batch are still being optimized, and what is known of the others.

A picture whose loss has stopped falling is put aside, and the batch becomes smaller: it never pays for a member that is
done. Its picture is final for the stage from then on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stylefleet.engine._tensorflow import tf
from stylefleet.engine.descent import Descent

CHECK_STEPS = 10
"""Steps between two looks at whether the loss still falls."""


def size_to_compute(alive: int, rows: int, *, fixed_shapes: bool) -> int:
    """Rows that the batch should have when `alive` of its `rows` are still wanted.

    Where each shape is compiled anew (XLA) it only ever halves, and takes some rows along that nobody waits for.
    """
    if not fixed_shapes:
        return alive
    while rows // 2 >= alive and rows > 1:
        rows = (rows + 1) // 2
    return rows


class Members:
    """A batch's descents during one stage."""

    def __init__(self, descent: Descent, *, plateau: float, fixed_shapes: bool) -> None:
        count = int(descent.state.x.shape[0])
        self.descent = descent
        self.rows = np.arange(count)
        """Which picture each row of `descent` is."""
        self.steps = np.zeros(count, np.int32)
        """Steps that each picture took in this stage."""
        self.done = np.zeros(count, bool)
        self.checked_loss = np.full(count, np.inf)
        self.steps_since_check = 0
        self._looked = False
        self._plateau = plateau
        self._fixed_shapes = fixed_shapes
        self._aside: dict[int, Descent] = {}

    def advanced(self, descent: Descent, steps: int) -> bool:
        """Take in what so many steps gave; returns whether the batch became smaller."""
        self.descent = descent
        alive = ~self.done[self.rows]
        self.steps[self.rows[alive]] += steps
        self.steps_since_check += steps
        if not self._plateau or self.steps_since_check < CHECK_STEPS:
            return False
        self.steps_since_check = 0
        losses = descent.state.loss.numpy().astype(np.float64)
        before = self.checked_loss[self.rows]
        with np.errstate(invalid="ignore"):
            flat = alive & np.isfinite(before) & (before - losses < self._plateau * np.abs(before))
        # One that has found nothing finite by the second look will not: nobody waits for it.
        flat |= alive & self._looked & ~np.isfinite(losses)
        self._looked = True
        self.checked_loss[self.rows] = losses
        for row in np.flatnonzero(flat):
            self.put_aside(int(row))
        return bool(flat.any()) and self.shrink()

    def put_aside(self, row: int) -> None:
        """A row's picture is done with this stage."""
        picture = int(self.rows[row])
        self._aside[picture] = _rows(self.descent, [row])
        self.done[picture] = True

    def shrink(self) -> bool:
        """Leave out rows that nobody waits for; returns whether there were any."""
        alive = np.flatnonzero(~self.done[self.rows])
        wanted = size_to_compute(len(alive), len(self.rows), fixed_shapes=self._fixed_shapes)
        if wanted == len(self.rows) or not len(alive):
            return False
        spare = np.flatnonzero(self.done[self.rows])[: wanted - len(alive)]
        kept = np.sort(np.concatenate([alive, spare]))
        self.rows, self.descent = self.rows[kept], _rows(self.descent, kept)
        return True

    def of(self, picture: int) -> Descent:
        """One picture's descent, with a batch axis of 1."""
        if picture in self._aside:
            return self._aside[picture]
        return _rows(self.descent, [int(np.flatnonzero(self.rows == picture)[0])])

    def whole(self) -> Descent:
        """The whole batch in its own order."""
        if not self._aside:
            return self.descent
        parts = [self.of(picture) for picture in range(len(self.done))]
        return tf.nest.map_structure(lambda *tensors: tf.concat(tensors, axis=0), *parts)


def _rows(descent: Any, rows: Any) -> Any:
    """Some rows of everything in a structure."""
    return tf.nest.map_structure(lambda tensor: tf.gather(tensor, rows), descent)


def rows_of_problem(problem: Any, rows: np.ndarray, count: int) -> Any:
    """The problem of some pictures of a batch of `count`; scalars and what is shared by all (first axis 1) stay."""
    if len(rows) == count:  # rows are in order, so these are all; content features are too large to copy for nothing
        return problem

    def pick(tensor: tf.Tensor) -> tf.Tensor:
        return tf.gather(tensor, rows) if tensor.shape.rank and tensor.shape[0] == count else tensor

    return tf.nest.map_structure(pick, problem)
