"""The algorithm: coarse to fine, one optimization per scale, all pictures of a batch at once.

content in the style's colours
for each scale:       content and style at this size  ->  start from the scale before  ->  optimizer  ->  iterates
for each refinement:  a crop at a higher resolution   ->  the same                     ->  blended back
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from stylefleet.engine import checkpoint as checkpoints
from stylefleet.engine import descent as descents
from stylefleet.engine import stages
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.batch import Batch, check
from stylefleet.engine.checkpoint import Checkpoint, CheckpointCorrupt, Place, Position
from stylefleet.engine.descent import Descent, Stepper
from stylefleet.engine.engine import Engine
from stylefleet.engine.evaluation import Problem, compose
from stylefleet.engine.members import Members, rows_of_problem
from stylefleet.engine.precision import compute_dtype
from stylefleet.engine.stages import Canvas, Stage
from stylefleet.engine.targets import Looks
from stylefleet.recipe import Recipe

ITERATE_PIXELS = 2**20
"""About one iterate per so many pixels of work, at most every ITERATE_ITERATIONS: often enough to stop or report,
rarely enough that a small picture stays inside the graph."""
ITERATE_ITERATIONS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Iterate:
    """The pictures after some optimizer iterations."""

    scale_px: int
    """Longer edge of the whole picture at this stage's resolution."""
    iteration: int
    """Where in the recipe the batch stands: iterations over all stages."""
    iterations_total: int
    """Iterations of the whole recipe."""
    iterations: np.ndarray
    """Steps that each picture took, int32 [B]; fewer than `iteration` where stages ended early."""
    finished: np.ndarray
    """bool [B]: this picture will not change any more."""
    losses: np.ndarray
    """Weighted loss of each picture, float32 [B]; not finite if a picture cannot be optimized."""
    terms: dict[str, np.ndarray]
    """The relative terms `style`, `content` and `tv` of each picture, unweighted, float32 [B]."""
    raw: tf.Tensor
    """The pictures as they are optimized at this stage: float32 [B, h, w, 3], not clipped."""
    _result: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    _checkpoint: Callable[[int], Checkpoint] = field(repr=False)

    @cached_property
    def values(self) -> np.ndarray:
        """The results so far, float32 [B, H, W, 3] within 0..255; made when first asked for."""
        return self._result(np.asarray(self.raw))  # not numpy(), which copies

    @cached_property
    def pixels(self) -> np.ndarray:
        """`values`, rounded: uint8 [B, H, W, 3]."""
        return np.rint(self.values).astype(np.uint8)

    def checkpoint(self, index: int) -> bytes:
        """The state of one picture, to go on from with `optimize(..., resume=...)`."""
        return checkpoints.to_bytes(self._checkpoint(index))


def optimize(
    engine: Engine, batch: Batch, looks: Looks, recipe: Recipe, *, resume: Sequence[bytes] | None = None
) -> Iterator[Iterate]:
    """Iterates of a batch; `looks` has, for each scale and then each refinement, one style target for each region.

    The last iterate is the result. The caller may stop at any; nothing else is held. `resume` goes on from checkpoints,
    one for each picture, all at the same position; in float32 on one thread count the bytes of the result are those of
    a run that was never interrupted. Raises ValueError for what does not fit together, CheckpointCorrupt for a
    checkpoint that is damaged or of another recipe.
    """
    check(engine, batch, looks, recipe)
    return _Run(engine, batch, looks, recipe).iterates(
        _read(resume, _owner(engine, batch, recipe), len(batch.contents))
    )


def run(engine: Engine, batch: Batch, looks: Looks, recipe: Recipe) -> Iterate:
    """The last iterate of `optimize`."""
    last = None
    for last in optimize(engine, batch, looks, recipe):  # noqa: B007 - the last one is what is wanted
        pass
    assert last is not None
    return last


@dataclass(frozen=True, kw_only=True, eq=False)
class _Before:
    """What a scale leaves to the next."""

    stage: Stage
    descent: Descent
    pictures: tf.Tensor
    """float32 [B, h, w, 3]."""


class _Run:
    """One batch on its way through the stages."""

    def __init__(self, engine: Engine, batch: Batch, looks: Looks, recipe: Recipe) -> None:
        self._engine, self._looks, self._recipe = engine, looks, recipe
        self._canvas: Canvas = stages.prepare(batch, looks, recipe)
        self._owner = _owner(engine, batch, recipe)
        self._steps = np.zeros(len(batch.contents), np.int32)
        """Of each picture, in the stages before the present one."""
        self._painted: np.ndarray | None = None
        """Optimized pictures after all scales, float32 [B, H, W, 3]; what refinements work on."""

    def iterates(self, resumed: list[Checkpoint] | None) -> Iterator[Iterate]:
        recipe, scales = self._recipe, len(self._recipe.scales)
        first = resumed[0].place.position.stage if resumed else 0
        if resumed and first >= scales:
            self._painted = np.stack([c.painted for c in resumed if c.painted is not None])
        before: _Before | None = None
        for index in range(first, len(recipe.stage_iterations)):
            stage = self._stage(index)
            problem = stages.problem_of(self._engine, recipe, stage, self._looks[index])
            stepper = self._stepper(stage)
            if resumed and index == first:
                members = self._restored(stepper.first(tf.zeros(stage.contents.shape)), resumed)
                begin = resumed[0].place.position.iteration
                resumed = None
            else:
                members, begin = self._members(self._first(stage, stepper, before)), 0
            before = None  # of a large picture it is a gigabyte; nothing else here may hold it
            yield from self._advance(index, stage, stepper, members, problem, begin)
            self._steps += members.steps
            before = self._left(stage, members, problem)
            if stage.refinement is not None:
                assert self._painted is not None
                painted = before.pictures.numpy()
                self._painted = stages.blended_back(self._canvas, self._painted, painted, stage.refinement)
            elif index == scales - 1:
                self._painted = before.pictures.numpy()

    def _left(self, stage: Stage, members: Members, problem: Problem) -> _Before:
        descent = members.whole()
        return _Before(stage=stage, descent=descent, pictures=compose(descent.result, problem.kept))

    def _stepper(self, stage: Stage) -> Stepper:
        return descents.stepper_for(
            self._recipe,
            compute_dtype=compute_dtype(self._engine.precision),
            pixels=int(np.prod(stage.contents.shape[:3])),
        )

    def _stage(self, index: int) -> Stage:
        scales = len(self._recipe.scales)
        if index < scales:
            return stages.scale_stage(self._canvas, index)
        assert self._painted is not None
        return stages.refinement_stage(self._canvas, index - scales, self._painted)

    def _first(self, stage: Stage, stepper: Stepper, before: _Before | None) -> Descent:
        """Before the first step of a stage."""
        if stage.refinement is not None:
            return stepper.first(tf.constant(stage.beneath, tf.float32))
        if before is None:
            return stepper.first(stages.first_start(self._canvas, stage))
        # From the pictures, not from the optimizer's variable: what that is where nothing may be painted, nobody sees.
        return stepper.enlarged(before.descent, stages.next_start(before.pictures, before.stage, stage))

    def _members(self, descent: Descent) -> Members:
        return Members(descent, plateau=self._recipe.plateau, fixed_shapes=self._engine.programs.xla)

    def _restored(self, like: Descent, resumed: list[Checkpoint]) -> Members:
        """The members as they were when the checkpoints were taken."""
        flat = tf.nest.flatten(like)
        stacked = [np.stack(arrays) for arrays in zip(*(c.arrays for c in resumed), strict=True)]
        if [a.shape for a in stacked] != [tuple(t.shape) for t in flat]:
            raise CheckpointCorrupt("A checkpoint is of pictures of another size.")
        members = self._members(tf.nest.pack_sequence_as(like, [tf.constant(array) for array in stacked]))
        places = [c.place for c in resumed]
        members.checked_loss = np.array([p.checked_loss for p in places])
        # Batches of another size look for plateaus at other steps; pictures of several go on with the latest of these.
        members.steps_since_check = min(p.steps_since_check for p in places)
        self._steps = np.array([p.steps for p in places], np.int32)
        for row, place in enumerate(places):
            if place.done:
                members.put_aside(row)
        members.shrink()
        return members

    def _advance(
        self, index: int, stage: Stage, stepper: Stepper, members: Members, problem: Problem, begin: int
    ) -> Iterator[Iterate]:
        count = len(stage.contents)
        done_before = sum(self._recipe.stage_iterations[:index])
        part = rows_of_problem(problem, members.rows, count)
        iteration = begin
        while iteration < stage.iterations and not members.done.all():
            pixels = len(members.rows) * stage.contents.shape[1] * stage.contents.shape[2]
            steps = min(ITERATE_ITERATIONS, max(1, ITERATE_PIXELS // pixels), stage.iterations - iteration)
            iteration += steps
            if members.advanced(self._steps_of(stage, stepper, members.descent, part, steps), steps):
                part = rows_of_problem(problem, members.rows, count)
            yield self._iterate(index, stage, members, problem, iteration, done_before + iteration)

    def _steps_of(self, stage: Stage, stepper: Stepper, descent: Descent, problem: Problem, steps: int) -> Descent:
        programs = self._engine.programs
        if not stage.tiled:
            return programs.advance(stepper, descent, problem, steps)
        for _ in range(steps):
            found = self._engine.tiler.evaluate(stepper.trial(descent), problem, descent.scale.scale)
            descent = programs.step(stepper, descent, *found)
        return descent

    def _iterate(
        self, index: int, stage: Stage, members: Members, problem: Problem, iteration: int, iteration_overall: int
    ) -> Iterate:
        whole = members.whole()
        canvas, painted = self._canvas, self._painted
        last = index == len(self._recipe.stage_iterations) - 1
        steps = self._steps + members.steps
        place = Position(stage=index, iteration=iteration)
        checked, since, done = members.checked_loss.copy(), members.steps_since_check, members.done.copy()

        def result(raw: np.ndarray) -> np.ndarray:
            if stage.refinement is not None:
                assert painted is not None
                return canvas.result(stages.blended_back(canvas, painted, raw, stage.refinement))
            width, height = canvas.size
            if raw.shape[1:3] != (height, width):
                raw = tf.image.resize(raw, (height, width), "bicubic").numpy()
            return canvas.result(raw)

        def checkpoint(picture: int) -> Checkpoint:
            return Checkpoint(
                owner=self._owner,
                place=Place(
                    position=place,
                    steps=int(steps[picture]),
                    checked_loss=float(checked[picture]),
                    steps_since_check=since,
                    done=bool(done[picture]),
                ),
                arrays=tuple(tensor[picture].numpy() for tensor in tf.nest.flatten(whole)),
                painted=None if painted is None else painted[picture],
            )

        return Iterate(
            scale_px=stage.size_px,
            iteration=iteration_overall,
            iterations_total=self._recipe.iterations_total,
            iterations=steps,
            finished=done | (iteration == stage.iterations) if last else np.zeros(len(done), bool),
            losses=whole.state.loss.numpy(),
            terms={name: term.numpy() for name, term in whole.terms._asdict().items()},
            raw=compose(whole.result, problem.kept),
            _result=result,
            _checkpoint=checkpoint,
        )


def _owner(engine: Engine, batch: Batch, recipe: Recipe) -> str:
    """What a checkpoint's numbers depend on beside the picture, its masks and its style, which the task names."""
    facts = [recipe.digest, engine.weights_sha256, engine.precision, batch.contents.shape[1:]]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _read(resume: Sequence[bytes] | None, owner: str, count: int) -> list[Checkpoint] | None:
    if resume is None:
        return None
    found = [checkpoints.from_bytes(data) for data in resume]
    if len(found) != count:
        raise ValueError(f"One checkpoint for each picture is needed, {count}; found {len(found)}.")
    if any(c.owner != owner for c in found):
        raise CheckpointCorrupt("A checkpoint is of another recipe, backbone, precision or picture size.")
    if len({c.place.position for c in found}) != 1:
        raise ValueError("Pictures are resumed together only from checkpoints at one position.")
    return found
