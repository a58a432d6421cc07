"""A batch on its way through the engine: finished pictures go to the outbox, and now and then all to a checkpoint.

The engine has a thread of its own, so that who is told to end need not wait for a step, which may take minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import structlog

from stylefleet import engine as engines
from stylefleet import patience
from stylefleet.checkpoints import CHECKPOINT_PIXELS_MAX, CHECKPOINT_SECONDS, CHECKPOINT_SHARE, Checkpoints
from stylefleet.looks import Loaded
from stylefleet.outbox import Outbox
from stylefleet.plan import Plan
from stylefleet.preparing import Prepared, compose
from stylefleet.receipt import Stage
from stylefleet.spans import Spans
from stylefleet.stopping import Stop, Stopped
from stylefleet.worker_metrics import WorkerMetrics

log = structlog.get_logger(__name__)

STEP_SECONDS = 4.0
"""How long who is told to end waits for the steps under way. On a GPU they take less; where they take longer they are
lost, and what was before them is saved."""

SLICE_SECONDS = 0.25
"""How long the engine goes on by itself: on a fast one an iterate takes milliseconds, and telling about it one more."""
SLICE_PIXELS_MAX = 1_000_000
"""Of a batch at the present stage; above, each iterate is told, as its state would have to be held once more."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Slice:
    """What the engine did by itself."""

    before: engines.Iterate | None
    """The iterate before the last."""
    last: engines.Iterate | None
    """None: there are no more."""
    steps: int
    """Of the batch; those up to the first iterate are not known where it goes on from checkpoints."""
    seconds: float
    """Neither waiting nor saving is the engine's time."""

    @property
    def leaves_checkpoints(self) -> bool:
        """Whether the last iterate is the first of a stage that is too large for a checkpoint."""
        return (
            self.before is not None
            and self.last is not None
            and _can_be_saved(self.before)
            and not _can_be_saved(self.last)
        )


class Optimizing:
    """One batch."""

    def __init__(
        self,
        batch: Sequence[Prepared],
        *,
        plan: Plan,
        loaded: Loaded,
        outbox: Outbox,
        checkpoints: Checkpoints,
        computer: ThreadPoolExecutor,
        keepers: ThreadPoolExecutor,
        monotonic: Callable[[], float],
        stop: Stop,
        metrics: WorkerMetrics,
        spans: Spans,
        style_seconds: float,
    ) -> None:
        """`computer` is the engine's thread; `keepers` write a whole batch's checkpoints at once. `style_seconds` have
        been spent on looks for this batch."""
        self._batch, self._plan, self._loaded = batch, plan, loaded
        self._outbox, self._checkpoints = outbox, checkpoints
        self._computer, self._keepers = computer, keepers
        self._monotonic, self._stop = monotonic, stop
        self._metrics, self._spans = metrics, spans
        self._style_seconds = style_seconds
        self._began = self._set_out = 0.0
        """By time.monotonic: when the batch began, and when its first step did."""
        self._seconds: list[dict[Stage, float]] = []
        """Of each picture."""
        self._going = list(range(len(batch)))
        """Pictures that are not finished."""
        self._last: engines.Iterate | None = None
        self._longest_seconds = 0.0

    def run(self) -> None:
        """Until every picture is finished and in the outbox. Raises Stopped, StepHung, and TransientError where the
        store does not take what is in the outbox."""
        self._outbox.make_room(len(self._batch), sum(p.pixels.shape[0] * p.pixels.shape[1] for p in self._batch))
        if self._stop.told:
            raise Stopped
        self._began = time.monotonic()
        iterates = self._computed(self._begin)
        self._set_out = time.monotonic()
        save_at = self._monotonic() + CHECKPOINT_SECONDS
        while self._going:
            part = self._computed(partial(self._slice, iterates, save_at), patience_seconds=STEP_SECONDS)
            self._longest_seconds = max(self._longest_seconds, part.seconds)
            if part.last is not None:
                size_px = max(part.last.raw.shape[1:3])
                self._metrics.stepped(steps=part.steps, seconds=part.seconds, losses=part.last.losses, size_px=size_px)
            for index in self._going:
                self._seconds[index]["optimize"] += part.seconds / len(self._going)
            if part.leaves_checkpoints or part.last is None:
                self._last = part.before
            if part.last is None:
                self._keep(list(self._going))
                break
            if part.leaves_checkpoints:
                self.save()
            self._last = part.last
            self._keep(self._finished(part.last))
            if self._going and self._stop.told:
                raise Stopped
            if self._going and self._monotonic() >= save_at:
                save_at = self._save_and_seal()
        self._outbox.seal()

    def say_stopped(self) -> None:
        """A line in the log for each picture that is not finished."""
        for index in self._going:
            steps = 0 if self._last is None else int(self._last.iterations[index])
            task = self._batch[index].task
            log.warning("picture_stopped", task=task.task_id, content=str(task.content), steps=steps)

    def save(self) -> None:
        """Write the checkpoints of the pictures that are not finished, where their stage is not too large for it."""
        iterate = self._last
        if iterate is None or not _can_be_saved(iterate):
            return

        def save(index: int) -> None:
            self._checkpoints.save(self._batch[index].task.task_id, iterate.checkpoint(index))

        # Waited for: a checkpoint that comes after its picture's receipt would stay for ever.
        list(self._keepers.map(save, self._going))

    def _computed(self, call: Callable[[], T], *, patience_seconds: float = 0.0) -> T:
        """What the engine's thread finds. Raises Stopped, StepHung."""
        limit = patience.limit_seconds(self._plan.recipe, longest_seconds=self._longest_seconds)
        future = self._computer.submit(call)
        return self._stop.result_of(future, patience_seconds=patience_seconds, limit_seconds=limit)

    def _slice(self, iterates: Iterator[engines.Iterate], save_at: float) -> _Slice:
        """In the engine's thread: go on until there is something to do about an iterate, or some time has passed."""
        begun, last, steps = time.monotonic(), self._last, 0
        while True:
            before, last = last, next(iterates, None)
            steps += self._steps(before, last)
            part = _Slice(before=before, last=last, steps=steps, seconds=time.monotonic() - begun)
            if (
                last is None
                or part.leaves_checkpoints
                or part.seconds >= SLICE_SECONDS
                or np.prod(last.raw.shape[:3]) > SLICE_PIXELS_MAX
                or self._finished(last)
                or self._stop.told
                or self._monotonic() >= save_at
            ):
                return part

    def _steps(self, before: engines.Iterate | None, last: engines.Iterate | None) -> int:
        """That the batch took from one iterate to the next; pictures that are finished take none."""
        if last is None:
            return 0
        if before is None:
            return 0 if self._batch[0].checkpoint else int(np.max(last.iterations))
        return int(np.max(last.iterations - before.iterations))

    def _finished(self, iterate: engines.Iterate) -> list[int]:
        """Pictures that are finished with this iterate, and were not before."""
        return [index for index in self._going if iterate.finished[index]]

    def _begin(self) -> Iterator[engines.Iterate]:
        before = time.monotonic()
        composed = compose(self._batch)
        looks = self._loaded.looks_of(composed.contents)
        style_seconds = (self._style_seconds + time.monotonic() - before) / len(self._batch)
        self._seconds = [{"style_target": style_seconds, "optimize": 0.0} for _ in self._batch]
        return self._iterates(composed, looks)

    def _iterates(self, composed: engines.Batch, looks: engines.Looks) -> Iterator[engines.Iterate]:
        """From where the checkpoints are, or else from the beginning."""
        engine, recipe = self._loaded.engine, self._plan.recipe
        resume = [p.checkpoint.data for p in self._batch if p.checkpoint is not None]
        if resume:
            try:
                yield from engines.optimize(engine, composed, looks, recipe, resume=resume)
            except engines.CheckpointCorrupt as error:
                log.warning(
                    "checkpoint_unusable", contents=[str(p.task.content) for p in self._batch], error=str(error)
                )
            else:
                return
        yield from engines.optimize(engine, composed, looks, recipe)

    def _keep(self, finished: Sequence[int]) -> None:
        """Put pictures that are finished into the outbox, while the others go on."""
        if not finished:
            return
        iterate = self._last
        assert iterate is not None
        # Made here, once, not by every thread of the pool.
        pixels = iterate.values if self._plan.depth == 16 else iterate.pixels
        began, set_out, now = self._began, self._set_out, time.monotonic()
        for index in finished:
            self._going.remove(index)
            way: dict[Stage, float] = {"style_target": set_out - began, "optimize": now - set_out}
            self._spans.stages(self._batch[index].task.task_id, began, way)
            self._outbox.put(
                self._batch[index],
                pixels[index],
                loss=float(iterate.losses[index]),
                batch=len(self._batch),
                iterations=int(iterate.iterations[index]),
                seconds=self._seconds[index],
            )

    def _save_and_seal(self) -> float:
        """Save everything; returns when to do it again."""
        begun = self._monotonic()
        self.save()
        self._outbox.seal()
        ended = self._monotonic()
        return ended + max(CHECKPOINT_SECONDS, (ended - begun) / CHECKPOINT_SHARE)


def _can_be_saved(iterate: engines.Iterate) -> bool:
    height, width = iterate.raw.shape[1:3]
    return bool(height * width <= CHECKPOINT_PIXELS_MAX)
