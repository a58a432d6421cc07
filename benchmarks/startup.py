"""How long the command line takes before it has anything to wait for, beside Python that does nothing."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.result import Report, Row

GOAL_SECONDS = 0.4
_CLI = ("-m", "stylefleet.cli.main")
COMMANDS: dict[str, Sequence[str]] = {
    "help": ("--help",),
    "help of a command": ("stylize", "--help"),
    "an argument that is wrong": ("list", "-o", "xml"),
    "an argument that is missing": ("status",),
    "a manifest that is not there": ("submit", "nothing.yaml"),
    "a manifest that is wrong": ("plan", "wrong.yaml"),
    "a picture that is not there": ("stylize", "a.jpg", "b.jpg", "c.jpg"),
    "a field explained": ("explain", "spec.recipe.size"),
    "settings": ("config", "show", "--sources"),
}
UNTIL_THE_FIRST_REQUEST = """
import sys
from stylefleet.cli import bucket, main
bucket.read_status = lambda *_: sys.exit()
sys.argv = ["stylefleet", "status", "spring", "--endpoint", "http://127.0.0.1:9"]
main.main()
"""


def measure(effort: Effort) -> list[Report]:
    """CPU seconds of a process: other processes of a busy machine do not count. All are interleaved."""
    environment = {**os.environ, "STYLEFLEET_BUCKET": "shop"}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "wrong.yaml").write_text("apiVersion: stylefleet.dev/v2\n")
        arguments = {
            "nothing": ("-c", "pass"),
            **{what: (*_CLI, *typed) for what, typed in COMMANDS.items()},
            "`status`, before its first request": ("-c", UNTIL_THE_FIRST_REQUEST),
        }
        taken: dict[str, list[float]] = {what: [] for what in arguments}
        for _ in range(effort.repeats):
            for what, typed in arguments.items():
                taken[what].append(cpu_seconds([sys.executable, *typed], environment, folder))
    seconds = {what: statistics.median(times) for what, times in taken.items()}
    nothing = seconds.pop("nothing")
    return [
        Report(
            title="Start of the command line",
            rows=[_row(what, time, nothing) for what, time in seconds.items()],
            notes=(
                "CPU seconds, user and system, of the whole process; medians. Goal: "
                f"{GOAL_SECONDS} s more than `python -c pass`.",
            ),
        )
    ]


def _row(what: str, seconds: float, nothing: float) -> Row:
    reached = "reached" if seconds - nothing <= GOAL_SECONDS else "not reached"
    return Row(
        what=what,
        measured=f"{seconds:.3f} s",
        compared_with=f"`python -c pass`: {nothing:.3f} s",
        ratio=f"{seconds / nothing:.0f} x, {reached}",
    )


def cpu_seconds(command: Sequence[str], environment: dict[str, str], folder: str) -> float:
    """Of one process that runs by itself."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=environment, cwd=folder, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
