"""Indexed Jobs as processes on this machine: the embedded default, with the semantics of Kubernetes.

Completion indexes, retries per index, failed indexes and the exit code that fails an index at once are kept; so is the
worker's entry point. State is one JSON file a Job, so a controller that was killed finds its Jobs again. The cluster
advances when it is looked at: no threads, no daemon.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import psutil

from stylefleet import diagnosis
from stylefleet.errors import PreconditionFailed, SettingsInvalid
from stylefleet.indexes import format_indexes, parse_indexes
from stylefleet.jobs import GRACE_SECONDS, JobView, Json, action_on, view

P = ParamSpec("P")
T = TypeVar("T")

LOG_CHARACTERS_READ = 4096
"""Of the end of a failed worker's log: as much as Kubernetes keeps of a pod's last words."""
WORKER_COMMAND = (sys.executable, "-m", "stylefleet.cli.main")


def _alone(method: Callable[Concatenate[Any, P], T]) -> Callable[Concatenate[Any, P], T]:
    """A method that waits for other threads to leave the cluster."""

    def entered(self: Any, /, *arguments: P.args, **options: P.kwargs) -> T:
        with self._one_at_a_time:
            return method(self, *arguments, **options)

    return entered


class LocalCluster:
    """Jobs in `folder`, at most `slots` processes at a time."""

    def __init__(
        self,
        folder: Path,
        *,
        slots: int = 1,
        command: Sequence[str] = WORKER_COMMAND,
        environment: Mapping[str, str] | None = None,
        look_only: bool = False,
        metrics_port: int | None = None,
    ) -> None:
        """`look_only` lists the Jobs and touches nothing, for a dry run. `metrics_port` is for the worker of the first
        slot, on 127.0.0.1; those of the others have the next ones. Raises SettingsInvalid where another controller uses
        the folder.
        """
        self._folder = folder
        self._slots = slots
        self._command = tuple(command)
        self._environment = dict(os.environ if environment is None else environment)
        self._metrics_port = metrics_port
        self._processes: dict[tuple[str, int], subprocess.Popen[bytes]] = {}
        self._slot_of: dict[tuple[str, int], int] = {}
        """Of these; it may name some that have ended."""
        self._look_only = look_only
        self._lock: int | None = None
        self._one_at_a_time = threading.RLock()
        if not look_only:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(folder / "lock")
            self._end_leftovers()

    @_alone
    def create_job(self, job: Json) -> None:
        existing = self._load(job["metadata"]["name"])
        if existing is not None:
            if existing["metadata"]["labels"] != job["metadata"]["labels"]:
                raise PreconditionFailed(f"Job {job['metadata']['name']} exists and belongs to another run")
            return
        created_at = datetime.now(UTC).isoformat(timespec="microseconds")
        metadata = job["metadata"] | {"uid": uuid.uuid4().hex, "creationTimestamp": created_at}
        local = {"launches": 0, "failures": {}, "pids": {}, "attempts": {}, "last_failure": None}
        self._save(job | {"metadata": metadata, "status": {}, "local": local})
        self._advance()

    @_alone
    def list_jobs(self) -> list[JobView]:
        if not self._look_only:
            self._advance()
        return [view(job) for job in self._jobs()]

    def require_listed(self, namespace: str) -> None:
        """Nothing to say: `list_jobs` has raised."""

    def release_job(self, job: JobView) -> None:
        """Nothing cleans up here but us, so a finished Job is removed."""
        if job.finished:
            self.delete_job(job)

    @_alone
    def delete_job(self, job: JobView) -> None:
        current = self._load(job.name)
        if current is None or current["metadata"]["uid"] != job.uid:
            return
        running = [k for k in self._processes if k[0] == job.name]
        _stop([self._processes.pop(key) for key in running])
        self._path(job.name).unlink(missing_ok=True)
        self._advance()

    @_alone
    def resize_job(self, job: JobView, parallelism: int) -> None:
        current = self._load(job.name)
        if current is None or current["metadata"]["uid"] != job.uid:
            return
        current["spec"]["parallelism"] = parallelism
        self._save(current)

    @_alone
    def waiting_because(self, job: JobView) -> str:
        busy = sum(1 for name, _ in self._processes if name != job.name)
        return f"all {self._slots} worker slots of this machine are taken" if busy >= self._slots else ""

    def suspended_because(self, job: JobView, *, ran: bool) -> str:
        return str(diagnosis.of_suspended(job.queue, evicted=ran, said=job.message))  # by a hand in its file

    @_alone
    def failed_because(self, job: JobView) -> str:
        current = self._load(job.name)
        if current is None or current["local"]["last_failure"] is None:
            return ""
        attempt, exit_code = current["local"]["last_failure"]
        log_path = self._folder / f"{attempt}.log"
        log = log_path.read_text(errors="replace") if log_path.exists() else ""
        return str(diagnosis.of_exit(exit_code, log[-LOG_CHARACTERS_READ:]))

    @_alone
    def close(self) -> None:
        """Stop every worker; what they finished is kept, the rest is done when a controller comes back."""
        _stop(list(self._processes.values()))
        # Forgotten, so that their end is not taken for a failure.
        self._processes.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- the Job controller's part -----------------------------------------------------------------------------

    def _advance(self) -> None:
        """Collect processes that ended, decide each index, and fill the free slots, oldest Job first."""
        for job in self._jobs():
            if view(job).finished:
                continue
            self._collect(job)
            self._launch(job)
            self._conclude(job)
            self._save(job)

    def _collect(self, job: Json) -> None:
        name, status, local = job["metadata"]["name"], job["status"], job["local"]
        completed = set(parse_indexes(status.get("completedIndexes", "")))
        failed = set(parse_indexes(status.get("failedIndexes", "")))
        for (owner, index), process in list(self._processes.items()):
            exit_code = process.poll()
            if owner != name or exit_code is None:
                continue
            del self._processes[owner, index]
            del local["pids"][str(index)]
            if exit_code == 0:
                completed.add(index)
                continue
            # A process that a signal ended has its negative number here, and 128 more than that in Kubernetes.
            action = action_on(job, exit_code if exit_code > 0 else 128 - exit_code)
            if action == "Ignore":
                continue
            local["last_failure"] = [local["attempts"][str(index)], exit_code]
            failures = local["failures"][str(index)] = local["failures"].get(str(index), 0) + 1
            if action == "FailIndex" or failures > job["spec"]["backoffLimitPerIndex"]:
                failed.add(index)
        status["completedIndexes"] = format_indexes(completed)
        status["succeeded"] = len(completed)
        status["failedIndexes"] = format_indexes(failed)

    def _launch(self, job: Json) -> None:
        name, spec, status, local = job["metadata"]["name"], job["spec"], job["status"], job["local"]
        ended = parse_indexes(status["completedIndexes"]) | parse_indexes(status["failedIndexes"])
        for index in range(spec["completions"]):
            own = sum(1 for owner, _ in self._processes if owner == name)
            if own >= spec["parallelism"] or len(self._processes) >= self._slots:
                break
            if index in ended or (name, index) in self._processes:
                continue
            local["launches"] += 1
            # With the uid: a Job that is made anew must not take up the names (and receipts) of the one before.
            attempt = f"{name}-{index}-{job['metadata']['uid'][:6]}-{local['launches']}"
            self._save(job)  # an attempt's name is used up before its process exists
            self._slot_of = {key: self._slot_of[key] for key in self._processes}
            slot = min(set(range(self._slots)) - set(self._slot_of.values()))
            process = self._start(job, index, attempt, slot)
            self._processes[name, index], self._slot_of[name, index] = process, slot
            local["attempts"][str(index)] = attempt
            local["pids"][str(index)] = [process.pid, psutil.Process(process.pid).create_time()]
            # Before anything else can happen: a controller killed now must find this process again.
            self._save(job)
        status["active"] = status["ready"] = sum(1 for owner, _ in self._processes if owner == name)

    def _start(self, job: Json, index: int, attempt: str, slot: int) -> subprocess.Popen[bytes]:
        container = job["spec"]["template"]["spec"]["containers"][0]
        # What is a pod's own: its scratch volume, and its port, of which each has all.
        pods = ("HOME", "STYLEFLEET_METRICS_PORT")
        own = {e["name"]: e["value"] for e in container["env"] if "value" in e and e["name"] not in pods}
        environment = {
            **self._environment,
            **own,
            "STYLEFLEET_ATTEMPT": attempt,
            "JOB_COMPLETION_INDEX": str(index),
        }
        if self._metrics_port is not None:
            environment["STYLEFLEET_METRICS_HOST"] = "127.0.0.1"
            environment["STYLEFLEET_METRICS_PORT"] = str(self._metrics_port + slot)
        log_path = self._folder / f"{attempt}.log"
        with log_path.open("wb") as log:
            return subprocess.Popen(
                [*self._command, *container["args"]],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is the controller's to handle
            )

    def _conclude(self, job: Json) -> None:
        spec, status = job["spec"], job["status"]
        completed, failed = parse_indexes(status["completedIndexes"]), parse_indexes(status["failedIndexes"])
        if len(completed) == spec["completions"]:
            status["conditions"] = [{"type": "Complete", "status": "True"}]
        elif len(failed) > spec["maxFailedIndexes"]:
            message = f"{len(failed)} indexes failed, more than maxFailedIndexes"
            status["conditions"] = [{"type": "Failed", "status": "True", "message": message}]
        elif len(completed) + len(failed) == spec["completions"]:
            message = "Job has failed indexes"
            status["conditions"] = [{"type": "Failed", "status": "True", "message": message}]

    # --- state ----------------------------------------------------------------------------------------------------

    def _end_leftovers(self) -> None:
        """Workers of a controller that was killed: their exit codes are lost, so end them; their indexes run again.

        They are told to, so that they leave checkpoints, and none of them looks as if it had died over its pictures.
        """
        leftovers = []
        for job in self._jobs():
            for pid, created_at in job["local"]["pids"].values():
                try:
                    process = psutil.Process(pid)
                    if abs(process.create_time() - created_at) < 2:  # a clock may be set between two looks
                        process.terminate()
                        leftovers.append(process)
                except psutil.NoSuchProcess:
                    continue  # it has ended by itself
        _, deaf = psutil.wait_procs(leftovers, GRACE_SECONDS)
        for process in deaf:
            process.kill()
        psutil.wait_procs(deaf)
        for job in self._jobs():
            job["local"]["pids"] = {}
            self._save(job)

    def _jobs(self) -> list[Json]:
        jobs = [json.loads(path.read_bytes()) for path in self._folder.glob("*.json")]
        return sorted(jobs, key=lambda job: (job["metadata"].get("creationTimestamp", ""), job["metadata"]["name"]))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _load(self, name: str) -> dict[str, Any] | None:
        path = self._path(name)
        return json.loads(path.read_bytes()) if path.exists() else None

    def _save(self, job: Json) -> None:
        path = self._path(job["metadata"]["name"])
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(job))
        partial.replace(path)


def _locked(path: Path) -> int:
    """A file descriptor that holds the lock; the kernel lets it go when this process ends, however it ends."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise SettingsInvalid(f"{path.parent}: another controller uses this folder") from None
    return lock


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """SIGTERM to all, and SIGKILL to those that do not heed it."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
