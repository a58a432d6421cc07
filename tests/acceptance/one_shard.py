"""A bucket with the plan of one shard, and worker processes that attempt it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from stylefleet import naming, receipt
from stylefleet.local_s3 import LocalS3
from stylefleet.naming import Ref
from stylefleet.plan import ShardEntry, StyleShare, plan_to_json
from stylefleet.presets import recipe_for
from stylefleet.receipt import Receipt
from stylefleet.recipe import Scale
from stylefleet.store import Store
from stylefleet.tasks import Task, shard_bytes
from tests.builders import RUN, make_plan, make_task
from tests.fleet import PATIENCE_SECONDS, picture
from tests.s3_gate import Gate

PROMISE_SECONDS = 15
"""What a worker that is told to end has at the most; what it needs is less, by stopping.EXIT_SECONDS."""
SHORT = (Scale(size_px=48, iterations=20),)


@dataclass(kw_only=True)
class Attempt:
    """A worker process."""

    process: subprocess.Popen[bytes]
    log_path: Path

    def tell_to_end(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self, seconds: float = PROMISE_SECONDS) -> int:
        """Fails where it does not end in time."""
        return self.process.wait(seconds)

    def await_work(self, cpu_seconds: float) -> None:
        """Until it has computed for so long from now on: unlike the clock, that is the same on a busy machine."""
        process = psutil.Process(self.process.pid)

        def used() -> float:
            return sum(process.cpu_times()[:2])

        enough = used() + cpu_seconds
        deadline = time.monotonic() + PATIENCE_SECONDS
        while used() < enough:
            assert time.monotonic() < deadline, self.log_path.read_text()
            time.sleep(0.02)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Lines of its log."""
        lines = [json.loads(line) for line in self.log_path.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]


@dataclass(kw_only=True)
class Shard:
    """A bucket with the plan of one shard."""

    s3: LocalS3
    store: Store
    bucket: str
    gate: Gate
    folder: Path
    tasks: list[Task] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    def plan(self, pictures: dict[str, bytes], scales: tuple[Scale, ...]) -> None:
        """Each picture of another shape: a batch of its own."""
        for name, data in pictures.items():
            etag = self.store.put(Ref(self.bucket, f"catalog/{name}"), data)
            output = Ref(self.bucket, f"out/{name}")
            self.tasks.append(
                replace(make_task(name), content=Ref(self.bucket, f"catalog/{name}"), content_etag=etag, output=output)
            )
        style = Ref(self.bucket, "styles/style.png")
        share = StyleShare(image=style, etag=self.store.put(style, picture(96, 64, seed=99)), weight=1.0)
        shard = shard_bytes(self.tasks)
        entry = ShardEntry(index=0, tasks=len(self.tasks), digest=hashlib.sha256(shard).hexdigest())
        recipe = recipe_for(preset="draft", size_px=scales[-1].size_px, precision="float32")
        plan = replace(
            make_plan(image_format="png"), styles=(share,), shards=(entry,), recipe=replace(recipe, scales=scales)
        )
        self.store.put(Ref(self.bucket, naming.shard_key(plan.name, plan.run, 0, entry.digest)), shard)
        self.store.put(Ref(self.bucket, naming.plan_key(plan.name, plan.run)), plan_to_json(plan))

    def start(self, **environment_of_its_own: str) -> Attempt:
        name = f"attempt-{len(self.attempts) + 1}"
        environment = {
            **self.s3.process_environment(os.environ),
            "STYLEFLEET_S3_ENDPOINT": self.gate.url,
            "STYLEFLEET_BUCKET": self.bucket,
            "STYLEFLEET_NAME": "spring",
            "STYLEFLEET_RUN": RUN,
            "STYLEFLEET_ATTEMPT": name,
            "JOB_COMPLETION_INDEX": "0",
            **environment_of_its_own,
        }
        log_path = self.folder / f"{name}.log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "stylefleet.cli.main", "worker"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        self.attempts.append(Attempt(process=process, log_path=log_path))
        return self.attempts[-1]

    def finish(self) -> Attempt:
        """The next attempt, undisturbed."""
        self.gate.open()
        attempt = self.start()
        assert attempt.exit_code(800) == 0, attempt.log_path.read_text()
        return attempt

    def receipts(self) -> dict[str, Receipt]:
        """By picture; fails where a task has two."""
        keys = self.store.list(Ref(self.bucket, naming.receipts_prefix("spring", RUN)))
        found = [r for o in keys for r in receipt.from_lines(self.store.get(o.ref).data)]
        assert len({r.task_id for r in found}) == len(found)
        return {r.content.rpartition("/")[2]: r for r in found}

    def keys(self, prefix: str) -> list[str]:
        return [o.ref.key for o in self.store.list(Ref(self.bucket, prefix))]

    def results(self) -> dict[str, bytes]:
        return {key.removeprefix("out/"): self.store.get(Ref(self.bucket, key)).data for key in self.keys("out/")}


def make_shard(s3: LocalS3, gate: Gate, folder: Path) -> Shard:
    bucket = f"shard-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(bucket)
    return Shard(s3=s3, store=s3.store(), bucket=bucket, gate=gate, folder=folder)


def two_pictures() -> dict[str, bytes]:
    return {"0.png": picture(48, 32, seed=1), "1.png": picture(48, 36, seed=2)}


def undisturbed(shard: Shard, pictures: dict[str, bytes], scales: tuple[Scale, ...]) -> dict[str, bytes]:
    """The results where nobody tells the worker to end."""
    folder = shard.folder / "undisturbed"
    folder.mkdir()
    other = make_shard(shard.s3, shard.gate, folder)
    other.plan(pictures, scales)
    other.finish()
    return other.results()
