"""Dashboards, rules and alerts ask for metrics that there are, with their labels; each alert has its chapter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from helm import dashboards, rules

from tests.chart.conftest import Chart, Json
from tests.chart.dashboard_rules import SELECTOR, panels
from tests.chart.test_dashboards import loaded
from tests.chart.variants import VARIANTS
from tests.monitoring.double import Double
from tests.monitoring.series import samples

RUNBOOK = Path(__file__).parents[2] / "docs/operations.md"
ADDED_BY_PROMETHEUS = {"namespace", "job", "instance", "le"}


def groups(chart: Chart) -> list[Json]:
    found: list[Json] = chart.render(VARIANTS["everything"]).find("PrometheusRule")["spec"]["groups"]
    return found


def alerts(chart: Chart) -> list[Json]:
    return [rule for group in groups(chart) for rule in group["rules"] if "alert" in rule]


def asked(query: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric of a query, with the labels by which it is selected."""
    for metric, matchers in SELECTOR.findall(query):
        yield metric, set(re.findall(r'(\w+)\s*[=!]=?~?\s*"', matchers))


def recorded(chart: Chart) -> dict[str, set[str]]:
    """What the recording rules add, with its labels."""
    found: dict[str, set[str]] = {}
    for group in groups(chart):
        for rule in group["rules"]:
            if "record" in rule:
                level = rule["record"].partition(":")[0]
                found[rule["record"]] = set(level.split("_"))
    return found


def test_every_query_asks_for_metrics_and_labels_that_there_are(chart: Chart) -> None:
    double = Double()
    there = samples(double.controller, double.worker) | recorded(chart)
    queries = [
        *(rule["expr"] for group in groups(chart) for rule in group["rules"]),
        *(target["expr"] for name in dashboards.rendered() for p in panels(loaded(name)) for target in p["targets"]),
    ]
    assert len(queries) > 80
    for query in queries:
        pairs = list(asked(query))
        assert pairs, query
        for metric, labels in pairs:
            assert metric in there, query
            assert "namespace" in labels, "another release's metrics are not ours"
            assert labels <= there[metric] | ADDED_BY_PROMETHEUS, query
        for names in re.findall(r"\bby \(([^)]*)\)", query):
            of = {label for metric, _ in pairs for label in there[metric]}
            assert set(re.split(r",\s*", names)) <= of | ADDED_BY_PROMETHEUS, query


def test_every_metric_is_on_a_dashboard_or_in_a_rule(chart: Chart) -> None:
    double = Double()
    known = set(samples(double.controller, double.worker))
    text = "".join([*dashboards.rendered().values(), *rules.rendered().values()])
    families = {re.sub(r"_(bucket|sum|count|created)$", "", name) for name in known}
    assert {family for family in families if family not in text} == {
        # What the cost is reckoned with; the cost itself is there.
        "stylefleet_price_per_gpu_hour",
    }


def test_every_metric_is_explained_with_its_labels_and_the_reverse() -> None:
    double = Double()
    there = samples(double.controller, double.worker)
    explained = {
        name: set(filter(None, labels.split(",")))
        for name, labels in re.findall(r"`(stylefleet_\w+)(?:\{([^}]*)\})?`", RUNBOOK.read_text())
    }
    families = {
        re.sub(r"_(bucket|sum|count)$", "", name): labels - {"le"}
        for name, labels in there.items()
        if not name.endswith("_created")
    }
    assert explained == families


def test_the_committed_rules_are_what_the_code_gives() -> None:
    committed = {path.name: path.read_text() for path in rules.FOLDER.iterdir()}
    assert committed == rules.rendered(), "run: make render"


def test_every_alert_says_what_is_wrong_and_has_a_chapter_of_its_own_in_the_runbook(chart: Chart) -> None:
    chapters = {line.removeprefix("### ") for line in RUNBOOK.read_text().splitlines() if line.startswith("### Style")}
    assert {rule["alert"] for rule in alerts(chart)} == chapters
    for rule in alerts(chart):
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["labels"]["namespace"] == "art"
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
        assert rule["annotations"]["runbook_url"] == f"docs/operations.md#{rule['alert'].lower()}"


@pytest.mark.parametrize("part", ["What it means", "Look at", "What to do"])
def test_every_chapter_of_the_runbook_says_what_it_means_what_to_look_at_and_what_to_do(part: str) -> None:
    chapters = re.split(r"(?m)^### ", RUNBOOK.read_text().partition("## Runbook")[2])[1:]
    assert [chapter.partition("\n")[0] for chapter in chapters if f"**{part}.**" not in chapter] == []


def test_every_panel_that_the_runbook_names_is_there() -> None:
    looks = re.findall(r"(?s)\*\*Look at\.\*\*.*?\n\n", RUNBOOK.read_text())
    named = {name for look in looks for name in re.findall(r"`([A-Z][^`]*)`", look)}
    titles = {panel["title"] for name in dashboards.rendered() for panel in panels(loaded(name))}
    assert len(named) > 8
    assert named <= titles


def test_there_is_an_alert_about_cost_only_where_there_is_a_budget(chart: Chart) -> None:
    (with_budget,) = [rule for rule in alerts(chart) if rule["alert"] == "StylefleetCostBudget"]
    assert with_budget["expr"].endswith("> 120.5")
    values = {"storage": {"bucket": "service"}, "metrics": {"prometheusRule": {"enabled": True}}}
    without = chart.render(values).find("PrometheusRule")["spec"]["groups"]
    assert "StylefleetCostBudget" not in {rule.get("alert") for group in without for rule in group["rules"]}


def test_the_chart_leaves_no_word_to_be_replaced(chart: Chart) -> None:
    assert "__" not in re.sub(r"__name__", "", str(groups(chart)))
