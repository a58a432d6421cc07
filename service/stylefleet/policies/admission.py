"""Who gets workers where not all can have them at once. Pure.

Priority first, then the tenant that has the fewest workers for its weight, then who asked first. Nobody passes one that
waits before it at the same cap: so a run that needs many workers is not kept from them by a stream of small ones.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from stylefleet.fields import Priority

_RANK_BY_PRIORITY: Mapping[Priority, int] = {"high": 0, "normal": 1, "low": 2}


@dataclass(frozen=True, kw_only=True)
class Request:
    """A run that wants workers, or more of them."""

    name: str
    tenant: str
    """Empty where there are none."""
    priority: Priority
    submitted_at: datetime
    wanted: int
    """Workers that it would use."""
    fewest: int = 1
    """With fewer it does not begin."""
    has: int = 0
    """Workers that its Job may have already."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the operator sets."""

    total: int | None = None
    """Workers at a time, of all runs; None: any number."""
    by_tenant: Mapping[str, int]
    """Workers at a time of one tenant's runs; who is not in it may have any number."""
    weights: Mapping[str, float]
    """Of tenants; 1 for who is not in it."""

    @property
    def none(self) -> bool:
        """Whether everybody may have what it wants."""
        return self.total is None and not self.by_tenant

    def room(self, tenant: str, used: Counter[str]) -> float:
        """Workers that the tenant may have beside those in use."""
        own = self.by_tenant.get(tenant, math.inf) - used[tenant]
        return min(own, math.inf if self.total is None else self.total - used.total())


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What becomes of a request."""

    workers: int
    """That the run may have from now on; 0 where it waits."""
    waiting_because: str = ""


def in_order(requests: Iterable[Request], live: Mapping[str, int], weights: Mapping[str, float]) -> Iterator[Request]:
    """The requests in the order of their turns. `live` are the workers that each tenant has; whoever has had its turn
    counts as if it had got what it wants, so that the tenants take turns also while all wait."""
    queues: defaultdict[str, deque[Request]] = defaultdict(deque)
    for request in sorted(requests, key=lambda r: (_RANK_BY_PRIORITY[r.priority], r.submitted_at, r.name)):
        queues[request.tenant].append(request)
    shares = Counter(live)

    def place(tenant: str) -> tuple[int, float, datetime, str, str]:
        first = queues[tenant][0]
        share = shares[tenant] / weights.get(tenant, 1.0)
        return _RANK_BY_PRIORITY[first.priority], share, first.submitted_at, first.name, tenant

    heap = [place(tenant) for tenant in queues]
    heapq.heapify(heap)
    while heap:
        tenant = heapq.heappop(heap)[-1]
        request = queues[tenant].popleft()
        shares[tenant] += request.wanted - request.has
        if queues[tenant]:
            heapq.heappush(heap, place(tenant))
        yield request


def admit(requests: Iterable[Request], live: Mapping[str, int], limits: Limits) -> dict[str, Turn]:
    """What each request gets now, by name, in order. A run gets what is left of a cap where that is enough to begin."""
    caps = _Caps(live, limits)
    return {request.name: caps.turn(request) for request in in_order(requests, live, limits.weights)}


class _Caps:
    """What is used of each cap, and who waits at it."""

    def __init__(self, live: Mapping[str, int], limits: Limits) -> None:
        self._limits = limits
        self._used = Counter(live)
        self._waiting: Counter[str | None] = Counter()
        """Runs that wait, by tenant; None: all."""
        self._closed: set[str | None] = set()
        """Tenants at whose cap somebody waits; None: the cap of all."""

    def turn(self, request: Request) -> Turn:
        tenant = request.tenant
        cap, total = self._limits.by_tenant.get(tenant, math.inf), self._limits.total
        room, room_of_all = cap - self._used[tenant], (math.inf if total is None else total - self._used.total())
        # Who asks for more than there will ever be begins with all there is.
        least = request.has + 1 if request.has else min(request.fewest, request.wanted, cap, total or math.inf)
        own_is_full = tenant in self._closed or request.has + room < least
        all_is_full = None in self._closed or request.has + room_of_all < least
        if own_is_full or all_is_full:
            self._closed |= {tenant} if own_is_full else {None}
            because = self._because(request, own=own_is_full, least=int(least))
            if not request.has:
                self._waiting.update([tenant, None])
            return Turn(workers=0, waiting_because=because)
        workers = int(min(request.wanted, request.has + min(room, room_of_all)))
        self._used[tenant] += workers - request.has
        return Turn(workers=workers)

    def _because(self, request: Request, *, own: bool, least: int) -> str:
        if own:
            used, cap = self._used[request.tenant], self._limits.by_tenant[request.tenant]
            found, before = f"tenant {request.tenant} uses {used} of its {cap} workers", self._waiting[request.tenant]
        else:
            used, before = self._used.total(), self._waiting[None]
            found = f"{used} of {self._limits.total} workers are in use"
        needs = f", and this run begins with {least}" if least > 1 else ""
        ahead = f"; {before} {'run is' if before == 1 else 'runs are'} before it" if before else ""
        return f"CapReached: {found}{needs}{ahead}"
