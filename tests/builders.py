"""Records with every field filled in, so that a test says only what it is about."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from PIL import Image

from stylefleet import manifest as manifests
from stylefleet import naming
from stylefleet.companions import Companion, Listing
from stylefleet.jobs import JobView, WorkerTemplate
from stylefleet.ledger import Ledger
from stylefleet.manifest import Manifest
from stylefleet.naming import Ref
from stylefleet.plan import Plan, ShardEntry, StyleShare
from stylefleet.presets import recipe_for
from stylefleet.receipt import EngineFacts, Receipt
from stylefleet.stocktaking import enter_tasks
from stylefleet.store import Listed
from stylefleet.task_making import TaskMaker
from stylefleet.tasks import Task, tasks_from_bytes
from stylefleet.terms import Terms
from stylefleet.worker_pod import WorkerPod

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
RUN = "0123456789abcdef"
TEMPLATE = WorkerTemplate(
    image="registry.example/worker:1",
    namespace="art",
    service_account="stylefleet-worker",
    bucket="service",
    s3_endpoint="http://s3.example:9000",
    s3_region=None,
    credentials_secret="s3-credentials",
    gpu_resource="nvidia.com/gpu",
    cpu="2",
    memory="6Gi",
    environment=(("TF_NUM_INTRAOP_THREADS", "4"),),
    scratch="1Gi",
    pod=WorkerPod(),
)
FACTS = EngineFacts(
    backbone="vgg16-hed", weights_sha256="ab" * 32, precision="float32", precision_reason="asked for", device="cpu"
)


def manifest_data(name: str = "spring", **spec: object) -> dict[str, Any]:
    """A good manifest as plain data; `spec` replaces whole fields of its spec, None takes one out."""
    data: dict[str, Any] = {
        "apiVersion": "stylefleet.dev/v1",
        "kind": "StyleJob",
        "metadata": {"name": name},
        "spec": {
            "content": {"prefix": "s3://shop/catalog/"},
            "styles": [{"image": "s3://shop/styles/waves.jpg"}],
            "output": {"prefix": f"s3://shop/restyled/{name}/"},
            "recipe": {"size": 64, "preset": "draft"},
            "run": {"parallelism": 2},
        },
    }
    data["spec"] = {k: v for k, v in (data["spec"] | spec).items() if v is not None}
    return data


def manifest_bytes(name: str = "spring", **spec: object) -> bytes:
    """As JSON, which is YAML too."""
    return json.dumps(manifest_data(name, **spec), indent=1).encode()


def make_manifest(name: str = "spring", **spec: object) -> Manifest:
    return manifests.parse(manifest_bytes(name, **spec), name=name)


def make_listed(key: str, *, bucket: str = "shop", etag: str | None = None, size_bytes: int = 10) -> Listed:
    ref = Ref(bucket, key)
    return Listed(ref=ref, etag=etag or f"etag-of-{key}", size_bytes=size_bytes, modified_at=NOW)


def make_styles(**changes: object) -> tuple[StyleShare, ...]:
    share = StyleShare(image=Ref("shop", "styles/waves.jpg"), etag="style-etag", weight=1.0)
    return (replace(share, **changes),)  # type: ignore[arg-type]


def make_task(key: str = "catalog/a.jpg") -> Task:
    return Task(
        task_id=hashlib.sha256(key.encode()).hexdigest(),
        content=Ref("shop", key),
        content_etag=f"etag-of-{key}",
        size_bytes=10,
        output=Ref("shop", f"restyled/spring/{key.removeprefix('catalog/')}"),
    )


def tasks_for(
    manifest: Manifest,
    styles: tuple[StyleShare, ...],
    pictures: Iterable[Listed],
    companions: Mapping[Companion, Listing] = MappingProxyType({}),
) -> list[Task]:
    """The tasks of these pictures, as planning makes them where nothing is done; raises PlanInvalid."""
    with Ledger() as ledger:
        enter_tasks(ledger, TaskMaker(manifest, styles, companions), pictures)
        ledger.close_books()
        return tasks_from_bytes(b"".join(ledger.lines_to_do()))


def make_plan(*, shards: tuple[int, ...] = (2, 1), skipped: int = 0, **changes: object) -> Plan:
    """A plan whose shard table has that many tasks in each shard."""
    plan = Plan(
        name="spring",
        run=RUN,
        manifest_digest="cd" * 32,
        planned_at=NOW,
        styles=make_styles(),
        companions=(),
        recipe=recipe_for(preset="draft", size_px=64),
        image_format="jpeg",
        quality=92,
        depth=8,
        keep_metadata=(),
        output_prefix=Ref("shop", "restyled/spring/"),
        pictures=sum(shards) + skipped,
        skipped=skipped,
        shards=tuple(ShardEntry(index=i, tasks=n, digest=f"{i:064x}") for i, n in enumerate(shards)),
        parallelism=8,
        queue=None,
        gpus=1,
        terms=Terms(),
    )
    return replace(plan, **changes)  # type: ignore[arg-type]


def make_receipt(task: Task | str = "catalog/a.jpg", *, shard: int = 0, **changes: object) -> Receipt:
    """The receipt of a task that was done."""
    task = make_task(task) if isinstance(task, str) else task
    receipt = Receipt(
        task_id=task.task_id,
        outcome="done",
        reason="",
        message="",
        content=str(task.content),
        result=str(task.output),
        result_etag=f"result-of-{task.content.key}",
        width_px=64,
        height_px=48,
        batch=2,
        iterations=56,
        loss=1.5,
        stage_seconds={"fetch": 0.25, "optimize": 2.0},
        attempt="sf-spring-0-abc",
        shard=shard,
        finished_at=NOW + timedelta(minutes=1),
        engine=FACTS,
    )
    return replace(receipt, **changes)  # type: ignore[arg-type]


def failed_receipt(task: Task | str, *, reason: str = "undecodable", message: str = "cannot be decoded") -> Receipt:
    return make_receipt(
        task,
        outcome="failed",
        reason=reason,
        message=message,
        result="",
        result_etag="",
        width_px=0,
        height_px=0,
        batch=0,
        iterations=0,
        loss=None,
        stage_seconds={"fetch": 0.25},
        engine=None,
    )


def make_job_view(**changes: object) -> JobView:
    """A Job that is at work."""
    view = JobView(
        name=naming.job_name("spring", RUN),
        uid="uid-1",
        namespace="art",
        owner_name="spring",
        run=RUN,
        bucket="service",
        queue=None,
        parallelism=1,
        open_indexes=1,
        active=1,
        ready=1,
        completed="",
        failed="",
        finished="",
        message="",
        suspended=False,
        deleting=False,
        held=True,
    )
    return replace(view, **changes)  # type: ignore[arg-type]


def jpeg_bytes(shade: int = 128, *, size: tuple[int, int] = (24, 16)) -> bytes:
    """A tiny real picture."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (shade, 40, 200 - shade // 2)).save(buffer, "JPEG")
    return buffer.getvalue()
