"""Panels as they all look here, and a dashboard of rows of them on the grid of 24 columns."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import common, heatmap, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    ThresholdsConfig,
)
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    GraphDrawStyle,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat
from helm.dashboards.queries import heat

GRID_COLUMNS = 24
SOURCE = DataSourceRef(type_val="prometheus", uid="$datasource")
TAG = "stylefleet"
EITHER = '__name__=~"stylefleet_build_info|stylefleet_worker_info"'
"""Controllers and workers; tenants may have their workers in namespaces of their own."""
WITHIN = f'{EITHER}, namespace=~"$namespace"'
OF_JOB = f'{WITHIN}, job=~"$job"'
Panel = stat.Panel | timeseries.Panel | heatmap.Panel


@dataclass(frozen=True, kw_only=True)
class Band:
    """Panels side by side, each as wide as the others."""

    panels: Sequence[Panel]
    height: int = 8
    title: str = ""
    """Of a row that begins here; empty where the one above goes on."""


def number(title: str, description: str, query: str, *, unit: str = "none", bad_from: float | None = None) -> Panel:
    """One number, large; red from `bad_from`."""
    steps = [Threshold(value=None, color="text" if bad_from is None else "green")]
    if bad_from is not None:
        steps.append(Threshold(value=bad_from, color="red"))
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .no_value("0")
        .thresholds(ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(_target("A", query, ""))
    )


def lines(title: str, description: str, unit: str, *queries: tuple[str, str]) -> timeseries.Panel:
    """Lines over time; `queries` are each a query and its legend."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .min(0)
        .no_value("0")
        .line_width(1)
        .fill_opacity(10)
        .show_points(VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(LegendDisplayMode.TABLE)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["mean", "max", "lastNotNull"])
        )
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    )
    for number, (query, legend) in enumerate(queries):
        panel = panel.with_target(_target("ABCDEF"[number], query, legend))
    return panel


def stacked(title: str, description: str, unit: str, *queries: tuple[str, str]) -> timeseries.Panel:
    """Parts of a whole over time."""
    stacking = common.StackingConfig().mode(StackingMode.NORMAL)
    return lines(title, description, unit, *queries).stacking(stacking).fill_opacity(40)


def bars(title: str, description: str, unit: str, *queries: tuple[str, str]) -> timeseries.Panel:
    """What happens seldom, over time: each event is to be seen."""
    return stacked(title, description, unit, *queries).draw_style(GraphDrawStyle.BARS).fill_opacity(80)


def heat_map(title: str, description: str, unit: str, histogram: str, *matchers: str) -> Panel:
    """How many fell into which bucket, over time."""
    return (
        heatmap.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .unit(unit)
        .no_value("0")
        .calculate(False)
        .color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").steps(64))
        .y_axis(heatmap.YAxisConfig().unit(unit))
        .scale_distribution(common.ScaleDistributionConfig().type(ScaleDistribution.LINEAR))
        .show_tooltip()
        .with_target(_target("A", heat(histogram, *matchers), "{{le}}").format(PromQueryFormat.HEATMAP))
    )


def board(*, title: str, uid: str, description: str, bands: Sequence[Band], variables: Sequence[Any] = ()) -> Dashboard:
    """A dashboard with the variables that all of them have, and perhaps `variables` of its own."""
    dashboard = (
        Dashboard(f"Stylefleet / {title}")
        .uid(uid)
        .description(description)
        .tags([TAG])
        .readonly()
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .link(
            DashboardLink("Stylefleet")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
        # Metrics of a controller without Kubernetes have no namespace: `.*` finds these too.
        .with_variable(_choice("namespace", f"label_values({{{EITHER}}}, namespace)", all_value=".*"))
        .with_variable(_choice("job", f"label_values({{{WITHIN}}}, job)", all_value=".+"))
        .with_variable(_choice("instance", f"label_values({{{OF_JOB}}}, instance)", all_value=".+"))
    )
    for variable in variables:
        dashboard = dashboard.with_variable(variable)
    ids = itertools.count(1)
    for band in bands:
        if band.title:
            dashboard = dashboard.with_row(Row(band.title).id(next(ids)))
        width = GRID_COLUMNS // len(band.panels)
        for panel in band.panels:
            dashboard = dashboard.with_panel(panel.id(next(ids)).span(width).height(band.height))
    return dashboard


def choice_of(name: str, label: str, query: str, *, first: str) -> QueryVariable:
    """A variable of which one value is chosen, at first `first`."""
    return (
        QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .current(VariableOption(selected=True, text=first, value=first))
    )


def _choice(name: str, query: str, *, all_value: str) -> QueryVariable:
    everything = VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        choice_of(name, name.title(), query, first="")
        .multi(True)
        .include_all(True)
        .all_value(all_value)
        .current(everything)
    )


def _target(ref: str, query: str, legend: str) -> Dataquery:
    target = Dataquery().ref_id(ref).datasource(SOURCE).expr(query).legend_format(legend)
    # Over all that is shown there is one value, which need not be computed for each point of a line.
    return target.instant() if "$__range]" in query else target.range()
