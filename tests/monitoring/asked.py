"""The queries of the dashboards, as Grafana would send them."""

from __future__ import annotations

from dataclasses import dataclass

from helm import dashboards

from tests.chart.dashboard_rules import panels
from tests.chart.test_dashboards import loaded

GRAFANA = {
    # Four scrapes, as Grafana reckons it.
    "$__rate_interval": "4s",
    "$__range": "10m",
    "$job": ".+",
    "$instance": ".+",
    "$stage": "optimize",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One query of one panel."""

    place: str
    """DASHBOARD / PANEL / LETTER."""
    kind: str
    """Of panel, such as stat for one number."""
    query: str


def all_queries(*, namespace: str = "art") -> list[Asked]:
    return [
        Asked(
            place=f"{name} / {panel['title']} / {target['refId']}",
            kind=panel["type"],
            query=_filled(target["expr"], GRAFANA | {"$namespace": namespace}),
        )
        for name in dashboards.rendered()
        for panel in panels(loaded(name))
        for target in panel["targets"]
    ]


def all_variables() -> dict[str, str]:
    """Of all dashboards, the variables whose values are asked for, and how."""
    return {
        variable["name"]: _filled(variable["query"], GRAFANA | {"$namespace": "art"})
        for name in dashboards.rendered()
        for variable in loaded(name)["templating"]["list"]
        if variable["type"] == "query"
    }


def _filled(query: str, variables: dict[str, str]) -> str:
    for name, value in variables.items():
        query = query.replace(name, value)
    assert "$" not in query, f"a variable that is not known: {query}"
    return query
