"""A batch on its way through the engine: results as pictures are finished, and checkpoints now and then.

The engine has a thread of its own, so that who is told to end need not wait for a step, which may take minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from datetime import datetime

import structlog

from stylefleet import engine as engines
from stylefleet.checkpoints import CHECKPOINT_PIXELS_MAX, CHECKPOINT_SECONDS, Checkpoints
from stylefleet.errors import TransientError
from stylefleet.looks import Loaded
from stylefleet.plan import Plan
from stylefleet.preparing import Prepared, compose
from stylefleet.receipt import Receipt, Stage
from stylefleet.results import Results
from stylefleet.stopping import Stop, Stopped

log = structlog.get_logger(__name__)

STEP_SECONDS = 4.0
"""How long who is told to end waits for the steps under way. On a GPU they take less; where they take longer they are
lost, and what was before them is saved."""


class Optimizing:
    """One batch."""

    def __init__(
        self,
        batch: Sequence[Prepared],
        *,
        plan: Plan,
        loaded: Loaded,
        results: Results,
        checkpoints: Checkpoints,
        computer: ThreadPoolExecutor,
        keepers: ThreadPoolExecutor,
        clock: Callable[[], datetime],
        stop: Stop,
        style_seconds: float,
    ) -> None:
        """`computer` is the engine's thread; `keepers` store a whole batch at once. `style_seconds` have been spent on
        looks for this batch."""
        self._batch, self._plan, self._loaded = batch, plan, loaded
        self._results, self._checkpoints = results, checkpoints
        self._computer, self._keepers = computer, keepers
        self._clock, self._stop = clock, stop
        self._style_seconds = style_seconds
        self._seconds: list[dict[Stage, float]] = []
        """Of each picture."""
        self._going = list(range(len(batch)))
        """Pictures that are not finished."""
        self._kept: list[Future[Receipt]] = []
        """Pictures that are finished and have no receipt yet."""
        self._last: engines.Iterate | None = None

    def run(self) -> None:
        """Until every picture has its receipt. Raises Stopped, and TransientError where the store does not answer."""
        try:
            self._optimize()
            self._write_all()
        except (Stopped, TransientError) as error:
            if not self._stop.told:
                raise
            self._end()
            if self._going or self._kept:
                raise Stopped from error

    def _optimize(self) -> None:
        if self._stop.told:
            raise Stopped
        iterates = self._stop.result_of(self._computer.submit(self._begin))
        before, saved_at = time.monotonic(), self._clock()
        while True:
            step = self._computer.submit(next, iterates, None)
            iterate = self._stop.result_of(step, patience_seconds=STEP_SECONDS)
            if iterate is None:
                break
            if self._last is not None and _can_be_saved(self._last) and not _can_be_saved(iterate):
                self._save()
            self._last = iterate
            now = time.monotonic()
            for index in self._going:
                self._seconds[index]["optimize"] += (now - before) / len(self._going)
            before = now
            self._keep([index for index in self._going if iterate.finished[index]])
            if not self._going:
                return
            if self._stop.told:
                raise Stopped
            if (self._clock() - saved_at).total_seconds() >= CHECKPOINT_SECONDS:
                self._save()
                self._write_all()
                saved_at = self._clock()
        self._keep(list(self._going))

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
                yield from engines.stylize(engine, composed, looks, recipe, resume=resume)
            except engines.CheckpointCorrupt as error:
                log.warning(
                    "checkpoint_unusable", contents=[str(p.task.content) for p in self._batch], error=str(error)
                )
            else:
                return
        yield from engines.stylize(engine, composed, looks, recipe)

    def _keep(self, finished: Sequence[int]) -> None:
        """Store the results of pictures that are finished, while the others go on."""
        if not finished:
            return
        iterate = self._last
        assert iterate is not None
        # Made here, once, not by every thread of the pool.
        pixels = iterate.values if self._plan.depth == 16 else iterate.pixels
        for index in finished:
            self._going.remove(index)
            kept = self._keepers.submit(
                self._results.keep,
                self._batch[index],
                pixels[index],
                loss=float(iterate.losses[index]),
                batch=len(self._batch),
                iterations=int(iterate.iterations[index]),
                seconds=self._seconds[index],
            )
            self._kept.append(kept)

    def _write_all(self) -> None:
        """Write the receipts of all that is finished. Raises Stopped."""
        for future in self._kept:
            self._stop.result_of(future)
        self._write(list(self._kept))

    def _write(self, stored: Sequence[Future[Receipt]]) -> None:
        self._results.write([future.result() for future in stored])
        self._kept = [future for future in self._kept if future not in stored]

    def _save(self) -> None:
        """Write the checkpoints of the pictures that are not finished, where their stage is not too large for it."""
        iterate = self._last
        if iterate is None or not _can_be_saved(iterate):
            return

        def save(index: int) -> None:
            self._checkpoints.save(self._batch[index].task.task_id, iterate.checkpoint(index))

        # Waited for: a checkpoint that comes after its picture's receipt would stay for ever.
        list(self._keepers.map(save, self._going))

    def _end(self) -> None:
        """As much as there is time for: receipts first, as they are small and save most, then checkpoints, then the
        receipts of results that were still on their way."""
        for index in self._going:
            steps = 0 if self._last is None else int(self._last.iterations[index])
            log.warning("picture_stopped", content=str(self._batch[index].task.content), steps=steps)
        self._write([future for future in self._kept if future.done() and not future.exception()])
        self._save()
        for future in as_completed(self._kept):
            if error := future.exception():
                log.warning("result_not_stored", error=str(error))
            else:
                self._write([future])


def _can_be_saved(iterate: engines.Iterate) -> bool:
    height, width = iterate.raw.shape[1:3]
    return bool(height * width <= CHECKPOINT_PIXELS_MAX)
