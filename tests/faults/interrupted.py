"""A story that is interrupted once, at a given call of the controller to one of its two edges."""

from __future__ import annotations

from collections.abc import Callable

from stylefleet.errors import StylefleetError
from tests.fake_cluster import nothing
from tests.faults.scenarios import AWAITED, CHANGING, Scenario, Step
from tests.world import World

TICKS_MAX = 60
"""A storm is over by then."""


class Killed(BaseException):
    """kill -9 at this very call."""


class Interrupted:
    """A world whose controller is interrupted at its call number `number`, and at the `lasting` - 1 calls after it."""

    def __init__(
        self,
        *,
        when: str,
        number: int,
        interrupt: Callable[[World], None],
        changing_only: bool = False,
        edges: tuple[str, ...] = ("store", "cluster"),
        lasting: int = 1,
    ) -> None:
        self.world = World()
        self._number, self._changing_only, self._interrupt = number, changing_only, interrupt
        self._lasting = lasting
        self.calls = 0
        """Calls so far that count."""
        self.happened = False
        for edge in edges:
            setattr(getattr(self.world, edge), when, self._hook)

    def _hook(self, method: str, _subject: object) -> None:
        if self._changing_only and method not in CHANGING:
            return
        self.calls += 1
        if self._number <= self.calls < self._number + self._lasting:
            self.happened = True
            self._interrupt(self.world)

    def play(self, scenario: Scenario) -> None:
        """The whole story; a controller that is killed is followed by a fresh one."""
        for step in scenario.steps:
            for happens in step:
                self._wait_for(happens)
                self._without_hooks(happens)
            self.tick()
        for _ in range(scenario.calm_ticks):
            self.tick()

    def calm_down(self) -> None:
        """Ticks until the run is over, which a storm may have put off."""
        for _ in range(TICKS_MAX):
            held = any(job["metadata"]["finalizers"] for job in self.world.cluster.jobs.values())
            if not held and self.world.has_status("spring") and self.world.status().phase.final:
                break
            self.tick()
        self.tick()

    def _wait_for(self, happens: Step) -> None:
        for _ in range(TICKS_MAX):
            if happens not in AWAITED or AWAITED[happens](self.world):
                break
            self.tick()

    def _without_hooks(self, happens: Callable[[World], None]) -> None:
        # What users and pods do are not the controller's calls.
        edges = (self.world.store, self.world.cluster)
        hooks = [(edge.before, edge.after) for edge in edges]
        for edge in edges:
            edge.before = edge.after = nothing
        happens(self.world)
        for edge, (before, after) in zip(edges, hooks, strict=True):
            edge.before, edge.after = before, after

    def tick(self) -> None:
        for _ in range(2):  # killed, it comes again
            try:
                self.world.tick()
            except Killed:
                self.world.restart()
            except StylefleetError:
                continue  # as the loop does
