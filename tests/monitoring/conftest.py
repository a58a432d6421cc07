"""The chart's rules; Helm renders them."""

from __future__ import annotations

import pytest

from tests.chart.conftest import Chart, Json, chart
from tests.chart.variants import VARIANTS

__all__ = ["chart"]


@pytest.fixture(scope="session")
def rules(chart: Chart) -> Json:
    """As the Prometheus operator hands them to Prometheus; the namespace is `art`."""
    spec: Json = chart.render(VARIANTS["everything"]).find("PrometheusRule")["spec"]
    return spec
