"""Processes that outlive the command that started them: started detached, recorded, stopped by their own id only.

A process id alone is not an identity, since the kernel uses ids again: the record also holds the start time and
the boot it counts from, and nothing is ever signalled whose start time differs.
"""

import json
import os
import signal
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import LabError
from .shell import find_tool

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class ProcessRecord:
    """One process that the lab started, or found to be its own."""

    name: str
    """The component's name."""
    pid: int
    """Its process id."""
    start_ticks: int
    """When it started, in clock ticks since boot: with the id, its identity."""
    boot_id: str
    """The boot in which id and ticks mean something."""


def _state_and_ticks(pid: int) -> tuple[str, int] | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return fields[0], int(fields[19])


def _boot_id() -> str:
    return BOOT_ID.read_text(encoding="ascii").strip()


def record_of(name: str, pid: int) -> ProcessRecord | None:
    """The identity of a living process; None if there is none or it is only waiting to be reaped."""
    found = _state_and_ticks(pid)
    if found is None or found[0] in {"Z", "X"}:
        return None
    return ProcessRecord(name=name, pid=pid, start_ticks=found[1], boot_id=_boot_id())


def alive(record: ProcessRecord) -> bool:
    """Whether this very process still runs; if it is a dead child of ours, it is reaped."""
    if record.boot_id != _boot_id():
        return False
    if _state_and_ticks(record.pid) == ("Z", record.start_ticks):
        with suppress(ChildProcessError):  # not our child: somebody else reaps it
            os.waitpid(record.pid, os.WNOHANG)
    return record_of(record.name, record.pid) == record


def start(*, name: str, argv: Sequence[str], env: Mapping[str, str], log: Path, records: Path) -> ProcessRecord:
    """Start a process in a session of its own, its output appended to a log, and record it at once.

    posix_spawn and not subprocess.Popen: a Popen object warns when it is forgotten, and here it is meant to be.
    """
    program = find_tool(argv[0])
    if program is None:
        raise LabError(f"{argv[0]} is not installed: run `python -m tests.lab build`")
    log.parent.mkdir(parents=True, exist_ok=True)
    records.mkdir(parents=True, exist_ok=True)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        pid = os.posix_spawn(
            program,
            [program, *argv[1:]],
            dict(env),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, output, 1),
                (os.POSIX_SPAWN_DUP2, output, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(output)
    record = record_of(name, pid)
    if record is None:
        raise LabError(f"{name} ended at once; its log is {log}")
    scratch = records / f".{name}"
    scratch.write_text(json.dumps(asdict(record)), encoding="utf-8")
    scratch.rename(records / f"{name}.json")
    return record


def load_record(records: Path, name: str) -> ProcessRecord | None:
    """The record of a component, if it was ever started in this lab."""
    try:
        return ProcessRecord(**json.loads((records / f"{name}.json").read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None


def load_records(records: Path) -> list[ProcessRecord]:
    """All records of this lab, dead or alive."""
    names = sorted(path.stem for path in records.glob("[!.]*.json"))
    return [record for name in names if (record := load_record(records, name)) is not None]


def kill(record: ProcessRecord, signal_number: int = signal.SIGKILL) -> None:
    """Signal this very process through a handle on it, so that a reused id is never hit."""
    try:
        handle = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        if alive(record):
            with suppress(ProcessLookupError):  # it ended in between, which is what was wanted
                signal.pidfd_send_signal(handle, signal_number)
    finally:
        os.close(handle)


def kill_all(records: Iterable[ProcessRecord], *, timeout_seconds: float = 20) -> None:
    """Kill and wait. No grace: all that these processes would save is thrown away with the lab."""
    left = list(records)
    for record in left:
        kill(record)
    deadline = time.monotonic() + timeout_seconds
    while left := [record for record in left if alive(record)]:
        if time.monotonic() > deadline:
            names = ", ".join(f"{record.name} (pid {record.pid})" for record in left)
            raise LabError(f"still running {timeout_seconds:g} s after SIGKILL: {names}")
        time.sleep(0.02)
