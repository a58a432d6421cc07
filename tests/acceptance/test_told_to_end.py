"""SIGTERM to a real worker with a real S3 server, wherever the worker may be at that moment (docs/stopping.md)."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

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
from tests.fleet import PATIENCE_SECONDS, eventually, picture
from tests.s3_gate import Gate, s3_gate

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="what a process does is read from /proc"),
]

PROMISE_SECONDS = 15
"""What a worker that is told to end has at the most; what it needs is less, by stopping.EXIT_SECONDS."""
SHORT = (Scale(size_px=48, iterations=20),)
STEPS = 300
LONG = (Scale(size_px=48, iterations=STEPS),)
"""Some seconds of computing for a picture."""
MIDST_SECONDS = 0.5
"""Of computing, after which a picture of LONG is in the works: it has taken ten steps, and not all of them."""


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

    def start(self) -> Attempt:
        name = f"attempt-{len(self.attempts) + 1}"
        environment = {
            **self.s3.process_environment(os.environ),
            "STYLEFLEET_S3_ENDPOINT": self.gate.url,
            "STYLEFLEET_BUCKET": self.bucket,
            "STYLEFLEET_NAME": "spring",
            "STYLEFLEET_RUN": RUN,
            "STYLEFLEET_ATTEMPT": name,
            "JOB_COMPLETION_INDEX": "0",
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


@pytest.fixture
def shard(s3: LocalS3, tmp_path: Path) -> Iterator[Shard]:
    with s3_gate(s3.endpoint_url) as gate:
        shard = make_shard(s3, gate, tmp_path)
        yield shard
        for attempt in shard.attempts:
            attempt.process.kill()
            attempt.process.wait()


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


def test_while_it_imports_tensorflow(shard: Shard) -> None:
    shard.plan(two_pictures(), SHORT)
    attempt = shard.start()
    maps = Path(f"/proc/{attempt.process.pid}/maps")
    eventually(lambda: "tensorflow" in maps.read_text(), "TensorFlow is mapped")
    assert shard.gate.seen == []
    attempt.tell_to_end()
    assert attempt.exit_code() == 143
    assert shard.gate.seen == []


@pytest.mark.parametrize(
    ("phase", "method", "part"),
    [
        ("reading its plan", "GET", "/plan.json"),
        ("fetching a style", "GET", "/styles/"),
        ("loading, with the engine there", "GET", "/cache/style/"),
        ("fetching a picture", "GET", "/catalog/1.png"),
    ],
)
def test_while_the_store_keeps_it_waiting_and_nothing_is_in_the_works(
    shard: Shard, phase: str, method: str, part: str
) -> None:
    shard.plan(two_pictures(), SHORT)
    shard.gate.hold(method, part)
    attempt = shard.start()
    shard.gate.await_request(method, part)
    attempt.tell_to_end()
    assert attempt.exit_code() == 143, phase
    assert (shard.receipts(), shard.results(), shard.keys("checkpoints/")) == ({}, {}, [])


def test_while_it_optimizes_a_picture(shard: Shard) -> None:
    shard.plan(two_pictures(), LONG)
    first = shard.start()
    shard.gate.await_request("PUT", "/receipts/")
    first.await_work(MIDST_SECONDS)
    first.tell_to_end()
    first.tell_to_end()  # the second is no more than the first
    assert first.exit_code() == 143
    assert set(shard.receipts()) == {"0.png"}
    assert shard.keys("checkpoints/") == [naming.checkpoint_key(shard.tasks[1].task_id)]
    (stopped,) = first.events("picture_stopped")
    assert stopped["content"] == str(shard.tasks[1].content)
    assert 0 < stopped["steps"] < STEPS
    assert (stopped["run"], stopped["shard"], stopped["attempt"]) == (RUN, 0, "attempt-1")

    second = shard.finish()
    (found,) = second.events("checkpoint_found")
    assert found["iteration"] == stopped["steps"]
    assert {name: (r.attempt, r.iterations) for name, r in shard.receipts().items()} == {
        "0.png": ("attempt-1", STEPS),
        "1.png": ("attempt-2", STEPS),
    }
    assert shard.keys("checkpoints/") == []
    assert shard.results() == undisturbed(shard, two_pictures(), LONG)


def test_while_a_step_takes_longer_than_there_is_time(shard: Shard) -> None:
    """A large picture: each of its steps goes through the network tile by tile."""
    large = picture(1360, 1360, seed=5)
    scales = (Scale(size_px=64, iterations=20), Scale(size_px=1360, iterations=1))
    shard.plan({"large.png": large}, scales)
    first = shard.start()
    shard.gate.await_request("PUT", "/cache/style/")
    process = psutil.Process(first.process.pid)
    eventually(lambda: process.memory_info().rss > 1.5 * 2**30, "the activations of a tile")
    first.tell_to_end()
    assert first.exit_code() == 143
    assert shard.receipts() == {}
    assert len(first.events("picture_stopped")) == 1
    assert shard.keys("checkpoints/") == [naming.checkpoint_key(shard.tasks[0].task_id)]

    second = shard.finish()
    assert len(second.events("checkpoint_found")) == 1
    assert shard.receipts()["large.png"].iterations == 21
    assert shard.results() == undisturbed(shard, {"large.png": large}, scales)


@pytest.mark.parametrize("part", ["/out/0.png", "/receipts/"])
def test_while_the_store_does_not_take_a_result_or_its_receipt(shard: Shard, part: str) -> None:
    shard.plan(two_pictures(), SHORT)
    shard.gate.hold("PUT", part)
    first = shard.start()
    shard.gate.await_request("PUT", part)
    first.tell_to_end()
    assert first.exit_code() == 143
    assert shard.keys(naming.receipts_prefix("spring", RUN)) == []
    assert len(first.events("cut_short")) == 1

    shard.finish()
    assert {r.outcome for r in shard.receipts().values()} == {"done"}


def test_a_result_that_is_stored_just_in_time_has_its_receipt(shard: Shard) -> None:
    shard.plan(two_pictures(), SHORT)
    shard.gate.hold("PUT", "/out/0.png")
    first = shard.start()
    shard.gate.await_request("PUT", "/out/0.png")
    first.tell_to_end()
    eventually(lambda: first.events("told_to_end"), "the worker knows")
    shard.gate.open()
    assert first.exit_code() == 143
    assert set(shard.receipts()) == {"0.png"}


def test_while_the_store_takes_no_checkpoint(shard: Shard) -> None:
    shard.plan(two_pictures(), LONG)
    shard.gate.hold("PUT", "/checkpoints/")
    first = shard.start()
    shard.gate.await_request("PUT", "/receipts/")
    first.await_work(MIDST_SECONDS)
    first.tell_to_end()
    assert first.exit_code() == 143
    assert shard.gate.saw("PUT", "/checkpoints/")
    assert len(first.events("picture_stopped")) == 1
    assert set(shard.receipts()) == {"0.png"}
