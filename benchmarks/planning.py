"""Planning a catalog of a million pictures: `python -m benchmarks planning`.

The bucket is a server that makes its objects up, in a process of its own; planning is another process, with the client
of the service. A smaller catalog is planned from a real server too, to see that the made up one does not flatter.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from benchmarks.effort import Effort
from benchmarks.fake_s3 import Folder, OneObject, fake_s3
from benchmarks.memory import peak_bytes
from benchmarks.result import Report, Row
from stylefleet import local_s3, planner, receipt
from stylefleet import manifest as manifests
from stylefleet.naming import Ref, done_key, receipts_key
from stylefleet.plan import StyleShare
from stylefleet.planner import Pace
from stylefleet.receipt import Done, EngineFacts, Receipt
from stylefleet.store_s3 import S3Store, make_client
from stylefleet.tasks import Shaping

NEW_SHARE = 1000
"""Of so many pictures one is new to the second run; the first has done the others."""
BOTH_SHARE = 50
"""Of so many pictures one is in the catalog that both servers have."""
RECEIPTS_A_PART = 8
PARTS_A_SHARD = 100
BUCKET = "shop"
RUN = "0123456789abcdef"
MANIFEST = b"""
apiVersion: stylefleet.dev/v1
kind: StyleJob
metadata: {name: bench}
spec:
  content: {prefix: s3://shop/catalog/}
  styles: [{image: s3://shop/styles/a.jpg}]
  output: {prefix: s3://shop/restyled/}
  run: {parallelism: 1000}
"""
STYLE = (Path(__file__).parents[1] / "samples/styles/starry_night.jpg").read_bytes()
ENVIRONMENT = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "NO_PROXY": "*", "no_proxy": "*"}


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """A catalog, or its results."""

    prefix: str
    count: int

    def relative(self, place: int) -> str:
        return f"{place // 1000:05d}/picture-{place:08d}.jpg"

    def etag(self, place: int) -> str:
        return hashlib.md5(f"{self.prefix}{place}".encode(), usedforsecurity=False).hexdigest()

    def listed(self, place: int) -> tuple[str, str, int]:
        return self.prefix + self.relative(place), self.etag(place), 200_000 + place

    def data(self, key: str) -> bytes:
        raise KeyError(key)  # planning reads no picture


@dataclass(frozen=True, kw_only=True)
class Records:
    """Of a run that has done the first pictures of a catalog: receipts, and what each shard says of itself."""

    catalog: Pictures
    results: Pictures
    pictures: int
    style_etag: str
    prefix: str = "runs/bench/"

    @property
    def shards(self) -> int:
        return -(-self.pictures // (RECEIPTS_A_PART * PARTS_A_SHARD))

    @property
    def count(self) -> int:
        return self.shards - (-self.pictures // RECEIPTS_A_PART)

    def listed(self, place: int) -> tuple[str, str, int]:
        if place < self.shards:
            return done_key("bench", RUN, place, f"sf-bench-{RUN}-{place}"), "0" * 32, 100_000
        shard, part = divmod(place - self.shards, PARTS_A_SHARD)
        return receipts_key("bench", RUN, shard, f"sf-bench-{RUN}-{shard}", part), "0" * 32, 5_700

    def data(self, key: str) -> bytes:
        whole = "/done/" in key
        shard, part = int(key.split("/")[4][:5]), 0 if whole else int(key[-11:-6])
        first = (shard * PARTS_A_SHARD + part) * RECEIPTS_A_PART
        last = first + RECEIPTS_A_PART * (PARTS_A_SHARD if whole else 1)
        places = range(first, min(last, self.pictures))
        return receipt.done_to_lines(map(self._done, places)) if whole else receipt.to_lines(map(self._receipt, places))

    def _done(self, place: int) -> Done:
        key, etag, _ = self.catalog.listed(place)
        task_id = self._shaping.task_id(Ref(BUCKET, key), etag)
        return Done(task_id, self.results.etag(place), self._example.finished_at.timestamp())

    def _receipt(self, place: int) -> Receipt:
        done = self._done(place)
        return dataclasses.replace(
            self._example,
            task_id=done.task_id,
            content=f"s3://{BUCKET}/{self.catalog.listed(place)[0]}",
            result=f"s3://{BUCKET}/{self.results.listed(place)[0]}",
            result_etag=done.result_etag,
        )

    @cached_property
    def _shaping(self) -> Shaping:
        spec = manifests.parse(MANIFEST, name="bench").spec
        return Shaping(
            styles=[StyleShare(image=Ref(BUCKET, "styles/a.jpg"), etag=self.style_etag, weight=1.0)],
            recipe=spec.recipe.to_recipe(),
            image_format=spec.output.format,
            quality=spec.output.quality,
            depth=spec.output.depth,
            keep_metadata=spec.output.keep_metadata,
        )

    @cached_property
    def _example(self) -> Receipt:
        facts = EngineFacts(
            backbone="vgg16-hed",
            weights_sha256="ab" * 32,
            precision="mixed_float16",
            precision_reason="tensor cores of compute capability 7.5",
            device="Tesla T4",
        )
        return Receipt(
            task_id="",
            outcome="done",
            reason="",
            message="",
            content="",
            result="",
            result_etag="",
            width_px=512,
            height_px=341,
            batch=8,
            iterations=171,
            loss=1234.5,
            stage_seconds={"fetch": 0.05, "decode": 0.02, "optimize": 0.85, "encode": 0.01, "store": 0.04},
            attempt=f"sf-bench-{RUN}-0-abcde",
            shard=0,
            finished_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
            engine=facts,
        )


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What the planning process found about itself."""

    pictures: int
    skipped: int
    shards: int
    seconds: float
    cpu_seconds: float
    loaded_bytes: int
    """Peak of memory before planning: Python and its libraries."""
    peak_bytes: int
    """Peak at the end."""


def measure(effort: Effort) -> list[Report]:
    """A first run, and a second one that finds nearly all of it done; then both servers."""
    count = effort.planning_pictures
    first, first_counts = _planned_from_fake(count, done=0)
    second, second_counts = _planned_from_fake(count, done=count - count // NEW_SHARE)
    few = count // BOTH_SHARE
    fake, _ = _planned_from_fake(few, done=0)
    real = _planned_from_real(few)
    return [
        Report(
            title=f"Planning {count:,} pictures",
            rows=[
                *_rows("first run", first, first_counts),
                *_rows(f"second run, {second.skipped:,} done already", second, second_counts),
                Row(
                    what=f"{few:,} pictures from SeaweedFS",
                    measured=f"{real.seconds:.1f} s",
                    compared_with=f"from the made up bucket: {fake.seconds:.1f} s",
                    ratio=f"{real.seconds / fake.seconds:.2f} x",
                ),
            ],
            notes=(
                "A server that makes its objects up answers from a process of its own; the numbers are those of the "
                "planning process. All is in them: LIST, what is done already, hashing, writing shards and plan.",
                f"The earlier run had shards of {PARTS_A_SHARD * RECEIPTS_A_PART} pictures, and receipts of "
                f"{RECEIPTS_A_PART} each.",
            ),
        )
    ]


def _rows(what: str, planned: Planned, counts: Counter[str]) -> list[Row]:
    requests = ", ".join(f"{count:,} {kind}" for kind, count in counts.most_common())
    return [
        Row(
            what=what,
            measured=f"{planned.seconds:.1f} s, {planned.peak_bytes / 2**20:.0f} MiB",
            compared_with=f"{planned.cpu_seconds:.1f} s of CPU; {planned.loaded_bytes / 2**20:.0f} MiB before planning",
            ratio=f"{planned.seconds / planned.pictures * 1e6:.0f} us a picture",
        ),
        Row(
            what="", measured=f"{counts.total():,} requests", compared_with=requests, ratio=f"{planned.shards:,} shards"
        ),
    ]


def _planned_from_fake(pictures: int, *, done: int) -> tuple[Planned, Counter[str]]:
    catalog, results = Pictures(prefix="catalog/", count=pictures), Pictures(prefix="restyled/", count=done)
    style = OneObject(prefix="styles/a.jpg", content=STYLE)
    records = Records(catalog=catalog, results=results, pictures=done, style_etag=style.listed(0)[1])
    folders: Sequence[Folder] = [catalog, style, *([results, records] if done else [])]
    with fake_s3(folders) as server:
        return _planned(server.url, ENVIRONMENT), server.counts()


def _planned_from_real(pictures: int) -> Planned:
    catalog = Pictures(prefix="catalog/", count=pictures)
    with tempfile.TemporaryDirectory() as folder, local_s3.local_s3(Path(folder)) as server:
        server.create_bucket(BUCKET)
        store = server.store()
        store.put(Ref(BUCKET, "styles/a.jpg"), STYLE)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda n: store.put(Ref(BUCKET, catalog.listed(n)[0]), b"%d" % n), range(pictures)))
        return _planned(server.endpoint_url, server.environment)


def _planned(url: str, environment: Mapping[str, str]) -> Planned:
    """By a process of its own, which nothing has warmed up or filled."""
    command = [sys.executable, "-m", "benchmarks.planning", url]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **environment})
    return Planned(**json.loads(done.stdout.splitlines()[-1]))


def _plan(url: str) -> Planned:
    """In that process."""
    store = S3Store(make_client(url, None))
    manifest = manifests.parse(MANIFEST, name="bench")
    loaded, started, cpu_started = peak_bytes(), time.perf_counter(), time.process_time()
    plan = planner.plan_run(
        store,
        BUCKET,
        name="bench",
        manifest=manifest,
        manifest_bytes=MANIFEST,
        run="f" * 16,
        pace=Pace(shard_seconds=900, worker_flops=1e13),
        now=datetime.now(UTC),
    )
    return Planned(
        pictures=plan.pictures,
        skipped=plan.skipped,
        shards=len(plan.shards),
        seconds=time.perf_counter() - started,
        cpu_seconds=time.process_time() - cpu_started,
        loaded_bytes=loaded,
        peak_bytes=peak_bytes(),
    )


if __name__ == "__main__":
    print(json.dumps(dataclasses.asdict(_plan(sys.argv[1]))))
