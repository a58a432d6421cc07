"""Recording rules and alerts as code: `helm/stylefleet/rules/`, written by `make render`, put into place by the chart.

They are groups as Prometheus reads them, but for three words that the chart replaces: __NAMESPACE__, __RUNBOOK__ and,
in the file that is used only where there is a budget, __COST_BUDGET__.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from helm.rules import alerts, recording

FOLDER = Path(__file__).parents[1] / "stylefleet" / "rules"
HEADER = "# Made by `make render` from helm/rules, not by hand.\n"
Json = dict[str, Any]


def rendered() -> dict[str, str]:
    """File name -> what stands in it."""
    return {
        "stylefleet.yaml": _text([*recording.groups(), _group("stylefleet-alerts", alerts.ALERTS)]),
        "cost.yaml": _text([_group("stylefleet-cost", alerts.WITH_A_BUDGET)]),
    }


def write() -> None:
    for name, text in rendered().items():
        (FOLDER / name).write_text(text)


def _group(name: str, of: tuple[alerts.Alert, ...]) -> Json:
    return {"name": name, "rules": [alert.rule() for alert in of]}


def _text(groups: list[Json]) -> str:
    return HEADER + yaml.safe_dump(groups, sort_keys=False, width=110, allow_unicode=True)
