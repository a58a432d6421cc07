from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.openmetrics.exposition import generate_latest

from stylefleet.metrics import ControllerMetrics
from stylefleet.price import Price
from stylefleet.receipt import STAGES
from stylefleet.status import Phase
from stylefleet.totals import RUN_PHASES, Totals
from tests.builders import NOW, failed_receipt, make_receipt


@pytest.fixture
def metrics() -> ControllerMetrics:
    """Of a controller that leads."""
    metrics = ControllerMetrics()
    metrics.totals.show(Totals())
    return metrics


def families(metrics: ControllerMetrics) -> list[Metric]:
    return list(metrics.registry.collect())


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def test_names_follow_the_conventions_of_prometheus(metrics: ControllerMetrics) -> None:
    # What `promtool check metrics` looks at.
    for family in families(metrics):
        assert re.fullmatch(r"stylefleet_[a-z][a-z_]*[a-z]", family.name)
        assert family.documentation.strip()
        assert not re.search(
            r"_(milliseconds|minutes|hours|ms|kilobytes|mb|percent|counter|gauge|histogram)(_|$)", family.name
        )
        assert not re.search(r"_(total|count|sum|bucket)$", family.name)  # the client adds these itself
        names = {s.name for s in family.samples} - {f"{family.name}_created"}
        match family.type:
            case "counter":
                assert names <= {f"{family.name}_total"}
            case "histogram":
                assert family.name.endswith(("_seconds", "_size"))
                assert names <= {f"{family.name}_{suffix}" for suffix in ("bucket", "sum", "count")}
            case "info":
                assert names == {f"{family.name}_info"}
            case _:
                assert names <= {family.name}
        for sample in family.samples:
            assert not {"job", "instance", "run", "name", "manifest", "task"} & sample.labels.keys()


def test_the_registry_can_be_written_out(metrics: ControllerMetrics) -> None:
    assert generate_latest(metrics.registry).endswith(b"# EOF\n")


def test_known_counters_exist_before_their_first_event(metrics: ControllerMetrics) -> None:
    registry = metrics.registry
    assert value(registry, "stylefleet_pictures_total", outcome="done", reason="") == 0
    for stage in STAGES:
        assert value(registry, "stylefleet_picture_stage_duration_seconds_count", stage=stage) == 0
    for phase in RUN_PHASES:
        assert value(registry, "stylefleet_run_duration_seconds_count", phase=phase) == 0
    for result in ("hit", "miss"):
        assert value(registry, "stylefleet_style_cache_lookups_total", result=result) == 0
    for cause in ("died", "stopped"):
        assert value(registry, "stylefleet_shard_retries_total", cause=cause) == 0
    for scope in ("tick", "manifest"):
        assert value(registry, "stylefleet_reconcile_failures_total", scope=scope) == 0
    assert value(registry, "stylefleet_manifests_rejected_total", reason="ManifestInvalid") == 0


def test_final_phases_are_those_of_a_status() -> None:
    assert set(RUN_PHASES) == {p.value for p in Phase if p.final} - {Phase.REJECTED.value}


def test_totals_are_shown_as_they_are() -> None:
    metrics = ControllerMetrics(price=Price(per_gpu_hour=3.0, currency="EUR"))
    totals = Totals()
    totals.add(
        [
            make_receipt(stage_seconds={"fetch": 0.25, "optimize": 2.0}, worker_seconds=1200.0),
            failed_receipt("catalog/b.jpg", reason="too_small"),
        ],
        price_per_gpu_hour=3.0,
        now=NOW,
    )
    totals.runs["Failed"].observe(61.0)
    metrics.totals.show(totals)
    registry = metrics.registry
    assert value(registry, "stylefleet_pictures_total", outcome="done", reason="") == 1
    assert value(registry, "stylefleet_pictures_total", outcome="failed", reason="too_small") == 1
    assert value(registry, "stylefleet_picture_stage_duration_seconds_sum", stage="optimize") == 2.0
    assert value(registry, "stylefleet_picture_stage_duration_seconds_count", stage="fetch") == 2
    assert value(registry, "stylefleet_pixels_total") == 64 * 48
    assert value(registry, "stylefleet_worker_seconds_total") == 1200.0
    assert value(registry, "stylefleet_cost_total") == 1.0
    assert value(registry, "stylefleet_price_per_gpu_hour") == 3.0
    assert value(registry, "stylefleet_run_duration_seconds_bucket", phase="Failed", le="60.0") == 0
    assert value(registry, "stylefleet_run_duration_seconds_bucket", phase="Failed", le="300.0") == 1
    assert value(registry, "stylefleet_picture_last_success_timestamp_seconds") == NOW.timestamp()


def test_who_stands_by_shows_no_totals_which_would_look_like_a_jump_when_it_leads() -> None:
    names = {family.name for family in ControllerMetrics().registry.collect()}
    assert "stylefleet_leader" in names
    assert not {"stylefleet_pictures", "stylefleet_pixels", "stylefleet_run_duration_seconds"} & names


def test_without_a_price_nothing_is_said_of_costs(metrics: ControllerMetrics) -> None:
    assert not [family.name for family in families(metrics) if "cost" in family.name or "price" in family.name]


def test_a_controller_without_election_counts_as_the_leader(metrics: ControllerMetrics) -> None:
    assert value(metrics.registry, "stylefleet_leader") == 1
