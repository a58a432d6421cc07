"""The deadline: a run that takes longer than its manifest allows is ended. Pure.

It is reckoned from the submission, by the store's clock, and pauses and queues count: it says when the results are no
longer wanted, not how much work they are worth.
"""

from __future__ import annotations

from stylefleet.status import Ending


def deadline_exceeded(*, deadline_seconds: int | None, age_seconds: float) -> Ending | None:
    """Why a run that was submitted `age_seconds` ago ends; None where it may go on."""
    if deadline_seconds is None or age_seconds < deadline_seconds:
        return None
    return Ending(
        reason="DeadlineExceeded", because=f"the deadline of {_in_words(deadline_seconds)} after submission has passed"
    )


def _in_words(seconds: int) -> str:
    for unit_seconds, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= unit_seconds and seconds % unit_seconds == 0:
            return f"{seconds // unit_seconds} {unit}"
    return f"{seconds} s"
