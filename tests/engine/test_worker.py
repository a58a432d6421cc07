"""One shard in this process: what is done, what is refused and why, what is left when it is told to stop."""

from __future__ import annotations

import functools
import hashlib
import io
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from PIL import Image
from PIL.ExifTags import Base

from stylefleet import engine as engines
from stylefleet import pictures, receipt
from stylefleet.companions import Companion, Pin
from stylefleet.errors import AccessDenied, ScratchUnusable, WeightsInvalid
from stylefleet.naming import Ref, done_key, receipts_prefix
from stylefleet.plan import StyleShare
from stylefleet.presets import recipe_for
from stylefleet.receipt import Receipt
from stylefleet.recipe import Refinement, Scale
from stylefleet.settings import StoreSettings, WorkerSettings
from stylefleet.stopping import Stop, Stopped
from stylefleet.store_memory import MemoryStore
from stylefleet.tasks import Task
from stylefleet.worker import Worker
from stylefleet.worker_metrics import WorkerMetrics
from tests.builders import NOW, make_plan, make_task
from tests.deep_pictures import png_chunks, png_values
from tests.fake_cluster import HookedStore
from tests.fleet import picture

SETTINGS = WorkerSettings(
    store=StoreSettings(bucket="service", endpoint_url=None, region=None),
    name="spring",
    run="0123456789abcdef",
    shard=0,
    attempt="attempt-1",
    weights_path=None,
    weights_object=None,
    weights_sha256=None,
    metrics=None,
    otlp_endpoint=None,
)


@pytest.fixture(autouse=True, scope="module")
def _one_engine_a_recipe() -> Iterator[None]:
    """Attempts share an engine, as the pictures of one attempt do: a new one would trace its programs again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "load_engine", functools.cache(engines.load_engine))
        yield


class Shard:
    """A bucket with pictures, and the worker of their shard."""

    def __init__(self, *names: str) -> None:
        self.store = MemoryStore("service", "shop")
        style_etag = self.store.put(Ref("shop", "styles/a.jpg"), picture(64, 48, seed=9))
        style = StyleShare(image=Ref("shop", "styles/a.jpg"), etag=style_etag, weight=1.0)
        self.plan = replace(
            make_plan(shards=(len(names),)), styles=(style,), recipe=recipe_for(preset="draft", size_px=32)
        )
        self.tasks = [self._task(name, index) for index, name in enumerate(names)]

    def _task(self, name: str, index: int) -> Task:
        etag = self.store.put(Ref("shop", name), picture(32, 20 + 2 * index, seed=index))
        return replace(make_task(name), content_etag=etag)

    def run(
        self, settings: WorkerSettings = SETTINGS, stop: Stop | None = None, metrics: WorkerMetrics | None = None
    ) -> None:
        Worker(
            store=self.store,
            settings=settings,
            plan=self.plan,
            tasks=self.tasks,
            clock=lambda: NOW,
            stop=stop or Stop(),
            metrics=metrics,
        ).run()

    def add(self, companion: Companion, *data: bytes | None) -> None:
        """A companion with these bytes for each task; None: missing at planning."""
        self.plan = replace(self.plan, companions=(*self.plan.companions, companion))
        for index, (task, one) in enumerate(zip(self.tasks, data, strict=True)):
            ref = Ref("shop", f"{companion.at.key}{task.content.key}.png")
            pin = Pin(ref, "" if one is None else self.store.put(ref, one), len(one or b""))
            self.tasks[index] = replace(task, companions=(*task.companions, pin))

    def pixels(self, name: str) -> np.ndarray:
        task = next(t for t in self.tasks if t.content.key == name)
        return pictures.decode(self.store.get(task.output).data).astype(int)

    def receipts(self) -> dict[str, Receipt]:
        """By content; fails where a task has two."""
        prefix = Ref("service", receipts_prefix(self.plan.name, self.plan.run))
        found = [r for o in self.store.list(prefix) for r in receipt.from_lines(self.store.get(o.ref).data)]
        assert len({r.task_id for r in found}) == len(found)
        return {r.content.removeprefix("s3://shop/"): r for r in found}


def test_a_second_attempt_does_only_what_has_no_receipt() -> None:
    shard = Shard("a.jpg", "b.jpg")
    todo = shard.tasks
    shard.tasks = todo[:1]
    shard.run()
    shard.tasks = todo
    shard.run(replace(SETTINGS, attempt="attempt-2"))
    assert {k: r.attempt for k, r in shard.receipts().items()} == {"a.jpg": "attempt-1", "b.jpg": "attempt-2"}


def test_a_complete_shard_says_in_one_object_what_it_has_done_whoever_did_it() -> None:
    shard = Shard("a.jpg", "broken.jpg", "b.jpg")
    shard.store.delete(Ref("shop", "broken.jpg"))
    todo, shard.tasks = shard.tasks, shard.tasks[:1]
    shard.run()
    shard.tasks = todo
    shard.run(replace(SETTINGS, attempt="attempt-2"))
    shard.run(replace(SETTINGS, attempt="attempt-3"))
    done = receipt.done_among(r for k, r in sorted(shard.receipts().items()))
    assert len(done) == 2
    for attempt in ("attempt-2", "attempt-3"):
        key = done_key(shard.plan.name, shard.plan.run, SETTINGS.shard, attempt)
        assert sorted(receipt.done_of_whole(shard.store.get(Ref("service", key)).data)) == sorted(done)


def test_a_shard_whose_store_does_not_take_what_it_has_done_is_done_all_the_same() -> None:
    shard = Shard("a.jpg")
    memory = shard.store
    strict = HookedStore(memory)

    def refuse(action: str, ref: Ref) -> None:
        if "/done/" in ref.key:
            raise AccessDenied(f"{ref}: not allowed")

    strict.before = refuse
    shard.store = strict  # type: ignore[assignment]
    shard.run()
    shard.store = memory
    assert [r.outcome for r in shard.receipts().values()] == ["done"]


def test_a_picture_that_was_replaced_or_deleted_since_planning_is_refused() -> None:
    shard = Shard("same.jpg", "replaced.jpg", "deleted.jpg")
    shard.store.put(Ref("shop", "replaced.jpg"), picture(seed=77))
    shard.store.delete(Ref("shop", "deleted.jpg"))
    shard.run()
    reasons = {k: r.reason for k, r in shard.receipts().items()}
    assert reasons == {"same.jpg": "", "replaced.jpg": "content_changed", "deleted.jpg": "content_missing"}


def test_an_object_too_large_for_memory_is_refused_without_being_read() -> None:
    shard = Shard("huge.jpg")
    shard.tasks = [replace(shard.tasks[0], size_bytes=pictures.BYTES_MAX + 1, content=Ref("shop", "not-there.jpg"))]
    shard.run()
    assert shard.receipts()["not-there.jpg"].reason == "too_many_bytes"


def test_a_style_that_was_replaced_is_told_for_every_picture() -> None:
    shard = Shard("a.jpg", "b.jpg")
    shard.store.put(Ref("shop", "styles/a.jpg"), picture(seed=78))
    shard.run()
    receipts = shard.receipts()
    assert {r.reason for r in receipts.values()} == {"style_invalid"}
    assert "the style was replaced after the run was planned" in receipts["a.jpg"].message


def test_the_file_of_another_backbone_does_not_disturb_the_default_one(tmp_path: Path) -> None:
    shard = Shard("a.jpg")
    shard.run(replace(SETTINGS, weights_path=tmp_path / "vgg19.h5", weights_sha256="0" * 64))
    assert shard.receipts()["a.jpg"].outcome == "done"


def test_a_backbone_without_its_file_is_told_for_every_picture() -> None:
    shard = Shard("a.jpg")
    shard.plan = replace(shard.plan, recipe=replace(shard.plan.recipe, backbone="vgg19-imagenet"))
    shard.run()
    assert shard.receipts()["a.jpg"].reason == "weights_invalid"


WEIGHTS = Ref("service", "models/vgg19.h5")


def test_weights_from_a_bucket_are_read_from_the_scratch_folder_and_then_removed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[tuple[Path, bytes, str]] = []

    def load_engine(_recipe: object, *, weights_path: Path, weights_sha256: str) -> None:
        seen.append((weights_path, weights_path.read_bytes(), weights_sha256))
        raise WeightsInvalid("enough seen")

    monkeypatch.setattr(engines, "load_engine", load_engine)
    shard = Shard("a.jpg")
    shard.store.put(WEIGHTS, b"parameters")
    shard.plan = replace(shard.plan, recipe=replace(shard.plan.recipe, backbone="vgg19-imagenet"))
    shard.run(replace(SETTINGS, weights_object=WEIGHTS, weights_sha256="ab" * 32))

    ((path, data, sha256),) = seen
    assert (path.name, data, sha256) == ("vgg19.h5", b"parameters", "ab" * 32)
    assert not path.exists()


@pytest.mark.parametrize(
    ("stored", "told"),
    [(b"forged", f"has SHA-256 {hashlib.sha256(b'forged').hexdigest()}, expected {'ab' * 32}"), (None, str(WEIGHTS))],
)
def test_weights_from_a_bucket_that_are_not_the_pinned_ones_are_told_for_every_picture(
    stored: bytes | None, told: str
) -> None:
    shard = Shard("a.jpg")
    if stored is not None:
        shard.store.put(WEIGHTS, stored)
    shard.plan = replace(shard.plan, recipe=replace(shard.plan.recipe, backbone="vgg19-imagenet"))
    shard.run(replace(SETTINGS, weights_object=WEIGHTS, weights_sha256="ab" * 32))
    refused = shard.receipts()["a.jpg"]
    assert refused.reason == "weights_invalid"
    assert told in refused.message


@contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with structlog.testing.capture_logs():  # pytest would write them into a file
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_stops_no_picture() -> None:
    shard = Shard("a.jpg", "b.jpg")
    with full_disk():
        shard.run()
    assert {r.outcome for r in shard.receipts().values()} == {"done"}


def test_a_disk_without_room_for_the_weights_is_a_fault_of_the_machine_and_not_of_the_pictures() -> None:
    shard = Shard("a.jpg")
    shard.store.put(WEIGHTS, bytes(100_000))
    shard.plan = replace(shard.plan, recipe=replace(shard.plan.recipe, backbone="vgg19-imagenet"))
    with full_disk(), pytest.raises(ScratchUnusable, match="STYLEFLEET_WORKER_SCRATCH"):
        shard.run(replace(SETTINGS, weights_object=WEIGHTS, weights_sha256="ab" * 32))
    assert shard.receipts() == {}


def test_a_style_that_was_deleted_is_told_for_every_picture() -> None:
    shard = Shard("a.jpg", "b.jpg")
    shard.store.delete(Ref("shop", "styles/a.jpg"))
    shard.run()
    receipts = shard.receipts()
    assert {r.reason for r in receipts.values()} == {"style_invalid"}
    assert "s3://shop/styles/a.jpg: no such object" in receipts["a.jpg"].message


def test_a_worker_that_is_told_to_stop_leaves_no_receipt_for_what_it_did_not_finish() -> None:
    shard = Shard("a.jpg")
    stop = Stop()
    stop.tell()
    with pytest.raises(Stopped):
        shard.run(stop=stop)
    assert shard.receipts() == {}
    assert not any(o.ref.key.startswith("restyled/") for o in shard.store.list(Ref("shop", "")))


def png(pixels: np.ndarray) -> bytes:
    return pictures.encode(pixels, format="png", quality=90)


def left_half(width: int, height: int) -> bytes:
    """White on the left, black on the right."""
    mask = np.zeros((height, width, 3), np.uint8)
    mask[:, : width // 2] = 255
    return png(mask)


def exact(shard: Shard, **recipe: Any) -> Shard:
    """Lossless results in float32, so that bytes and pixels can be compared."""
    made = recipe_for(preset="draft", size_px=32, precision="float32")
    shard.plan = replace(shard.plan, image_format="png", recipe=replace(made, **recipe))
    return shard


def test_an_attempt_that_goes_on_gives_the_bytes_of_one_that_was_never_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = {
        "scales": (Scale(size_px=24, iterations=12), Scale(size_px=32, iterations=12)),
        "refine": (Refinement(box=(0.25, 0.25, 0.75, 0.75), zoom=2.0, iterations=12),),
    }
    whole, ended = (exact(Shard("a.jpg", "a2.jpg"), **recipe) for _ in range(2))
    for shard in (whole, ended):
        shard.tasks[1] = replace(shard.tasks[0], task_id="another", output=Ref("shop", "restyled/a2.png"))
    whole.run()
    optimize = engines.optimize
    steps: list[int] = []

    def until(stop: Stop, count: int) -> Any:
        def stopping(*facts: Any, **options: Any) -> Any:
            for iterate in optimize(*facts, **options):
                steps.append(iterate.iteration)
                if len(steps) == count:
                    stop.tell()
                yield iterate

        return stopping

    for count in (1, 3, 5):  # in each scale, and in the refinement
        stop = Stop()
        monkeypatch.setattr(engines, "optimize", until(stop, count))
        with pytest.raises(Stopped):
            ended.run(replace(SETTINGS, attempt=f"ended-after-{count}"), stop=stop)
        assert len(list(ended.store.list(Ref("service", "checkpoints/")))) == 2
    monkeypatch.setattr(engines, "optimize", until(Stop(), 0))
    ended.run(replace(SETTINGS, attempt="last"))
    assert steps == sorted(set(steps)), "no step was done twice"
    assert [r.iterations for r in ended.receipts().values()] == [r.iterations for r in whole.receipts().values()]
    for one, other in zip(ended.tasks, whole.tasks, strict=True):
        assert ended.store.get(one.output).data == whole.store.get(other.output).data
    assert list(ended.store.list(Ref("service", "checkpoints/"))) == []


def test_a_missing_mask_costs_its_own_picture_only() -> None:
    shard = Shard("a.jpg", "b.jpg")
    shard.add(Companion(role="protect", at=Ref("shop", "masks/")), None, left_half(32, 22))
    shard.run()
    assert {k: (r.outcome, r.reason) for k, r in shard.receipts().items()} == {
        "a.jpg": ("failed", "mask_missing"),
        "b.jpg": ("done", ""),
    }
    assert "s3://shop/masks/a.jpg.png" in shard.receipts()["a.jpg"].message


def test_what_is_protected_stays_as_it_is_in_the_picture() -> None:
    shard = exact(Shard("a.jpg"))
    shard.add(Companion(role="protect", at=Ref("shop", "masks/")), left_half(32, 20))
    shard.run()
    content = pictures.decode(shard.store.get(Ref("shop", "a.jpg")).data).astype(int)
    changed = np.abs(shard.pixels("a.jpg") - content).max(axis=2)
    assert changed[:, :14].max() <= 1
    assert changed[:, 18:].max() > 20


def test_each_style_paints_its_own_region() -> None:
    masks = Ref("shop", "masks/")
    shards = []
    for other in (b"", picture(64, 48, seed=12)):
        shard = exact(Shard("a.jpg"), content_weight=1.0)
        (style,) = shard.plan.styles
        shard.add(Companion(role="mask", at=masks), left_half(32, 20))
        ref = Ref("shop", "styles/b.jpg")
        etag = shard.store.put(ref, other or shard.store.get(style.image).data)
        right = StyleShare(image=ref, etag=etag, weight=1.0)
        shard.plan = replace(shard.plan, styles=(replace(style, mask=masks), right))
        shard.run()
        shards.append(shard)
    # Only the style of the right half is another one: the right half differs far more than the left.
    changed = np.abs(shards[0].pixels("a.jpg") - shards[1].pixels("a.jpg")).mean(axis=(0, 2))
    assert changed[20:].mean() > 2 * changed[:12].mean()


def test_a_picture_is_painted_over_its_own_start() -> None:
    shard = exact(Shard("a.jpg"), start="picture", scales=(Scale(size_px=32, iterations=1),))
    shard.add(Companion(role="start", at=Ref("shop", "starts/")), png(np.full((20, 32, 3), (250, 5, 5), np.uint8)))
    shard.run()
    red, green, _ = shard.pixels("a.jpg").mean(axis=(0, 1))
    assert red - green > 150


@pytest.mark.parametrize("colors", ["match", "luminance"])
def test_looks_that_depend_on_the_pictures_are_made_for_each_batch(colors: str) -> None:
    shard = exact(Shard("a.jpg", "b.jpg"), colors=colors)
    shard.run()
    assert {r.outcome for r in shard.receipts().values()} == {"done"}
    assert [o for o in shard.store.list(Ref("service", "cache/")) if "style" in o.ref.key] == []
    assert all(r.stage_seconds["style_target"] > 0 for r in shard.receipts().values())


@pytest.mark.parametrize("colors", ["style", "match"])
def test_a_style_that_no_stage_can_look_at_is_told_for_every_picture(colors: str) -> None:
    shard = exact(Shard("a.jpg", "b.jpg"), colors=colors)
    (style,) = shard.plan.styles
    etag = shard.store.put(style.image, png(np.zeros((8, 400, 3), np.uint8)))
    shard.plan = replace(shard.plan, styles=(replace(style, etag=etag),))
    shard.run()
    assert {r.reason for r in shard.receipts().values()} == {"style_invalid"}


def test_a_shard_with_everything_at_once_is_done() -> None:
    shard = exact(
        Shard("a.jpg", "b.jpg"),
        start="picture",
        colors="match",
        optimizer="adam",
        pooling="average",
        statistics="gram+mean",
        plateau=0.5,
        averaging=0.5,
        refine=(Refinement(box=(0.0, 0.0, 0.5, 1.0), zoom=2.0, iterations=4),),
    )
    masks = Ref("shop", "masks/")
    (style,) = shard.plan.styles
    for role, at in (("mask", masks), ("protect", Ref("shop", "protect/"))):
        shard.add(Companion(role=role, at=at), left_half(32, 20), left_half(32, 22))  # type: ignore[arg-type]
    shard.add(Companion(role="start", at=Ref("shop", "starts/")), picture(40, 30, seed=3), picture(40, 30, seed=4))
    shard.plan = replace(shard.plan, styles=(style, replace(style, mask=masks)))
    shard.run()
    receipts = shard.receipts()
    assert {r.outcome for r in receipts.values()} == {"done"}
    assert all(0 < r.iterations <= shard.plan.recipe.iterations_total for r in receipts.values())


def photo() -> bytes:
    """A picture that tells whose it is."""
    exif = Image.Exif()
    exif[Base.Artist] = "Ada"
    buffer = io.BytesIO()
    Image.open(io.BytesIO(picture(32, 20))).save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_a_result_has_the_depth_and_the_metadata_that_the_plan_asks_for() -> None:
    shard = Shard("a.jpg")
    shard.tasks = [replace(shard.tasks[0], content_etag=shard.store.put(Ref("shop", "a.jpg"), photo()))]
    shard.plan = replace(shard.plan, image_format="png", depth=16, keep_metadata=("exif", "icc"))
    shard.run()
    data = shard.store.get(shard.tasks[0].output).data
    assert {kind for kind, _ in png_chunks(data)} == {b"IHDR", b"iCCP", b"eXIf", b"IDAT", b"IEND"}
    # Between the levels that 8 bit have.
    assert (png_values(data) % 257).any()
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif()[Base.Artist] == "Ada"


def test_a_result_carries_nothing_that_was_not_asked_for() -> None:
    shard = Shard("a.jpg")
    shard.tasks = [replace(shard.tasks[0], content_etag=shard.store.put(Ref("shop", "a.jpg"), photo()))]
    shard.run()
    with Image.open(io.BytesIO(shard.store.get(shard.tasks[0].output).data)) as image:
        assert not image.getexif()
        assert "icc_profile" not in image.info
