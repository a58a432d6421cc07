"""Alerts ask for metrics that the controller has, with labels that these have."""

from __future__ import annotations

import re
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from stylefleet.metrics import ControllerMetrics
from tests.builders import make_receipt
from tests.chart.conftest import Chart
from tests.chart.variants import VARIANTS

SELECTOR = re.compile(r"\b(stylefleet_\w+)(?:\{([^}]*)\})?")
RUNBOOK = Path(__file__).parents[2] / "docs/operations.md"
ADDED_BY_PROMETHEUS = {"namespace", "le"}


def samples() -> dict[str, set[str]]:
    """Names of the controller's samples -> their labels."""
    metrics = ControllerMetrics()
    metrics.observe(make_receipt())
    metrics.runs.labels(state="waiting").set(0)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions(chart: Chart) -> list[str]:
    rendered = chart.render(VARIANTS["everything"])
    return [
        *(rule["expr"] for group in rendered.find("PrometheusRule")["spec"]["groups"] for rule in group["rules"]),
    ]


def test_every_expression_asks_for_metrics_and_labels_that_exist(chart: Chart) -> None:
    there = samples()
    asked = [pair for expression in expressions(chart) for pair in SELECTOR.findall(expression)]
    assert len(asked) >= len(expressions(chart))
    for name, matchers in asked:
        assert name in there
        labels = set(re.findall(r'(\w+)\s*=~?\s*"', matchers))
        assert "namespace" in labels, "another release's metrics are not ours"
        assert labels <= there[name] | ADDED_BY_PROMETHEUS
    for expression in expressions(chart):
        for names in re.findall(r"\bby \(([^)]*)\)", expression):
            of = {label for name, _ in SELECTOR.findall(expression) for label in there[name]}
            assert set(re.split(r",\s*", names)) <= of | ADDED_BY_PROMETHEUS


def test_every_alert_says_what_is_wrong_and_has_a_section_of_its_own_in_the_runbook(chart: Chart) -> None:
    (group,) = chart.render(VARIANTS["everything"]).find("PrometheusRule")["spec"]["groups"]
    sections = {line.removeprefix("### ") for line in RUNBOOK.read_text().splitlines() if line.startswith("### Style")}
    assert {rule["alert"] for rule in group["rules"]} == sections
    for rule in group["rules"]:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"
