"""Faults at random, one after another: processes killed, stopped and told to end, a bucket in trouble."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import psutil

from tests.fleet import Fleet
from tests.s3_gate import Fault, Gate, no_fault

KILLS_A_SHARD = 1
"""kill -9 of the same shard's workers: a shard that kills each of its workers is given up, and rightly."""


@dataclass(kw_only=True)
class Troublemaker:
    """Makes trouble for a fleet until it is told to stop; each fault is in the log."""

    fleet: Fleet
    gate: Gate
    random: random.Random
    log: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _started: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _killed: Counter[tuple[str, str]] = field(default_factory=Counter)

    def run(self) -> None:
        """Until `stop`; then all is well again."""
        kinds = (
            self._kill_controller,
            self._stop_controller_for_a_while,
            self._kill_worker,
            self._kill_worker,
            self._end_worker,
            self._trouble_the_bucket,
            self._trouble_the_bucket,
        )
        while not self._stop.wait(self.random.uniform(1.0, 7.0)):
            self.random.choice(kinds)()
        self.gate.fault_of = no_fault

    def stop(self) -> None:
        self._stop.set()

    def _note(self, kind: str, detail: str) -> None:
        self.counts[kind] += 1
        self.log.append(f"{time.monotonic() - self._started:7.1f} s  {kind}: {detail}")

    # --- processes ------------------------------------------------------------------------------------------------

    def _kill_controller(self) -> None:
        self._note("controller killed", "SIGKILL, and started again")
        self.fleet.stop(signal.SIGKILL)
        self.fleet.start()

    def _stop_controller_for_a_while(self) -> None:
        seconds = self.random.uniform(2.0, 15.0)
        self._note("controller stopped", f"SIGSTOP for {seconds:.0f} s")
        assert self.fleet.controller is not None
        self.fleet.controller.send_signal(signal.SIGSTOP)
        self._stop.wait(seconds)
        self.fleet.controller.send_signal(signal.SIGCONT)

    def _kill_worker(self) -> None:
        for worker, shard in self._workers():
            if self._killed[shard] < KILLS_A_SHARD:
                self._killed[shard] += 1
                self._note("worker killed", f"SIGKILL of run {shard[0]}, shard {shard[1]}")
                self._signal(worker, signal.SIGKILL)
                return

    def _end_worker(self) -> None:
        for worker, shard in self._workers():
            self._note("worker told to end", f"SIGTERM of run {shard[0]}, shard {shard[1]}")
            self._signal(worker, signal.SIGTERM)
            return

    def _workers(self) -> list[tuple[psutil.Process, tuple[str, str]]]:
        assert self.fleet.controller is not None
        found = []
        for process in psutil.Process(self.fleet.controller.pid).children():
            try:
                environment = process.environ()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue  # it has just ended
            if "JOB_COMPLETION_INDEX" in environment:
                found.append((process, (environment["STYLEFLEET_RUN"], environment["JOB_COMPLETION_INDEX"])))
        self.random.shuffle(found)
        return found

    def _signal(self, process: psutil.Process, number: signal.Signals) -> None:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            self._note("came too late", "the worker had ended")

    # --- the bucket -----------------------------------------------------------------------------------------------

    def _trouble_the_bucket(self) -> None:
        fault, share = self.random.choice(list(Fault)), self.random.uniform(0.05, 0.7)
        seconds = self.random.uniform(1.0, 6.0)
        if fault is Fault.STALL:
            share = 0.03
        self._note(f"bucket: {fault.value}", f"{share:.0%} of all requests for {seconds:.0f} s")
        dice = random.Random(self.random.random())  # noqa: S311 - no secret

        def befalls(_request: str) -> Fault | None:
            with self._lock:
                if dice.random() >= share:
                    return None
                self.counts[f"requests: {fault.value}"] += 1
                return fault

        self.gate.fault_of = befalls
        self._stop.wait(seconds)
        self.gate.fault_of = no_fault
