"""Planning: seconds and memory for a catalog, against a tenth of it, to see that both grow in line with it."""

from __future__ import annotations

import multiprocessing
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.result import Row
from stylefleet import manifest as manifests
from stylefleet import planner
from stylefleet.naming import Ref
from stylefleet.plan import StyleShare
from stylefleet.planner import Pace
from stylefleet.store_memory import MemoryStore

PICTURES = 100_000
MANIFEST = b"""
apiVersion: stylefleet.dev/v1
kind: StyleJob
metadata: {name: bench}
spec:
  content: {prefix: s3://shop/catalog/}
  styles: [{image: s3://shop/styles/a.jpg}]
  output: {prefix: s3://shop/out/}
"""


def _plan(pictures: int) -> tuple[float, float]:
    """Seconds to plan, and MiB that this added to the process."""
    store = MemoryStore("shop")
    for index in range(pictures):
        store.put(Ref("shop", f"catalog/{index % 100:02d}/picture-{index:08d}.jpg"), b"x")
    planner.pinned_styles = lambda *_: (StyleShare(image=Ref("shop", "styles/a.jpg"), etag="e", weight=1.0),)
    manifest = manifests.parse(MANIFEST, name="bench")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far, which was inherited at the start
    before_kib = _memory_kib("VmRSS")
    started = time.perf_counter()
    planner.plan_run(
        store,
        "shop",
        name="bench",
        manifest=manifest,
        manifest_bytes=MANIFEST,
        run="r",
        pace=Pace(shard_seconds=900, worker_flops=1e13),
        now=datetime.now(UTC),
    )
    seconds = time.perf_counter() - started
    return seconds, (_memory_kib("VmHWM") - before_kib) / 1024


def _memory_kib(field: str) -> int:
    """`VmRSS` (now) or `VmHWM` (peak) of this process; Linux."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def measure() -> list[Row]:
    """Each size in a process of its own, so that peak memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        (small_seconds, small_mib), (seconds, mib) = pool.map(_plan, [PICTURES // 10, PICTURES], chunksize=1)
    return [
        Row(
            what=f"plan {PICTURES:,} pictures (in-memory listing)",
            measured=f"{seconds:.2f} s",
            compared_with=f"{PICTURES // 10:,}: {small_seconds:.2f} s",
            ratio=f"{seconds / small_seconds:.1f} x time for 10 x pictures",
        ),
        Row(
            what="memory that this adds",
            measured=f"{mib:.0f} MiB",
            compared_with=f"{PICTURES // 10:,}: {small_mib:.0f} MiB",
            ratio=f"{mib * 2**20 / PICTURES:.0f} bytes a picture",
        ),
    ]
