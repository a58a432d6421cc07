"""Every failure of Stylefleet, as one tree.

* StylefleetError
  + PermanentError           the same input fails again: record it, do not retry
    - ManifestInvalid        the manifest breaks a rule; carries one FieldError for each
    - PlanInvalid            the manifest is well formed, but what it names cannot be carried out
    - ImageInvalid           a picture cannot be decoded or breaks a limit
    - WeightsInvalid         a weights file is absent or is not the pinned one
    - RecordUnreadable       an object of ours in the bucket is not what we write
    - NotFound               the store has no such object
    - AccessDenied           the store or the cluster refuses this identity
      . CredentialsRefused   the store does not know it: no credentials, an unknown key, a wrong secret
    - StoreUnfit             the store lacks a promise that correctness rests on
    - SettingsInvalid        an environment variable or option has no usable value
    - NothingToDo            what is asked for is the case already
    - Superseded             a newer run of the same name is at work
  + TransientError           the same input may succeed later: retry
    - StoreUnavailable       the object store did not answer, or answered with a fault of its own
      . CredentialsExpired   temporary credentials have run out, or a clock is wrong: the next ones may do
    - RunUnderWay            this is for runs that have ended, and this one has not
    - ClusterUnavailable     the cluster did not answer, or answered with a fault of its own
    - QueueUnavailable       the queue of notifications did not answer, or refuses
    - ScratchUnusable        this machine's own disk takes no file: full, or not to be written
    - StepHung               the engine does not come back from a step: only the end of its process helps
  + PreconditionFailed       a conditional write lost: somebody else wrote first

A message names the place, what was found and what is allowed.
"""

from __future__ import annotations

import json
import unicodedata
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every `stylefleet` process; scripts rely on them, so they never change meaning."""

    OK = 0
    INTERNAL = 1
    INVALID = 2
    """Usage error, or an invalid manifest or picture."""
    PARTLY_FAILED = 3
    NOT_FOUND = 4
    RETRYABLE = 5
    CANCELLED = 6
    ENDED_EARLY = 7
    """The run was ended by its deadline or by its failure budget."""
    INTERRUPTED = 130
    """Ctrl-C while waiting: the run goes on."""
    SHARD_INVALID = 42
    """A worker met an input that spoils its whole shard, or a newer run of the same name has taken over;
    `podFailurePolicy` fails the index at once."""
    TERMINATED = 143
    """A worker was told to end (SIGTERM): not its shard's fault, so `podFailurePolicy` does not count it."""


class StylefleetError(Exception):
    """Base of every failure that Stylefleet raises itself."""


class PermanentError(StylefleetError):
    """The same input fails again: it is recorded and not retried."""


class TransientError(StylefleetError):
    """The same input may succeed later: the caller retries."""


def printable(text: str) -> str:
    """One line that does nothing to a terminal: control, direction and other invisible characters as JSON escapes."""
    return "".join(json.dumps(c)[1:-1] if unicodedata.category(c) in _INVISIBLE else c for c in text)


def printable_lines(text: str) -> str:
    """The same of several lines: only the breaks between them stay."""
    return "\n".join(printable(line) for line in text.split("\n"))


_INVISIBLE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


@dataclass(frozen=True, kw_only=True)
class FieldError:
    """One broken rule of a manifest, as a user reads it in `status/NAME.json`. Its texts are always printable: they
    quote the manifest, and anybody may have written that."""

    path: str
    """Where, in the manifest's own words: `spec.styles[0].weight`; empty for the whole document."""
    message: str
    """What is wrong, in one sentence."""
    found: str = ""
    """What stands there, shortened."""
    allowed: str = ""
    """What may stand there."""
    line: int | None = None
    """1-based line in the manifest."""
    column: int | None = None
    """1-based column in the manifest."""

    def __post_init__(self) -> None:
        for field in ("path", "message", "found", "allowed"):
            object.__setattr__(self, field, printable(getattr(self, field)))

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        found = f" (found: {self.found})" if self.found else ""
        allowed = f" (allowed: {self.allowed})" if self.allowed else ""
        return f"{place}{self.path or 'manifest'}: {self.message}{found}{allowed}"


class ManifestInvalid(PermanentError):
    """The manifest breaks one or more rules; `errors` has one `FieldError` for each."""

    def __init__(self, errors: list[FieldError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(e) for e in errors))


class PlanInvalid(ManifestInvalid):
    """The manifest is well formed, but what it names (styles, pictures, buckets) cannot be carried out."""


class ImageInvalid(PermanentError):
    """A picture cannot be decoded or breaks a limit; `reason` is a short word for reports and metrics."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class WeightsInvalid(PermanentError):
    """A weights file is absent, or its SHA-256 is not the pinned one."""


class RecordUnreadable(PermanentError):
    """A plan, shard or receipt in the bucket is not what this version writes; the message says what is odd."""


class NotFound(PermanentError):
    """The store has no such object or bucket."""


class AccessDenied(PermanentError):
    """The store or the cluster refuses this identity."""


class CredentialsRefused(AccessDenied):
    """The store does not know these credentials, or there are none."""


class StoreUnfit(PermanentError):
    """The store lacks a promise that correctness rests on, such as atomic conditional writes."""


class SettingsInvalid(PermanentError):
    """An environment variable or command line option has no usable value."""


class NothingToDo(PermanentError):
    """What is asked for is the case already."""


class Superseded(PermanentError):
    """A newer run of the same name is at work: a worker of this one must store no result any more."""


class RunUnderWay(TransientError):
    """What is asked for is for runs that have ended, and this one has not."""


class PreconditionFailed(StylefleetError):
    """A conditional write lost: the object exists already, or is not the version that was read."""


class StoreUnavailable(TransientError):
    """The object store did not answer, or answered with a fault of its own."""


class CredentialsExpired(StoreUnavailable):
    """The store knows these credentials and does not take them now: they have run out, or a clock is wrong."""


class ClusterUnavailable(TransientError):
    """The cluster did not answer, or answered with a fault of its own."""


class QueueUnavailable(TransientError):
    """The queue of notifications did not answer, or refuses; nothing rests on it, so that may mend itself."""


class ScratchUnusable(TransientError):
    """The disk of this machine takes no file: another one may."""


class StepHung(TransientError):
    """The engine does not come back. Its thread cannot be ended, so the process must not wait for it."""
