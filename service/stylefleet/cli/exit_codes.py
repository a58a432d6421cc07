"""Which exit code says what: of a failure, and of a run's end. The codes themselves are `errors.ExitCode`."""

from __future__ import annotations

from stylefleet.errors import ExitCode, NotFound, PermanentError, PreconditionFailed, StylefleetError, TransientError
from stylefleet.status import END_REASONS, Phase, Status

_BY_PHASE = {
    Phase.SUCCEEDED: ExitCode.OK,
    Phase.PARTIALLY_SUCCEEDED: ExitCode.PARTLY_FAILED,
    Phase.FAILED: ExitCode.PARTLY_FAILED,
    Phase.REJECTED: ExitCode.INVALID,
    Phase.CANCELLED: ExitCode.CANCELLED,
}


def of_error(error: StylefleetError | OSError) -> ExitCode:
    """The code of a failure that ended a command."""
    if isinstance(error, NotFound | FileNotFoundError):
        return ExitCode.NOT_FOUND
    # A conditional write that lost: the same command again sees what the other one wrote.
    if isinstance(error, TransientError | PreconditionFailed):
        return ExitCode.RETRYABLE
    # An OSError is about a file, a folder or a port that somebody named.
    if isinstance(error, PermanentError | OSError):
        return ExitCode.INVALID
    return ExitCode.INTERNAL


def of_ending(found: Status) -> ExitCode:
    """The code of a run that has ended: its phase is final."""
    return ExitCode.ENDED_EARLY if found.reason in END_REASONS else _BY_PHASE[found.phase]
