"""Whether a run may be retried: its manifest put again, so that a new run does what has no result. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from stylefleet.status import Phase, Status


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a run is not retried, and what to do instead."""

    message: str
    later: bool
    """Whether it may be when the run has ended."""


def retry_refused(name: str, found: Status | None, *, submitted_run: str) -> Refusal | None:
    """Why the run of the manifest `name` is not retried; None where it is.

    `found` is the status of the name, `submitted_run` the run of the manifest that is in the inbox.
    """
    if found is None or found.run != submitted_run:
        message = f"{name}: no controller has looked at the newest submission yet; wait for it:  stylefleet wait {name}"
        return Refusal(message=message, later=True)
    if found.phase is Phase.PAUSED:
        return Refusal(message=f"{name}: it is paused, not ended; go on with it:  stylefleet resume {name}", later=True)
    if not found.phase.final:
        message = f"{name}: it is still going on ({found.phase.value}); wait for it:  stylefleet wait {name}"
        return Refusal(message=message, later=True)
    if found.phase is Phase.SUCCEEDED:
        message = (
            f"{name}: nothing failed, {found.message or 'all pictures have a result'}; what is new since, submit does"
        )
        return Refusal(message=message, later=False)
    # Rejected ones too: what they name may be there by now.
    return None
