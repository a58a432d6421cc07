"""A real worker's shard: how much of its time the engine has nothing to do, by its own receipts and log."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import numpy as np
import structlog
from PIL import Image

from benchmarks.effort import QUICK, Effort
from benchmarks.problem import SAMPLES, STYLE, filled
from benchmarks.result import Report, Row
from stylefleet import manifest as manifests
from stylefleet import naming, pictures, planner, receipt
from stylefleet.local_s3 import LocalS3, local_s3
from stylefleet.naming import Ref
from stylefleet.planner import Pace
from stylefleet.receipt import Receipt, Stage
from stylefleet.settings import StoreSettings, WorkerSettings
from stylefleet.stopping import Stop
from stylefleet.store import Store

PICTURES = 64
SIZE_PX = 192
SOURCE_PX = (960, 640)
"""Of the pictures as they lie in the bucket."""
GOAL_PERCENT = 5
ACCELERATOR_SECONDS = 0.1
"""Of a picture, on the accelerator that is only pretended."""
RUN = "0" * 16


def measure(effort: Effort) -> list[Report]:
    """Two workers: this machine's own, and one whose engine only waits."""
    count = PICTURES // 4 if effort is QUICK else PICTURES
    with (
        tempfile.TemporaryDirectory() as folder,
        local_s3(Path(folder) / "s3") as s3,
        patch.dict(os.environ, s3.process_environment(os.environ)),
    ):
        return [_real(s3, Path(folder), count), _pretended(s3, count)]


@dataclass(frozen=True, kw_only=True)
class Shard:
    """What a shard's receipts say of its time."""

    receipts: Sequence[Receipt]
    """In the order in which they finished."""

    @property
    def first(self) -> list[Receipt]:
        """Those of the first batch."""
        return list(self.receipts[: self.receipts[0].batch])

    @property
    def others(self) -> list[Receipt]:
        return list(self.receipts[self.receipts[0].batch :])

    @property
    def wall_seconds(self) -> float:
        """From the end of the first batch's optimization, before its first picture was encoded and stored, to the end
        of the last picture."""
        first = self.receipts[0]
        begun = first.finished_at - timedelta(seconds=first.stage_seconds["encode"] + first.stage_seconds["store"])
        return (self.receipts[-1].finished_at - begun).total_seconds()

    @property
    def outside_seconds(self) -> float:
        """Of the wall time, without the optimizer's."""
        return self.wall_seconds - sum(r.stage_seconds["optimize"] for r in self.others)

    @property
    def beside_seconds(self) -> float:
        """What fetching, decoding, encoding and storing took, wherever it was."""
        beside: tuple[Stage, ...] = ("fetch", "decode", "encode", "store")
        return sum(r.stage_seconds[stage] for r in self.others for stage in beside)

    def row(self, what: str) -> Row:
        share = 100 * self.outside_seconds / self.wall_seconds
        return Row(
            what=f"{what}: time outside the optimizer, after the first batch",
            measured=f"{share:.1f} % of {self.wall_seconds:.1f} s",
            compared_with=f"fetch, decode, encode and store: {self.beside_seconds:.1f} s",
            ratio=f"goal {GOAL_PERCENT} %: {'reached' if share <= GOAL_PERCENT else 'not reached'}",
        )


def _real(s3: LocalS3, folder: Path, count: int) -> Report:
    store = _bucket(s3, "real", count)
    log_path = folder / "worker.log"
    started = datetime.now(UTC)
    with log_path.open("wb") as log:
        environment = {
            **os.environ,
            "STYLEFLEET_BUCKET": "real",
            "STYLEFLEET_NAME": "bench",
            "STYLEFLEET_RUN": RUN,
            "STYLEFLEET_ATTEMPT": "attempt-1",
            "JOB_COMPLETION_INDEX": "0",
        }
        command = [sys.executable, "-m", "stylefleet.cli.main", "worker"]
        subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stderr=log, check=True)
    shard = Shard(receipts=_receipts(store, "real"))
    events = [json.loads(line) for line in log_path.read_text().splitlines() if line.startswith("{")]
    first = _cost_of_the_first(shard, events, started)
    return Report(
        title=f"A worker's shard, {count} pictures at {SIZE_PX} px, `draft`",
        rows=[shard.row("this machine"), *first],
        notes=(
            f"A worker process and a real S3 server on the same cores; sources of {SOURCE_PX[0]} x {SOURCE_PX[1]} px, "
            "of two shapes. Sum of the receipts' `optimize` seconds against the time from the end of the first batch's "
            "to the last receipt's `finished_at`.",
            "The first batch also traces the programs; the pictures come in while TensorFlow and the weights load.",
        ),
    )


def _cost_of_the_first(shard: Shard, events: Sequence[dict[str, object]], started: datetime) -> list[Row]:
    def at(event: str) -> datetime:
        line = next(line for line in events if line["event"] == event)
        return datetime.fromisoformat(str(line["timestamp"]))

    first, second = (
        sum(r.stage_seconds["optimize"] for r in batch)
        for batch in (shard.first, shard.others[: shard.receipts[0].batch])
    )
    until_first = (shard.receipts[0].finished_at - started).total_seconds()
    return [
        Row(
            what="from the start of the process to the first picture",
            measured=f"{until_first:.1f} s",
            compared_with=f"a batch of {shard.receipts[0].batch}, the second: {second:.1f} s",
            ratio=f"{until_first - second:.1f} s more",
        ),
        Row(
            what="of this: Python, TensorFlow's import, plan, receipts",
            measured=f"{(at('shard_started') - started).total_seconds():.1f} s",
            compared_with="",
            ratio="",
        ),
        Row(
            what="of this: weights, style targets; pictures fetched meanwhile",
            measured=f"{(at('engine_loaded') - at('shard_started')).total_seconds():.1f} s",
            compared_with="",
            ratio="",
        ),
        Row(
            what="of this: the first batch's optimization",
            measured=f"{first:.1f} s",
            compared_with=f"the second's: {second:.1f} s",
            ratio=f"{first - second:.1f} s more: tracing",
        ),
    ]


def _pretended(s3: LocalS3, count: int) -> Report:
    """The worker in this process, with an engine that waits for an accelerator that is not there."""
    from stylefleet import engine as engines
    from stylefleet import worker
    from stylefleet.looks import Loaded

    store = _bucket(s3, "pretended", count)
    settings = WorkerSettings(
        store=StoreSettings(bucket="pretended", endpoint_url=s3.endpoint_url, region=None),
        name="bench",
        run=RUN,
        shard=0,
        attempt="attempt-1",
        weights_path=None,
        weights_object=None,
        weights_sha256=None,
        metrics=None,
        otlp_endpoint=None,
    )
    facts = receipt.EngineFacts(
        backbone="none", weights_sha256="", precision="none", precision_reason="", device="pretended"
    )
    loaded = Loaded(
        engine=None,  # type: ignore[arg-type]
        facts=facts,
        looks_of=lambda _contents: (),
        style_seconds=0.0,
        style_hits=0,
        style_misses=0,
    )
    plan, tasks = worker.load_shard(store, settings)
    with (
        structlog.testing.capture_logs(),
        patch.object(worker, "load", lambda *_: loaded),
        patch.object(engines, "optimize", _waits),
    ):
        worker.Worker(
            store=store,
            settings=settings,
            plan=plan,
            tasks=tasks,
            clock=lambda: datetime.now(UTC),
            stop=Stop(),
        ).run()
    shard = Shard(receipts=_receipts(store, "pretended"))
    return Report(
        title=f"The same with an accelerator that takes {ACCELERATOR_SECONDS} s a picture (pretended)",
        rows=[shard.row("pretended accelerator")],
        notes=("The engine waits for so long and computes nothing; everything else is the worker's own.",),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Waited:
    """As much of an iterate as a worker asks for."""

    pixels: np.ndarray
    raw: np.ndarray
    losses: np.ndarray
    iterations: np.ndarray
    finished: np.ndarray


def _waits(_engine: object, batch: object, *_: object, **__: object) -> Iterator[_Waited]:
    contents: np.ndarray = batch.contents  # type: ignore[attr-defined]
    count, steps = len(contents), 10
    for step in range(1, steps + 1):
        time.sleep(ACCELERATOR_SECONDS * count / steps)
        yield _Waited(
            pixels=contents,
            raw=contents,
            losses=np.ones(count),
            iterations=np.full(count, step),
            finished=np.full(count, step == steps),
        )


def _bucket(s3: LocalS3, name: str, count: int) -> Store:
    """A bucket with pictures, a style and the plan of one shard."""
    s3.create_bucket(name)
    store = s3.store()
    for index, data in enumerate(_sources(count)):
        store.put(Ref(name, f"catalog/{index:02d}.jpg"), data)
    store.put(Ref(name, "styles/style.jpg"), STYLE.read_bytes())
    document = {
        "apiVersion": "stylefleet.dev/v1",
        "kind": "StyleJob",
        "metadata": {"name": "bench"},
        "spec": {
            "content": {"prefix": f"s3://{name}/catalog/"},
            "styles": [{"image": f"s3://{name}/styles/style.jpg"}],
            "output": {"prefix": f"s3://{name}/out/"},
            "recipe": {"preset": "draft", "size": SIZE_PX},
            "run": {"parallelism": 1},
        },
    }
    data = json.dumps(document).encode()
    planner.plan_run(
        store,
        name,
        name="bench",
        manifest=manifests.parse(data, name="bench", allowed=(Ref(name, ""),)),
        manifest_bytes=data,
        run=RUN,
        pace=Pace(shard_seconds=1e6, worker_flops=1e13),
        now=datetime.now(UTC),
    )
    return store


def _sources(count: int) -> Iterator[bytes]:
    """So many different JPEG files: the sample photos, closer and closer, every third one upright."""
    photos = [pictures.decode(path.read_bytes()) for path in sorted((SAMPLES / "photos").iterdir())]
    for index in range(count):
        photo, closer = photos[index % len(photos)], 1 - 0.06 * (index // len(photos))
        height, width = (round(edge * closer) for edge in photo.shape[:2])
        size = SOURCE_PX if index % 3 else SOURCE_PX[::-1]
        buffer = io.BytesIO()
        Image.fromarray(filled(photo[:height, :width], *size)).save(buffer, "JPEG", quality=90)
        yield buffer.getvalue()


def _receipts(store: Store, bucket: str) -> list[Receipt]:
    prefix = Ref(bucket, naming.receipts_prefix("bench", RUN))
    found = [r for o in store.list(prefix) for r in receipt.from_lines(store.get(o.ref).data)]
    assert {r.outcome for r in found} == {"done"}
    return sorted(found, key=lambda r: r.finished_at)
