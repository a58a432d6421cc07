"""Random faults over a running catalog: `python -m tests.soak --minutes 30 --seed S`, or `make soak`.

Real S3, a real controller, real workers on this machine. Runs follow one another, each of some pictures, some of them
paused or changed on their way, until the time is over; then the faults end and the last run may finish. At the end each
run is audited from the bucket alone: every picture has one result, one receipt that counts, and the two agree.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stylefleet import naming
from stylefleet.audit import audit
from stylefleet.local_s3 import LocalS3, local_s3
from stylefleet.naming import Ref
from tests.fleet import Fleet, eventually, picture
from tests.s3_gate import s3_gate
from tests.soak.faults import Troublemaker

PICTURES_A_RUN = 12
SHAPES = ((48, 32), (32, 48), (48, 40))
RUN_SECONDS_MAX = 900.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a soak came to."""

    runs: int
    pictures: int
    faults: dict[str, int]
    log: list[str]
    findings: list[str]
    """What the audit found wrong; nothing is what it should be."""


def soak(minutes: float, seed: int, *, pictures_a_run: int = PICTURES_A_RUN) -> Outcome:
    """Make trouble for so long."""
    randomness = random.Random(seed)  # noqa: S311 - to be repeatable
    with tempfile.TemporaryDirectory() as name, local_s3(Path(name) / "s3") as s3, s3_gate(s3.endpoint_url) as gate:
        folder = Path(name)
        s3.create_bucket("soak")
        fleet = Fleet(
            s3=LocalS3(endpoint_url=gate.url),
            store=s3.store(),
            bucket="soak",
            folder=folder,
            environment={
                "STYLEFLEET_CLUSTER": "local",
                "STYLEFLEET_LOCAL_FOLDER": str(folder / "jobs"),
                "STYLEFLEET_LOCAL_SLOTS": "2",
                "TF_NUM_INTRAOP_THREADS": "1",
            },
        )
        fleet.put("styles/style.jpg", picture(96, 64, seed=99))
        fleet.start()
        trouble = Troublemaker(fleet=fleet, gate=gate, random=randomness)
        thread = threading.Thread(target=trouble.run)
        thread.start()
        try:
            names = _runs(fleet, trouble, randomness, pictures_a_run, until=time.monotonic() + 60 * minutes)
        finally:
            trouble.stop()
            thread.join()
            fleet.stop()
        findings = [finding for name in names for finding in _audit(fleet, name, pictures_a_run)]
        pictures = len(names) * pictures_a_run
        return Outcome(
            runs=len(names), pictures=pictures, faults=dict(trouble.counts), log=trouble.log, findings=findings
        )


def _runs(fleet: Fleet, trouble: Troublemaker, randomness: random.Random, pictures: int, *, until: float) -> list[str]:
    """Run after run; the names of all."""
    names: list[str] = []
    while time.monotonic() < until:
        name = f"run-{len(names):03d}"
        names.append(name)
        for number in range(pictures):
            width, height = SHAPES[number % len(SHAPES)]
            fleet.put(f"catalog/{name}/{number}.jpg", picture(width, height, seed=100 * len(names) + number))
        _submit(fleet, name, size=48)
        happens = randomness.choice((_nothing, _nothing, _pause, _change))
        happens(fleet, name, until)
        if time.monotonic() >= until:
            trouble.stop()
        _await_end(fleet, name)
    return names


def _submit(fleet: Fleet, name: str, *, size: int) -> None:
    fleet.submit(
        name,
        content={"prefix": f"s3://{fleet.bucket}/catalog/{name}/"},
        recipe={"preset": "draft", "size": size},
        run={"parallelism": 3},
    )


def _nothing(_fleet: Fleet, _name: str, _until: float) -> None:
    """The run goes on undisturbed by its user."""


def _pause(fleet: Fleet, name: str, until: float) -> None:
    """The user pauses it in its middle and resumes it."""
    _await(lambda: len(fleet.receipts(name)) > 2, until)
    fleet.put(naming.pause_key(name), b"")
    _await(lambda: fleet.status(name).get("phase") == "Paused", until)
    fleet.store.delete(Ref(fleet.bucket, naming.pause_key(name)))


def _change(fleet: Fleet, name: str, until: float) -> None:
    """The user asks for another size when some pictures are done."""
    _await(lambda: len(fleet.receipts(name)) > 2, until)
    _submit(fleet, name, size=40)


def _await(condition: Callable[[], bool], until: float) -> None:
    while not condition() and time.monotonic() < until:
        time.sleep(0.5)


def _await_end(fleet: Fleet, name: str) -> None:
    """The end of the newest submission. Raises AssertionError where that takes far too long."""
    found = fleet.store.get(Ref(fleet.bucket, f"jobs/{name}.yaml"))
    run = naming.run_id(name, found.data, found.modified_at)

    def over() -> bool:
        status = fleet.status(name)
        final = ("Succeeded", "PartiallySucceeded", "Failed", "Cancelled", "Rejected")
        return status.get("run") == run and status["phase"] in final

    eventually(over, f"the end of {name}: {fleet.status(name)}\n{fleet.log()}", seconds=RUN_SECONDS_MAX)


def _audit(fleet: Fleet, name: str, pictures: int) -> list[str]:
    """What is wrong with the newest run of a name, read from the bucket alone."""
    status = fleet.status(name)
    findings = [] if status["phase"] == "Succeeded" else [f"{name}: {status['phase']}: {status['message']}"]
    if status["progress"]["pictures"] != pictures or status["progress"]["failed"]:
        findings.append(f"{name}: {status['progress']} of {pictures} pictures")
    found = audit(fleet.store, fleet.bucket, name)
    return findings + [f"{name}: {r.check}: {r.about}: {r.message}" for r in found.faults.shown]
