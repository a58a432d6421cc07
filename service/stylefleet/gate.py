"""The gate before Jobs: who waits for workers, remembered between ticks; `policies.admission` decides.

All of it can be found again: a run without Job asks when it is looked at, and Jobs say what they may use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from stylefleet.policies.admission import Limits, Request, Turn, admit


class Gate:
    """Runs that want workers, of one controller."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waiting: dict[str, Request] = {}
        self._turns: dict[str, Turn] = {}
        """What becomes of those that wait, as things stand."""
        self.live: Counter[str] = Counter()
        """Workers by tenant, as their Jobs may have them."""

    def begin(
        self, live: Mapping[str, int], growing: Iterable[Request], *, still_waits: Callable[[str], bool]
    ) -> dict[str, int]:
        """Begin a tick with what lives now. Jobs that want to grow ask with the rest; what these get is given back: the
        workers by name that their Jobs may have from now on."""
        self.live = Counter(live)
        self._waiting = {name: request for name, request in self._waiting.items() if still_waits(name)}
        if self._limits.none:
            return {}  # nobody but a hand, or a cap that is gone, has made a Job smaller
        requests = {request.name: request for request in growing}
        turns = admit([*requests.values(), *self._waiting.values()], live, self._limits)
        self._turns = {name: turn for name, turn in turns.items() if name in self._waiting}
        grown = {name: turns[name].workers for name in requests if turns[name].workers}
        for name, workers in grown.items():
            self.live[requests[name].tenant] += workers - requests[name].has
        return grown

    def ask(self, request: Request) -> Turn:
        """Whether the run may have its Job now, and with how many workers. Who may not is remembered."""
        if self._limits.none:
            return Turn(workers=request.wanted)
        if self._waiting.get(request.name) != request:
            self._add(request)
        turn = self._turns[request.name]
        if turn.workers:
            self.live[request.tenant] += turn.workers
            self.withdraw(request.name)
        return turn

    def _add(self, request: Request) -> None:
        self._waiting[request.name] = request
        alone = admit([request], self.live, self._limits)
        if not alone[request.name].workers:
            # Nor with others before it. How many there are is counted in the next tick: one may have thousands to add.
            self._turns |= alone
            return
        rivals = [r for r in self._waiting.values() if self._limits.room(r.tenant, self.live) > 0]
        self._turns |= admit(rivals, self.live, self._limits)

    def withdraw(self, name: str) -> None:
        """The run wants no Job now: it has one, it has ended, or it is paused."""
        self._waiting.pop(name, None)
        self._turns.pop(name, None)

    def is_next(self, name: str) -> bool:
        """Whether a run that waits could have its Job now."""
        return name in self._turns and self._turns[name].workers > 0

    def holds(self, name: str) -> bool:
        """Whether a run waits, and could not have its Job now."""
        return name in self._turns and not self.is_next(name)
