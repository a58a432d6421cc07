"""A real Helm and what checks its output, built by the lab with Go; no cluster."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm.render import CHART

from stylefleet.jobs import job_for
from stylefleet.settings import ControllerSettings, controller_settings
from tests.builders import make_plan
from tests.lab import Lab
from tests.requirements import absent

Json = dict[str, Any]
BUCKET: Json = {"storage": {"bucket": "service"}}


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """What the chart gives for some values."""

    objects: list[Json]

    def find(self, kind: str, name: str = "art-stylefleet", *, namespace: str = "art") -> Json:
        wanted = (kind, name, namespace)
        (found,) = [
            o
            for o in self.objects
            if (o["kind"], o["metadata"]["name"], o["metadata"].get("namespace", "art")) == wanted
        ]
        return found

    def kinds(self) -> set[str]:
        return {o["kind"] for o in self.objects}

    @property
    def controller(self) -> Json:
        """The controller's pod template."""
        template: Json = self.find("Deployment")["spec"]["template"]
        return template

    @property
    def doctor(self) -> Json:
        """The pod of `helm test`."""
        return self.find("Pod", "art-stylefleet-doctor")

    def environment(self) -> dict[str, str]:
        """The controller's environment, with what Kubernetes puts in."""
        (container,) = self.controller["spec"]["containers"]
        fields = {"metadata.name": "art-stylefleet-0", "metadata.namespace": "art"}
        return {e["name"]: e["value"] if "value" in e else fields[_field(e)] for e in container["env"]}

    def settings(self) -> ControllerSettings:
        """As the controller reads them."""
        return controller_settings(self.environment())

    def job(self) -> Json:
        """A Job as the controller makes it with these settings."""
        return job_for(make_plan(), self.settings().worker)

    def pods(self) -> list[Json]:
        """Every pod template of the chart and of its controller."""
        retire = self.find("Job", "art-stylefleet-retire")["spec"]["template"]
        return [self.controller, self.doctor, retire, self.job()["spec"]["template"]]


def _field(entry: Json) -> str:
    return str(entry["valueFrom"]["fieldRef"]["fieldPath"])


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The chart, and the programs that render and judge it."""

    tools: Path
    schemas: Path

    def run(self, tool: str, *arguments: str, data: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.tools / tool, *arguments], input=data, capture_output=True, text=True, check=False, timeout=300
        )

    def template(self, values: Json) -> subprocess.CompletedProcess[str]:
        return _template(self, json.dumps(values))

    def render(self, values: Json) -> Rendered:
        done = self.template(values)
        assert done.returncode == 0, done.stderr
        return Rendered(objects=[o for o in yaml.load_all(done.stdout, yaml.CSafeLoader) if o])

    def forbidden(self, templates: Iterable[Json]) -> str:
        """What the restricted Pod Security Standard forbids in these pod templates, in its own words."""
        done = self.run("podsecurity", data="\n".join(json.dumps(t) for t in templates))
        assert done.returncode == 0, done.stderr
        return done.stdout


@functools.cache
def _template(chart: Chart, values: str) -> subprocess.CompletedProcess[str]:
    return chart.run("helm", "template", "art", str(CHART), "--namespace=art", "--values=-", data=values)


@pytest.fixture(scope="session")
def chart() -> Chart:
    if shutil.which("go") is None:
        absent("Helm and its checks are built with Go: install Go 1.24 or newer")
    lab = Lab()
    return Chart(tools=lab.chart_tool("helm").parent, schemas=lab.schemas())
