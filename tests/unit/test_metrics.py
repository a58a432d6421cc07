from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.openmetrics.exposition import generate_latest

from stylefleet import metrics as metrics_module
from stylefleet.metrics import ControllerMetrics
from stylefleet.receipt import STAGES
from tests.builders import NOW, failed_receipt, make_receipt


@pytest.fixture
def metrics() -> ControllerMetrics:
    return ControllerMetrics()


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
                assert family.name.endswith("_seconds")
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
    assert value(registry, "stylefleet_tasks_total", outcome="done", reason="") == 0
    for stage in STAGES:
        assert value(registry, "stylefleet_task_stage_duration_seconds_count", stage=stage) == 0
    for scope in ("tick", "manifest"):
        assert value(registry, "stylefleet_reconcile_failures_total", scope=scope) == 0


def test_a_receipt_is_counted_by_outcome_and_reason_with_its_stages(metrics: ControllerMetrics) -> None:
    metrics.observe(make_receipt(stage_seconds={"fetch": 0.25, "optimize": 2.0}))
    metrics.observe(failed_receipt("catalog/b.jpg", reason="too_small"))
    registry = metrics.registry
    assert value(registry, "stylefleet_tasks_total", outcome="done", reason="") == 1
    assert value(registry, "stylefleet_tasks_total", outcome="failed", reason="too_small") == 1
    assert value(registry, "stylefleet_task_stage_duration_seconds_sum", stage="optimize") == 2.0
    assert value(registry, "stylefleet_task_stage_duration_seconds_count", stage="fetch") == 2


def test_a_failure_is_no_success(metrics: ControllerMetrics) -> None:
    metrics.observe(failed_receipt("catalog/b.jpg"))
    assert value(metrics.registry, "stylefleet_task_last_success_timestamp_seconds") == 0


LAST_SUCCESS = "stylefleet_task_last_success_timestamp_seconds"


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    """Sets this machine's clock."""
    return lambda now: monkeypatch.setattr(metrics_module.time, "time", now.timestamp)


def test_the_newest_success_of_an_earlier_controller_stays_when_an_older_receipt_comes_later(
    metrics: ControllerMetrics, at: Callable[[datetime], None]
) -> None:
    at(NOW + timedelta(hours=2))
    metrics.done_at(make_receipt("catalog/a.jpg", finished_at=NOW))
    metrics.done_at(make_receipt("catalog/b.jpg", finished_at=NOW - timedelta(hours=1)))
    assert value(metrics.registry, LAST_SUCCESS) == NOW.timestamp()


@pytest.mark.parametrize("skew", [timedelta(hours=1), -timedelta(hours=1)], ids=str)
def test_a_success_counts_from_when_it_was_seen_whatever_the_workers_clock_says(
    metrics: ControllerMetrics, at: Callable[[datetime], None], skew: timedelta
) -> None:
    at(NOW)
    metrics.observe(make_receipt(finished_at=NOW + skew))
    assert value(metrics.registry, LAST_SUCCESS) == NOW.timestamp()


def test_a_worker_whose_clock_is_ahead_does_not_hide_a_standstill_from_the_next_controller(
    metrics: ControllerMetrics, at: Callable[[datetime], None]
) -> None:
    at(NOW)
    metrics.done_at(make_receipt(finished_at=NOW + timedelta(hours=1)))
    assert value(metrics.registry, LAST_SUCCESS) == NOW.timestamp()


def test_a_controller_without_election_counts_as_the_leader(metrics: ControllerMetrics) -> None:
    assert value(metrics.registry, "stylefleet_leader") == 1


def test_two_controllers_in_one_process_do_not_share_counters() -> None:
    one, other = ControllerMetrics(), ControllerMetrics()
    one.observe(make_receipt())
    assert value(other.registry, "stylefleet_tasks_total", outcome="done", reason="") == 0
