"""What a long run says while it runs: lines on stderr, so that the tables can be redirected."""

from __future__ import annotations

import sys
import time

from benchmarks.peers import Progress, Sample

_PAUSE_SECONDS = 20.0


def progress_of(name: str) -> Progress:
    """Prints how far `name` has come, at most every few seconds."""
    shown = time.monotonic()

    def show(sample: Sample) -> None:
        nonlocal shown
        if time.monotonic() - shown < _PAUSE_SECONDS:
            return
        shown = time.monotonic()
        print(
            f"  {name}: {sample.evaluations} evaluations, {sample.seconds:.0f} s, objective {sample.objective:.1f}",
            file=sys.stderr,
        )

    return show
