"""The outbox: finished pictures on their way into the bucket, while the engine has the next ones.

finished --> keepers: encode, store --> clerk: receipts of a batch, once all its results are stored
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass

import numpy as np
import structlog

from stylefleet.preparing import Prepared, Refused
from stylefleet.receipt import Receipt, Stage
from stylefleet.results import Results
from stylefleet.stopping import Stop

log = structlog.get_logger(__name__)

PIXELS_MAX = 2_000_000
"""Of finished pictures that wait for the store while others are optimized: several batches of small ones. A large one
is waited for, as it takes more memory and its neighbours more time."""
PICTURES_MAX = 32
"""What is stored and has no receipt yet is done again after a death."""


@dataclass(frozen=True, kw_only=True)
class _Parcel:
    """Results whose receipts are written together."""

    stored: Sequence[Future[Receipt]]
    written: Future[None]
    pixels: int


class Outbox:
    """Of one attempt. For one thread; `keepers` and `clerk`, which is one thread, do the work."""

    def __init__(self, results: Results, *, keepers: ThreadPoolExecutor, clerk: ThreadPoolExecutor, stop: Stop) -> None:
        self._results, self._keepers, self._clerk, self._stop = results, keepers, clerk, stop
        self._loose: list[Future[Receipt]] = []
        """In no parcel yet."""
        self._loose_pixels = 0
        self._parcels: deque[_Parcel] = deque()
        self.ended: set[str] = set()
        """Tasks that have a receipt."""

    def put(
        self,
        prepared: Prepared,
        pixels: np.ndarray,
        *,
        loss: float,
        batch: int,
        iterations: int,
        seconds: dict[Stage, float],
    ) -> None:
        """Encode and store a result."""
        kept = self._keepers.submit(
            self._results.keep, prepared, pixels, loss=loss, batch=batch, iterations=iterations, seconds=seconds
        )
        self._loose.append(kept)
        self._loose_pixels += pixels.shape[0] * pixels.shape[1]

    def refuse(self, refused: Iterable[Refused]) -> None:
        """Pictures that have no result."""
        self._loose += [self._keepers.submit(self._results.refusal, one) for one in refused]

    def seal(self) -> None:
        """Write the receipts of all that was put in so far, once it is stored. Not waited for."""
        if self._loose:
            written = self._clerk.submit(self._write_all, self._loose)
            self._parcels.append(_Parcel(stored=self._loose, written=written, pixels=self._loose_pixels))
            self._loose, self._loose_pixels = [], 0

    def make_room(self, pictures: int, pixels: int) -> None:
        """Wait until a batch of so many pictures with so many pixels in all has room, which it always has in an empty
        outbox. Raises Stopped, and TransientError where the store has not taken what was put in."""
        while self._parcels and (self._parcels[0].written.done() or not self._has_room(pictures, pixels)):
            self._await_first()

    def finish(self) -> None:
        """Wait until everything has its receipt. Raises as `make_room`."""
        self.seal()
        while self._parcels:
            self._await_first()

    def write_stored(self) -> None:
        """Before an early end: write the receipts of what is stored, without waiting for what is not. Raises
        TransientError."""
        # The clerk ends soon: where it waits for a result, it is told to end as well, or what keeps the result back.
        wait([parcel.written for parcel in self._parcels])
        self._loose += [future for parcel in self._parcels if parcel.written.exception() for future in parcel.stored]
        self._parcels.clear()
        self._write_loose([future for future in self._loose if future.done() and not future.exception()])

    def write_rest(self) -> None:
        """After `write_stored`: wait for the results that are still on their way, and write their receipts. Raises
        TransientError."""
        for future in as_completed(self._loose):
            if error := future.exception():
                log.warning("result_not_stored", error=str(error))
            else:
                self._write_loose([future])

    def _has_room(self, pictures: int, pixels: int) -> bool:
        return (
            sum(len(parcel.stored) for parcel in self._parcels) + pictures <= PICTURES_MAX
            and sum(parcel.pixels for parcel in self._parcels) + pixels <= PIXELS_MAX
        )

    def _await_first(self) -> None:
        self._stop.result_of(self._parcels[0].written)
        self._parcels.popleft()

    def _write_all(self, stored: Sequence[Future[Receipt]]) -> None:
        """In the clerk's thread. Raises Stopped, TransientError."""
        for future in stored:
            self._stop.result_of(future)
        self._write(stored)

    def _write(self, stored: Sequence[Future[Receipt]]) -> None:
        receipts = [future.result() for future in stored]
        self._results.write(receipts)
        self.ended.update(r.task_id for r in receipts)

    def _write_loose(self, stored: Sequence[Future[Receipt]]) -> None:
        self._write(stored)
        self._loose = [future for future in self._loose if future not in stored]
