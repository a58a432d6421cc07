"""A real run on this machine, scraped by a real Prometheus: what it says is what the receipts say.

A controller is killed while it works and another one takes over, first at the same address, then at another: Prometheus
must not take for new work what the first one had counted.
"""

from __future__ import annotations

import math
import signal
import socket
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from stylefleet.local_s3 import local_s3
from stylefleet.reasons import REASONS
from stylefleet.receipt import STAGES, Receipt
from tests.chart.conftest import Json
from tests.fleet import Fleet, eventually, picture
from tests.monitoring.asked import Asked, all_queries
from tests.monitoring.prometheus import Prometheus, prometheus, static

pytestmark = pytest.mark.timeout(600)

PICTURES = 4
PRICE_PER_GPU_HOUR = 3600.0
"""One a second: the sums are then far from 0."""
NOT_HERE = {
    "stylefleet_worker_gpu_memory": "this machine has no GPU",
    "stylefleet_kubernetes_request": "the local cluster asks no API server",
}
"""Of series that a run on one machine does not have, why not."""


@dataclass(frozen=True, kw_only=True)
class LocalRun:
    """What there is when it is over."""

    prometheus: Prometheus
    receipts: list[Receipt]
    counted_before: float
    """Pictures that Prometheus knew of before the first controller was killed."""
    began: float
    """Unix time before anything was done."""
    at_the_end: float
    """Unix time at which all was counted, by the second controller, before the third began."""
    over: float
    """Unix time some scrapes after the third controller took over."""
    sums: dict[str, float]
    """At the end, sums of the samples by name."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, rules: Json) -> Iterator[LocalRun]:
    folder = tmp_path_factory.mktemp("local")
    first, third = _two_free_ports(), _two_free_ports()
    jobs = {"art/controller": [_address(first), _address(third)], "art/workers": [_address(first + 1)]}
    scraped = static(jobs, namespace="art")
    with (
        local_s3(tmp_path_factory.mktemp("s3")) as s3,
        prometheus(tmp_path_factory.mktemp("prometheus"), scrape_configs=scraped, rules=rules) as server,
    ):
        bucket = f"monitoring-{uuid.uuid4().hex[:8]}"
        s3.create_bucket(bucket)
        settings = {
            "STYLEFLEET_CLUSTER": "local",
            "STYLEFLEET_LOCAL_FOLDER": str(folder / "jobs"),
            "STYLEFLEET_PRICE_PER_GPU_HOUR": str(PRICE_PER_GPU_HOUR),
            "STYLEFLEET_HTTP_PORT": str(first),
        }
        fleet = Fleet(s3=s3, store=s3.store(), bucket=bucket, folder=folder, environment=settings)
        try:
            yield _carried_out(fleet, server, third)
        finally:
            fleet.stop()


def _carried_out(fleet: Fleet, server: Prometheus, third: int) -> LocalRun:
    began = time.time()
    fleet.put("styles/style.jpg", picture(96, 64, seed=99))
    fleet.put_shapes(PICTURES)
    fleet.put("catalog/broken.jpg", picture(seed=1)[:400])
    fleet.put("jobs/wrong.yaml", b"a: 1\na: 2\n")
    fleet.start()
    # Before anything was counted, so that the first picture is seen as one more.
    _seen(server, f"{DONE} == 0")
    fleet.submit("spring", recipe={"preset": "draft", "size": 96})
    _seen(server, f"{DONE} > 0")
    counted_before = server.number(DONE)
    fleet.stop(signal.SIGKILL)
    fleet.start()
    fleet.wait("spring", "PartiallySucceeded")
    receipts = fleet.receipts("spring")
    # The run is the last that is counted.
    _seen(server, "sum(stylefleet_run_duration_seconds_count) == 1")
    at_the_end = time.time()
    sums = _sums(server)
    fleet.stop()
    fleet.environment = {**fleet.environment, "STYLEFLEET_HTTP_PORT": str(third)}
    fleet.start()
    _seen(server, f'count_over_time(stylefleet_pictures_total{{instance="{_address(third)}", outcome="done"}}[1m]) > 5')
    return LocalRun(
        prometheus=server,
        receipts=receipts,
        counted_before=counted_before,
        began=began,
        at_the_end=at_the_end,
        over=time.time(),
        sums=sums,
    )


TOLD = ("outcome", "reason", "stage", "result", "cause", "precision")
DONE = 'sum(stylefleet_pictures_total{outcome="done"})'


def _seen(server: Prometheus, query: str) -> None:
    eventually(lambda: server.query(query), f"Prometheus sees {query}")


def _sums(server: Prometheus) -> dict[str, float]:
    """The samples of each series, summed by name and by the labels that receipts tell of."""
    found: dict[str, float] = {}
    for sample in server.query('{__name__=~"stylefleet_.+", job="art/controller"}'):
        labels = sample["metric"]
        told = [
            labels[name] for name in ("outcome", "reason", "stage", "result", "cause", "precision") if name in labels
        ]
        if "le" not in labels:
            key = " ".join([labels["__name__"], *told])
            found[key] = found.get(key, 0.0) + float(sample["value"][1])
    return found


def _address(port: int) -> str:
    return f"127.0.0.1:{port}"


def _two_free_ports() -> int:
    """The first of two, one after the other."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def test_counters_are_exactly_what_the_receipts_add_up_to(run: LocalRun) -> None:
    receipts, sums = run.receipts, run.sums
    done = [r for r in receipts if r.outcome == "done"]
    seconds = math.fsum(r.worker_seconds for r in receipts)
    starts = [r.start for r in receipts if r.start is not None]
    assert len(receipts) == PICTURES + 1
    assert starts

    endings = Counter(f"{r.outcome} {r.reason}".rstrip() for r in receipts)
    counted = {
        key.removeprefix("stylefleet_pictures_total "): value
        for key, value in sums.items()
        if key.startswith("stylefleet_pictures_total ")
    }
    assert counted == {**{f"failed {reason}": 0.0 for reason in REASONS}, **endings}
    wanted: dict[str, float] = {
        "stylefleet_pixels_total": sum(r.width_px * r.height_px for r in done),
        "stylefleet_iterations_total": sum(r.iterations for r in receipts),
        "stylefleet_picture_batch_size_sum": sum(r.batch for r in done),
        "stylefleet_picture_batch_size_count": len(done),
        "stylefleet_worker_seconds_total": math.fsum(r.worker_seconds for r in receipts),
        "stylefleet_gpu_seconds_total": math.fsum(
            r.worker_seconds * (r.engine.gpus if r.engine else 0) for r in receipts
        ),
        "stylefleet_cost_total": math.fsum(r.worker_seconds for r in receipts) * PRICE_PER_GPU_HOUR / 3600,
        "stylefleet_style_cache_lookups_total hit": sum(s.style_hits for s in starts),
        "stylefleet_style_cache_lookups_total miss": sum(s.style_misses for s in starts),
        "stylefleet_shard_retries_total died": sum(s.died for s in starts),
        "stylefleet_shard_retries_total stopped": sum(s.stopped for s in starts),
        "stylefleet_shard_duration_seconds_count": len({r.shard for r in receipts}),
        "stylefleet_shard_duration_seconds_sum": seconds,
        "stylefleet_run_duration_seconds_count": 1,
        **{
            f"stylefleet_picture_stage_duration_seconds_sum {stage}": math.fsum(
                r.stage_seconds[stage] for r in receipts if stage in r.stage_seconds
            )
            for stage in STAGES
        },
        **{
            f"stylefleet_picture_stage_duration_seconds_count {stage}": sum(stage in r.stage_seconds for r in receipts)
            for stage in STAGES
        },
        **Counter(f"stylefleet_pictures_by_engine_total {r.engine.precision}" for r in done if r.engine),
    }
    assert seconds > 0
    # Whole numbers exactly, seconds up to the order in which they were added.
    assert {key: sums[key] for key in wanted} == pytest.approx(wanted, rel=1e-12, abs=0)


def test_a_controller_that_takes_over_counts_nothing_anew(run: LocalRun) -> None:
    assert 0 < run.counted_before <= PICTURES
    server, window = run.prometheus, f"{math.ceil(run.over - run.began) + 60}s"
    recorded = 'namespace_result:stylefleet_pictures_total:sum{result="done"}'
    assert server.number(f"max_over_time({recorded}[{window}])") == PICTURES
    assert server.number(f"resets({recorded}[{window}])") == 0
    assert round(server.number(f"increase({recorded}[{window}])")) == PICTURES
    for instance in ("", f"@ {run.at_the_end}"):
        # Each controller for itself, too: the one at the same address went on, the one at another did nothing.
        increase = f'sum(increase(stylefleet_pictures_total{{outcome="done"}}[{window}] {instance}))'
        assert round(server.number(increase)) == PICTURES
    since = f"{max(2, math.floor(run.over - run.at_the_end))}s"
    assert server.number(f"increase({recorded}[{since}])") == 0


def _occurs(asked: Asked) -> bool:
    return not any(name in asked.query for name in NOT_HERE)


@pytest.mark.parametrize("asked", [a for a in all_queries() if _occurs(a)], ids=lambda asked: asked.place)
def test_every_query_of_every_panel_was_answered_during_the_run(run: LocalRun, asked: Asked) -> None:
    found = run.prometheus.ask("query_range", query=asked.query, start=str(run.began), end=str(run.over), step="1")
    values = [float(value) for series in found["result"] for _, value in series["values"]]
    assert values, asked.query
    assert not any(math.isnan(value) for value in values), asked.query


def test_what_a_run_on_one_machine_cannot_have_is_asked_for_by_few_queries() -> None:
    left_out = [asked.place for asked in all_queries() if not _occurs(asked)]
    assert left_out == [
        "engine.json / GPU memory / A",
        "engine.json / GPU memory by worker / A",
        "engine.json / GPU memory by worker / B",
        "controller.json / API errors / A",
        "controller.json / API requests per second / A",
        "controller.json / API answers per second / A",
        "controller.json / Time of an API request / A",
    ]


def test_the_answers_are_those_of_this_run(run: LocalRun) -> None:
    """Some numbers of the dashboards, against the receipts."""
    by_place = {asked.place: asked.query for asked in all_queries()}

    def ask(place: str) -> float:
        return run.prometheus.number(by_place[place])

    seconds = sum(r.worker_seconds for r in run.receipts)
    assert round(ask("throughput.json / Pictures done / A")) == PICTURES
    assert ask("throughput.json / Pictures to do / A") == 0
    assert ask("throughput.json / Cost of 1,000 pictures / A") == pytest.approx(1000 * seconds / PICTURES, rel=0.05)
    assert ask("run-health.json / Share that failed / A") == pytest.approx(1 / (PICTURES + 1), rel=0.05)
    assert ask("controller.json / Leaders / A") == 1


def test_no_rule_failed_on_what_a_real_service_says(run: LocalRun) -> None:
    assert [(rule["name"], rule.get("lastError")) for rule in run.prometheus.rules() if rule["health"] != "ok"] == []
