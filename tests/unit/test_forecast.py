"""What `stylefleet plan` says is what planning then does; it writes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stylefleet import planner, receipt
from stylefleet.cli import plan as command
from stylefleet.cli.bucket import read_manifest
from stylefleet.errors import ExitCode, SettingsInvalid
from stylefleet.forecast import Forecast, forecast, to_document
from stylefleet.naming import Ref
from stylefleet.plan import Plan
from stylefleet.planner import Pace
from stylefleet.price import Price
from stylefleet.settings import controller_settings
from stylefleet.shards import tasks_of
from stylefleet.store import Store
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, RUN, jpeg_bytes, make_manifest, make_receipt, manifest_bytes

PACE = Pace(shard_seconds=900.0, worker_flops=1e12)
EURO = Price(per_gpu_hour=3600.0, currency="EUR")
"""A euro a second."""
SETTINGS = controller_settings(
    {
        "STYLEFLEET_BUCKET": "service",
        "STYLEFLEET_WORKER_GFLOPS": "1000",
        "STYLEFLEET_PRICE_PER_GPU_HOUR": "3600",
        "STYLEFLEET_CURRENCY": "EUR",
    }
)


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore("service", "shop")
    store.put(Ref("shop", "styles/waves.jpg"), jpeg_bytes())
    for name in "abcde":
        store.put(Ref("shop", f"catalog/{name}.jpg"), name.encode())
    return store


def objects(store: MemoryStore) -> dict[Ref, str]:
    return {o.ref: o.etag for bucket in ("service", "shop") for o in store.list(Ref(bucket, ""))}


def look(store: Store, *, price: Price | None = EURO, workers_max: int | None = None, **spec: object) -> Forecast:
    manifest = make_manifest(**spec)
    return forecast(store, "service", name="spring", manifest=manifest, pace=PACE, price=price, workers_max=workers_max)


def plan(store: Store, **spec: object) -> Plan:
    return planner.plan_run(
        store,
        "service",
        name="spring",
        manifest=make_manifest(**spec),
        manifest_bytes=b"manifest",
        run=RUN,
        pace=PACE,
        now=NOW,
    )


def finish(store: MemoryStore, made: Plan) -> None:
    """Every picture of a plan is done, with its result and receipt."""
    for entry in made.shards:
        for number, task in enumerate(tasks_of(store, "service", made, entry.index)):
            etag = store.put(task.output, b"restyled")
            lines = receipt.to_lines([make_receipt(task, shard=entry.index, result_etag=etag)])
            store.put(Ref("service", f"runs/spring/{RUN}/receipts/{entry.index:05d}/a-{number:05d}.jsonl"), lines)


def test_the_forecast_is_what_the_plan_then_says_and_nothing_is_written_for_it(store: MemoryStore) -> None:
    before = objects(store)
    found = look(store)
    assert objects(store) == before
    made = plan(store)
    assert (found.draft.pictures, found.draft.pictures - found.draft.to_do) == (made.pictures, made.skipped)
    assert found.draft.shards == len(made.shards) == 2
    assert (found.draft.prediction.seconds, found.draft.prediction.source) == (
        made.seconds_per_picture,
        made.seconds_source,
    )


def test_time_and_cost_follow_from_the_seconds_and_the_workers(store: MemoryStore) -> None:
    found = look(store)
    seconds = found.draft.prediction.seconds
    assert found.worker_seconds == pytest.approx(5 * seconds)
    assert found.cost == pytest.approx(5 * seconds)
    assert found.workers == 2
    assert found.eta_seconds == pytest.approx(3 * seconds), "the longer of both shards"
    alone = look(store, workers_max=1)
    assert (alone.workers, alone.cost) == (1, found.cost)
    assert alone.eta_seconds == pytest.approx(6 * seconds)


def test_without_a_price_there_is_no_cost(store: MemoryStore) -> None:
    document = to_document(look(store, price=None))
    assert (document["cost"], document["costLeavesOut"]) == (None, None)


def test_what_is_done_is_skipped_and_what_is_done_again_is_told_with_the_reason(store: MemoryStore) -> None:
    finish(store, plan(store))
    store.delete(Ref("shop", "restyled/spring/a.jpg"))
    store.put(Ref("shop", "restyled/spring/b.jpg"), b"somebody's own")
    store.put(Ref("shop", "catalog/c.jpg"), b"another photo")
    store.put(Ref("shop", "catalog/f.jpg"), b"a new photo")
    found = look(store)
    assert (found.draft.pictures, found.draft.to_do) == (6, 4)
    assert found.because._asdict() == {"new": 2, "gone": 1, "replaced": 1}


def test_where_everything_is_done_there_is_nothing_to_do_or_to_pay(store: MemoryStore) -> None:
    finish(store, plan(store))
    found = look(store)
    assert (found.draft.to_do, found.draft.shards, found.workers) == (0, 0, 0)
    assert (found.eta_seconds, found.cost) == (0.0, 0.0)


def test_what_no_pattern_asks_for_is_counted_with_examples(store: MemoryStore) -> None:
    for number in range(5):
        store.put(Ref("shop", f"catalog/draft/{number}.jpg"), b"x")
    content = {"prefix": "s3://shop/catalog/", "exclude": ["draft/*"]}
    found = look(store, content=content)
    assert found.draft.pictures == 5
    assert found.draft.left_out.count == 5
    assert found.draft.left_out.first == ["draft/0.jpg", "draft/1.jpg", "draft/2.jpg"]


@pytest.mark.parametrize("output", ["table", "json"])
def test_the_command_says_it_for_people_and_for_machines(
    store: MemoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    path = tmp_path / "spring.yaml"
    path.write_bytes(manifest_bytes("spring"))
    before = objects(store)
    assert command.run(store, read_manifest(path), SETTINGS, output=output) is ExitCode.OK
    assert objects(store) == before
    told = capsys.readouterr().out
    if output == "json":
        document = json.loads(told)
        assert (document["pictures"], document["skipped"], document["shards"]) == (5, 0, 2)
        assert document["cost"]["currency"] == "EUR"
        assert document["cost"]["estimated"] == pytest.approx(5 * document["secondsPerPicture"], rel=0.01)
    else:
        words = " ".join(told.split())
        for expected in ("pictures 5", "shards 2 of up to 3 pictures", "GPU-hours", "cost EUR", "Left out are"):
            assert expected in words


def test_what_the_controller_would_reject_is_told_with_every_broken_rule(
    store: MemoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spring.yaml"
    path.write_bytes(manifest_bytes("spring", styles=[{"image": "s3://shop/styles/gone.jpg"}]))
    assert command.run(store, read_manifest(path), SETTINGS, output="table") is ExitCode.INVALID
    assert "spec.styles[0].image: the style is not there" in capsys.readouterr().err


def test_another_output_than_there_is_is_refused(store: MemoryStore, tmp_path: Path) -> None:
    path = tmp_path / "spring.yaml"
    path.write_bytes(manifest_bytes("spring"))
    with pytest.raises(SettingsInvalid, match="allowed are table and json"):
        command.run(store, read_manifest(path), SETTINGS, output="yaml")
