"""`make render`: values.schema.json, dashboards, rules, and k8s/stylefleet.yaml, the chart with its defaults."""

from __future__ import annotations

import subprocess
from pathlib import Path

from helm import dashboards, rules, values_schema
from tests.lab import Lab

CHART = Path(__file__).parent / "stylefleet"
MANIFESTS = Path(__file__).parents[1] / "k8s" / "stylefleet.yaml"
HEADER = """\
# The chart helm/stylefleet with its defaults and the bucket `stylefleet`; made by `make render`, not by hand.
# kustomization.yaml beside it names your own bucket and images.
"""


def rendered(helm: Path) -> str:
    """What stands in k8s/stylefleet.yaml."""
    command = [helm, "template", "stylefleet", CHART, "--namespace=stylefleet", "--set=storage.bucket=stylefleet"]
    return HEADER + subprocess.run([*command, "--no-hooks"], check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    values_schema.write()
    dashboards.write()
    rules.write()
    MANIFESTS.write_text(rendered(Lab().chart_tool("helm")))
