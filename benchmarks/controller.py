"""The controller before many Jobs and a large inbox, with a real API server that nobody works for and a real S3 server.

Runs in the lab's network (as root, see tests/lab/README.md): `python -m benchmarks controller`. The measured controller
has a process of its own; this one only prepares and reads what it prints.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from benchmarks.effort import Effort
from benchmarks.result import Report, Row

TICK_SECONDS_GOAL = 1.0
MEMORY_MIB_GOAL = 200


@dataclass(frozen=True, kw_only=True)
class Ticks:
    """What the measured process says of a series of ticks."""

    seconds: list[float]
    s3_requests: list[int]
    api_requests: list[int]
    resident_mib: float
    """At the peak so far."""

    @property
    def median_seconds(self) -> float:
        return sorted(self.seconds)[len(self.seconds) // 2]

    @property
    def in_words(self) -> str:
        return (
            f"{self.median_seconds:.2f} s a tick (median of {len(self.seconds)}, longest {max(self.seconds):.2f} s), "
            f"{max(self.s3_requests)} S3 and {max(self.api_requests)} API requests at the most, "
            f"{self.resident_mib:.0f} MiB"
        )


def measure(effort: Effort) -> list[Report]:
    """Many Jobs, a large inbox, many manifests at once."""
    from tests.lab import Lab

    lab = Lab()
    lab.up_without_node()
    try:
        stage = [
            *lab.nsenter_prefix(),
            sys.executable,
            "-m",
            "benchmarks.controller_stage",
            str(effort.controller_runs),
        ]
        environment = {**os.environ, "KUBECONFIG": str(lab.kubeconfig)}
        done = subprocess.run(stage, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    finally:
        lab.down()
    return [_report(json.loads(done.stdout.splitlines()[-1]))]


def _report(found: dict[str, Any]) -> Report:
    empty, first, steady, inbox = (Ticks(**found[name]) for name in ("empty", "first", "steady", "inbox"))
    runs, indexes, finished = found["runs"], found["indexes"], found["finished"]
    latency = found["latency"]
    return Report(
        title="The controller before many runs",
        rows=[
            Row(
                what=f"{runs:,} live Jobs of {indexes:,} indexes, workers' receipts coming in",
                measured=steady.in_words,
                compared_with=f"no Job: {empty.in_words}",
                ratio=f"goal {TICK_SECONDS_GOAL:.0f} s and {MEMORY_MIB_GOAL} MiB",
            ),
            Row(
                what="the same, a controller that starts anew",
                measured=f"{sum(first.seconds):.1f} s and {len(first.seconds)} ticks until it has seen every run",
                compared_with=f"{sum(first.s3_requests):,} S3 and {sum(first.api_requests):,} API requests",
                ratio="goal 30 s",
            ),
            Row(
                what=f"{finished:,} finished manifests in the inbox beside them",
                measured=inbox.in_words,
                compared_with=f"without these: {steady.in_words}",
                ratio=f"{inbox.median_seconds - steady.median_seconds:+.2f} s a tick",
            ),
            Row(
                what=f"{latency['manifests']} manifests put at once: from the put to the Job",
                measured=f"50 %: {latency['p50']:.1f} s, 99 %: {latency['p99']:.1f} s",
                compared_with=f"poll interval {latency['poll_seconds']:.0f} s",
                ratio="goal: the interval and 1 s",
            ),
        ],
        notes=(
            "API server and etcd of the lab, SeaweedFS, and the controller share this machine's cores. Jobs and plans "
            "are put there as a controller and workers would have; nobody changes them but for receipts.",
            "Requests are counted where the clients send them, each attempt; a listing is one a page.",
        ),
    )
