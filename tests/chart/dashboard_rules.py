"""The rules of grafana/dashboard-linter, said again: what makes a dashboard work in anybody's Grafana."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.chart.conftest import Json

GRID_COLUMNS = 24
SELECTOR = re.compile(r"(?<![\w$])([a-zA-Z_:][\w:]*)?\{([^{}]*)\}")
UNITS = {"none", "short", "percentunit", "s", "bytes", "pixel", "reqps"}
"""Of Grafana's units those that we use."""
COUNTERS = re.compile(r"(?:_total|_bucket|_sum|_count)$")


def problems(dashboard: Json) -> list[str]:
    """What is wrong, each with the place."""
    editable = "uneditable-dashboard: what is changed in Grafana is lost with the next upgrade"
    return [
        *([editable] if dashboard["editable"] else []),
        *_of_variables({variable["name"]: variable for variable in dashboard["templating"]["list"]}),
        *_of_grid(dashboard["panels"]),
        *(f"{where}: {what}" for where, what in _of_panels(dashboard)),
    ]


def panels(dashboard: Json) -> list[Json]:
    """Without the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def _of_variables(variables: dict[str, Json]) -> Iterator[str]:
    source = variables.get("datasource", {})
    if (source.get("type"), source.get("label"), source.get("query")) != ("datasource", "Data source", "prometheus"):
        yield "template-datasource: there is no variable `datasource`, labelled Data source, for prometheus"
    for name, everything in (("namespace", ".*"), ("job", ".+"), ("instance", ".+")):
        variable = variables.get(name, {})
        if (variable.get("type"), variable.get("label")) != ("query", name.title()):
            yield f"template-{name}: there is no query variable `{name}`, labelled {name.title()}"
        if not (variable.get("multi") and variable.get("includeAll") and variable.get("allValue") == everything):
            yield f"template-{name}: not all of them can be chosen, as {everything}"
    for name, variable in variables.items():
        if variable["type"] != "query":
            continue
        if variable["datasource"]["uid"] != "$datasource":
            yield f"template-{name}: it asks another source than $datasource"
        if not re.fullmatch(r"label_values\((.+), \w+\)", variable["query"]):
            yield f"template-label-promql: `{name}` is no label_values(QUERY, LABEL)"
        if variable["refresh"] != 2:
            yield f"template-on-time-change-reload: `{name}` is not asked anew with another time range"


def _of_grid(panels: list[Json]) -> Iterator[str]:
    ids = [panel["id"] for panel in panels]
    if len(set(ids)) != len(ids):
        yield "panels: two have one id"
    titles = [panel["title"] for panel in panels if panel["type"] != "row"]
    if len(set(titles)) != len(titles):
        yield "titles: two panels have one"
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        if place["x"] + place["w"] > GRID_COLUMNS:
            yield f"grid: {panel['title']} stands out at the right"
        if cells & taken:
            yield f"grid: {panel['title']} lies on another panel"
        taken |= cells


def _of_panels(dashboard: Json) -> Iterator[tuple[str, str]]:
    for panel in panels(dashboard):
        where = panel.get("title") or f"panel {panel['id']}"
        if not panel.get("title") or not panel.get("description"):
            yield where, "panel-title-description: it has no title or no description"
        if panel["datasource"]["uid"] != "$datasource":
            yield where, "panel-datasource: it asks another source than $datasource"
        if panel["fieldConfig"]["defaults"].get("unit") not in UNITS:
            yield where, "panel-units: it has no unit, or an unknown one"
        if not panel["targets"]:
            yield where, "panel-no-targets: it asks nothing"
        if len({target["refId"] for target in panel["targets"]}) != len(panel["targets"]):
            yield where, "targets: two have one letter"
        for target in panel["targets"]:
            yield from ((where, what) for what in _of_query(target["expr"]))


def _of_query(query: str) -> Iterator[str]:
    selectors = SELECTOR.findall(query)
    if not selectors:
        yield f"target-promql: it selects nothing: {query}"
    for metric, matchers in selectors:
        for label in ("namespace", "job", "instance"):
            if f'{label}=~"${label}"' not in matchers.split(", "):
                yield f"target-{label}: {metric} is not kept to ${label}"
    for name, window in re.findall(r"(rate|increase)\([^\[\]]*\[([^\]]*)\]", query):
        if window not in (("$__rate_interval",) if name == "rate" else ("$__rate_interval", "$__range")):
            yield f"target-rate-interval: {name} over {window}"
    for match in SELECTOR.finditer(query):
        counter = COUNTERS.search(match[1] or "")
        before, after = query[: match.start()], query[match.end() :]
        if counter and not (before.endswith(("rate(", "increase(")) and after.startswith("[")):
            yield f"target-counter-agg: {match[1]} is counted up for ever and asked without rate or increase"
