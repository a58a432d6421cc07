"""Which of several controllers acts: leader election by a Kubernetes Lease, after client-go's rules.

A candidate takes a Lease that nobody holds, or that nobody has changed for as long as it promises, by the candidate's
own clock from its own first sight of that version: times in the Lease are for people, and clocks may be an hour apart.
A leader counts as one until RENEW_DEADLINE_SECONDS after it *sent* its last successful claim. That is less than
LEASE_SECONDS, so it has stopped before anyone may take over, as long as no clock runs 1.5 times as fast as another.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, NoReturn, Protocol

import structlog

from stylefleet.errors import ExitCode, PreconditionFailed, StylefleetError

log = structlog.get_logger(__name__)

LEASE_SECONDS = 15
"""How long others wait for a leader that says nothing."""
RENEW_DEADLINE_SECONDS = 10.0
"""How long a leader acts on its last successful claim."""
RETRY_SECONDS = 2.0
"""Between two looks at the Lease."""
STOP_SECONDS_MAX = 12.0
"""For the look in progress to end when the process does: longer than all of its requests' time limits together."""

Json = dict[str, Any]


class LeaseObject(Protocol):
    """One coordination.k8s.io/v1 Lease as JSON. Each call is one request, bounded in time, without retries.

    Every method may raise AccessDenied, ClusterUnavailable and PermanentError.
    """

    def read(self) -> Json | None:
        """The Lease; None where there is none."""
        ...

    def write(self, lease: Json) -> None:
        """Create it, or update it where it has a resourceVersion; PreconditionFailed where it was changed meanwhile."""
        ...


class Verdict(Enum):
    """What a look at the Lease means."""

    ACQUIRE = auto()
    RENEW = auto()
    WAIT = auto()
    LOST = auto()


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """One version of a Lease that another holds."""

    version: str
    """The resourceVersion: changed by every write, whatever the writer's clock says."""
    expires_at: float
    """When nobody may count on it any more, seconds of the observer's clock."""


def observe(seen: Sighting | None, lease: Json | None, now: float) -> Sighting | None:
    """What to remember of the Lease as read before `now`; a Lease that is gone may still have a leader that lives."""
    if lease is None:
        return seen
    if not holder_of(lease):
        return None
    version = lease["metadata"]["resourceVersion"]
    if seen is not None and seen.version == version:
        return seen
    promised = lease["spec"].get("leaseDurationSeconds") or LEASE_SECONDS
    return Sighting(version=version, expires_at=now + promised)


def judge(lease: Json | None, seen: Sighting | None, *, me: str, leading: bool, now: float) -> Verdict:
    """What a candidate or leader called `me` does about the Lease; `seen` is what `observe` made of it."""
    holder = "" if lease is None else holder_of(lease)
    if holder == me:
        return Verdict.RENEW  # also where the answer to our claim was lost: names are one process's own
    if leading:
        return Verdict.LOST
    if lease is not None and not holder:
        return Verdict.ACQUIRE
    return Verdict.ACQUIRE if seen is None or now >= seen.expires_at else Verdict.WAIT


def holder_of(lease: Json) -> str:
    """Who holds it; empty where nobody does."""
    return str((lease.get("spec") or {}).get("holderIdentity") or "")


def claimed(lease: Json | None, *, me: str, now: datetime) -> Json:
    """The Lease, held by `me`. What others keep in it (labels, fields of newer versions) stays."""
    spec = (lease or {}).get("spec") or {}
    transitions = spec.get("leaseTransitions") or 0
    mine = lease is not None and holder_of(lease) == me
    return {
        **(lease or {"metadata": {}}),
        "spec": {
            **spec,
            "holderIdentity": me,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": spec["acquireTime"] if mine and "acquireTime" in spec else _micro_time(now),
            "renewTime": _micro_time(now),
            "leaseTransitions": transitions if mine or lease is None else transitions + 1,
        },
    }


def released(lease: Json, *, now: datetime) -> Json:
    """The Lease, held by nobody: others need not wait."""
    return {
        **lease,
        "spec": {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _micro_time(now)},
    }


def _micro_time(now: datetime) -> str:
    """As the API demands: always six digits."""
    return now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def clock() -> float:
    """Seconds that also pass while the machine sleeps, where it can tell them (Linux)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def leave(why: str) -> NoReturn:
    """End this process here and now, in whatever thread: nothing may catch it, clean up or write."""
    log.error("leadership_lost", why=why)
    os._exit(ExitCode.RETRYABLE)


class Elector:
    """One process's part in the election. `look` until it leads, then `start`; `confirm` before each outside call."""

    def __init__(
        self,
        lease: LeaseObject,
        *,
        me: str,
        clock: Callable[[], float] = clock,
        wall_clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        leave: Callable[[str], NoReturn] = leave,
    ) -> None:
        """`me` is this process's own name: none before it, in the same pod or another, has had it."""
        self._lease = lease
        self._me = me
        self._clock = clock
        self._wall_clock = wall_clock
        self._leave = leave
        self._seen: Sighting | None = None
        self._was_leading = False
        self._leads_until = float("-inf")
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def leading(self) -> bool:
        return self._clock() < self._leads_until

    def confirm(self) -> None:
        """Returns only where this process leads."""
        if not self.leading:
            self._leave("the Lease could not be renewed in time")

    def look(self) -> bool:
        """Read the Lease, claim it where that is right; whether this process leads afterwards.

        Raises StylefleetError where the Lease could not be read or written: whoever leads does so until its deadline.
        """
        lease = self._lease.read()
        now = self._clock()
        self._seen = observe(self._seen, lease, now)
        match judge(lease, self._seen, me=self._me, leading=self._was_leading, now=now):
            case Verdict.LOST:
                held_by = "nobody" if lease is None else holder_of(lease) or "nobody"
                self._leave(f"the Lease is held by {held_by}")
            case Verdict.WAIT:
                return False
            case Verdict.ACQUIRE | Verdict.RENEW:
                self._claim(lease)
        return self.leading

    def _claim(self, lease: Json | None) -> None:
        document = claimed(lease, me=self._me, now=self._wall_clock())
        sent_at = self._clock()
        try:
            self._lease.write(document)
        except PreconditionFailed:
            return  # somebody else wrote first; the next look tells who
        if not self._was_leading:
            log.info("leading", identity=self._me)
        # From the sending: others may have seen the claim long before its answer came.
        self._was_leading, self._leads_until = True, sent_at + RENEW_DEADLINE_SECONDS

    def start(self) -> None:
        """Keep the Lease in a thread; it ends the process as soon as that fails."""
        self._thread = threading.Thread(target=self._keep, name="leader", daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        try:
            while not self._stop.wait(RETRY_SECONDS):
                try:
                    self.look()
                except StylefleetError as error:
                    log.warning("lease_not_renewed", error=str(error))
                self.confirm()
        except Exception as error:
            log.exception("lease_keeper_failed")
            self._leave(f"a bug: {error}")

    def release(self) -> None:
        """Give the Lease up, so that another takes it at once. Only when nothing acts any more."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(STOP_SECONDS_MAX)
            if self._thread.is_alive():
                log.warning("lease_not_released", why="its last renewal still waits for an answer; it will run out")
                return
        self._leads_until = float("-inf")
        try:
            lease = self._lease.read()
            if lease is not None and holder_of(lease) == self._me:
                self._lease.write(released(lease, now=self._wall_clock()))
                log.info("lease_released", identity=self._me)
        except StylefleetError as error:
            log.warning("lease_not_released", why=f"{error}; it will run out")
