"""The Grafana dashboards as code: each becomes one file of `helm/stylefleet/dashboards/`, written by `make render`."""

from __future__ import annotations

import json
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from helm.dashboards import controller, engine, run_health, throughput

FOLDER = Path(__file__).parents[1] / "stylefleet" / "dashboards"


def dashboards() -> dict[str, Dashboard]:
    """File name -> dashboard."""
    return {
        "throughput.json": throughput.dashboard(),
        "run-health.json": run_health.dashboard(),
        "engine.json": engine.dashboard(),
        "controller.json": controller.dashboard(),
    }


def rendered() -> dict[str, str]:
    """File name -> what stands in it."""
    return {
        name: json.dumps(dashboard.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"
        for name, dashboard in dashboards().items()
    }


def write() -> None:
    for name, text in rendered().items():
        (FOLDER / name).write_text(text)
