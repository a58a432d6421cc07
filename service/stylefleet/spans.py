"""What a worker tells of each picture's way through its stages, to whoever draws it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from stylefleet.receipt import Receipt, Stage


class Spans(Protocol):
    """Told by several threads. Times are of time.monotonic; they are a picture's own, and those of a batch overlap."""

    def stages(self, task_id: str, began: float, seconds: Mapping[Stage, float]) -> None:
        """A picture went through these stages, one after the other from `began` on."""

    def ended(self, receipt: Receipt) -> None:
        """A picture is done, or refused."""

    def close(self) -> None:
        """The process ends."""


class NoSpans:
    """Nobody looks."""

    def stages(self, task_id: str, began: float, seconds: Mapping[Stage, float]) -> None:
        pass

    def ended(self, receipt: Receipt) -> None:
        pass

    def close(self) -> None:
        pass
