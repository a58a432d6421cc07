"""The dashboards obey the linter's rules, and what is committed is what the code gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy

import pytest
from helm import dashboards

from tests.chart.conftest import Chart, Json
from tests.chart.dashboard_rules import panels, problems
from tests.chart.variants import VARIANTS

RENDERED = dashboards.rendered()


def loaded(name: str) -> Json:
    document: Json = json.loads(RENDERED[name])
    return document


def test_the_committed_dashboards_are_what_the_code_gives() -> None:
    committed = {path.name: path.read_text() for path in dashboards.FOLDER.iterdir()}
    assert committed == RENDERED, "run: make render"


@pytest.mark.parametrize("name", RENDERED)
def test_every_dashboard_obeys_the_rules_of_the_linter(name: str) -> None:
    assert problems(loaded(name)) == []


def _first(dashboard: Json) -> Json:
    return panels(dashboard)[0]


def _query(text: str) -> Callable[[Json], object]:
    return lambda dashboard: _first(dashboard)["targets"][0].update(expr=text)


SCOPE = 'namespace=~"$namespace", job=~"$job", instance=~"$instance"'
BREAKS: dict[str, Callable[[Json], object]] = {
    "uneditable-dashboard": lambda d: d.update(editable=True),
    "template-datasource": lambda d: d["templating"]["list"].pop(0),
    "template-namespace": lambda d: d["templating"]["list"][1].update(allValue=""),
    "template-job": lambda d: d["templating"]["list"][2].update(multi=False),
    "template-instance": lambda d: d["templating"]["list"][3]["datasource"].update(uid="prometheus"),
    "template-label-promql": lambda d: d["templating"]["list"][1].update(query="stylefleet_build_info"),
    "template-on-time-change-reload": lambda d: d["templating"]["list"][1].update(refresh=1),
    "panels": lambda d: _first(d).update(id=d["panels"][2]["id"]),
    "titles": lambda d: _first(d).update(title=panels(d)[1]["title"]),
    "grid": lambda d: _first(d)["gridPos"].update(w=25),
    "panel-title-description": lambda d: _first(d).update(description=""),
    "panel-datasource": lambda d: _first(d)["datasource"].update(uid="prometheus"),
    "panel-units": lambda d: _first(d)["fieldConfig"]["defaults"].pop("unit"),
    "panel-no-targets": lambda d: _first(d).update(targets=[]),
    "targets": lambda d: _first(d)["targets"].append(_first(d)["targets"][0]),
    "target-promql": _query("vector(0)"),
    "target-namespace": _query('up{job=~"$job", instance=~"$instance"}'),
    "target-job": _query('up{namespace=~"$namespace", instance=~"$instance"}'),
    "target-instance": _query('up{namespace=~"$namespace", job=~"$job"}'),
    "target-rate-interval": _query(f"rate(a_total{{{SCOPE}}}[5m])"),
    "target-counter-agg": _query(f"sum (a_total{{{SCOPE}}})"),
}


@pytest.mark.parametrize("rule", BREAKS)
def test_a_dashboard_that_breaks_a_rule_is_told_so(rule: str) -> None:
    dashboard = deepcopy(loaded("throughput.json"))
    BREAKS[rule](dashboard)
    assert [problem for problem in problems(dashboard) if f"{rule}: " in problem]


def test_every_dashboard_has_a_name_of_its_own_and_a_link_to_the_others() -> None:
    documents = [loaded(name) for name in RENDERED]
    assert len({document["uid"] for document in documents}) == len(documents)
    assert len({document["title"] for document in documents}) == len(documents)
    for document in documents:
        (link,) = document["links"]
        assert set(link["tags"]) <= set(document["tags"])
        assert link["includeVars"]


def test_one_number_of_the_whole_range_is_asked_for_once_and_not_for_each_point_of_a_line() -> None:
    targets = [target for name in RENDERED for panel in panels(loaded(name)) for target in panel["targets"]]
    whole = [target for target in targets if "[$__range]" in target["expr"]]
    assert whole
    assert all(target["instant"] for target in whole)
    assert not any(target["instant"] for target in targets if target not in whole)


def test_the_chart_ships_all_of_them_in_a_config_map_that_kubernetes_takes(chart: Chart) -> None:
    data = chart.render(VARIANTS["everything"]).find("ConfigMap", "art-stylefleet-dashboard")["data"]
    assert {name: json.loads(text) for name, text in data.items()} == {name: loaded(name) for name in RENDERED}
    assert sum(map(len, data.values())) < 2**20, "etcd takes no more"
