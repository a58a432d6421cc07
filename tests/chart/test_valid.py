"""What the chart gives is what Kubernetes takes, and what the restricted Pod Security Standard allows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from helm import render

from tests.chart.conftest import Chart, Json
from tests.chart.variants import VARIANTS
from tests.lab.schemas import kubernetes_versions

KUBECONFORM = ("-strict", "-summary")


def conform(chart: Chart, version: str, *files: Path) -> tuple[int, str]:
    locations = [
        f"{chart.schemas}/{folder}/{{{{ .ResourceKind }}}}{{{{ .KindSuffix }}}}.json"
        for folder in (f"v{version}", "custom")
    ]
    done = chart.run(
        "kubeconform",
        *KUBECONFORM,
        f"-kubernetes-version={version}",
        *(f"-schema-location={location}" for location in locations),
        *map(str, files),
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("version", kubernetes_versions())
def test_every_object_obeys_the_schemas_of_each_kubernetes(chart: Chart, version: str, tmp_path: Path) -> None:
    files = []
    for number, values in enumerate(VARIANTS.values()):
        rendered = chart.render(values)
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(yaml.safe_dump_all([*rendered.objects, rendered.job()]))
    code, said = conform(chart, version, *files)
    assert code == 0, said
    assert "Skipped: 0" in said


@pytest.mark.parametrize(
    "wrong",
    [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "a"}, "spec": {"portz": []}},
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "a"},
            "spec": {"template": {}, "completions": "2"},
        },
        {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "a"}, "spec": {"x": 1}},
    ],
)
def test_the_schemas_refuse_what_kubernetes_refuses(chart: Chart, wrong: Json, tmp_path: Path) -> None:
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(wrong))
    for version in kubernetes_versions():
        code, said = conform(chart, version, file)
        assert code != 0, said
        assert "Invalid: 1" in said


def test_the_linter_has_nothing_to_say(chart: Chart, tmp_path: Path) -> None:
    for values in VARIANTS.values():
        file = tmp_path / "values.json"
        file.write_text(json.dumps(values))
        done = chart.run("helm", "lint", "--strict", f"--values={file}", str(render.CHART))
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_pod_is_allowed_where_the_restricted_standard_is_enforced(chart: Chart, variant: str) -> None:
    rendered = chart.render(VARIANTS[variant])
    assert chart.forbidden(rendered.pods()) == ""
    for pod in rendered.pods():
        for container in pod["spec"]["containers"]:
            assert (
                container["securityContext"]["readOnlyRootFilesystem"] is True
            )  # which that standard does not ask for


def test_the_judge_of_pods_sees_what_is_forbidden(chart: Chart) -> None:
    pod = chart.render(VARIANTS["defaults"]).controller
    pod["spec"]["hostNetwork"] = True
    del pod["spec"]["securityContext"]["seccompProfile"]
    said = chart.forbidden([pod])
    assert "host namespaces" in said
    assert "seccompProfile" in said


@pytest.mark.parametrize(
    "override",
    [
        {"controller": {"securityContext": {"privileged": True}}},
        {"controller": {"podSecurityContext": {"runAsUser": 0}}},
        {"controller": {"hostNetwork": True}},
        {"controller": {"podAnnotations": {"container.apparmor.security.beta.kubernetes.io/controller": "unconfined"}}},
        {"controller": {"podAnnotations": {"seccomp.security.alpha.kubernetes.io/pod": "unconfined"}}},
        {"worker": {"securityContext": {"allowPrivilegeEscalation": True}}},
        {"worker": {"hostIPC": True}},
        {"worker": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}},
        {"worker": {"annotations": {"container.apparmor.security.beta.kubernetes.io/worker": "unconfined"}}},
        {"worker": {"tolerations": [{"key": "a", "securityContext": {}}]}},
    ],
)
def test_no_value_can_loosen_the_restricted_standard(chart: Chart, override: Json) -> None:
    done = chart.template({"storage": {"bucket": "service"}} | override)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr


def test_a_null_takes_nothing_away(chart: Chart) -> None:
    nulls = {"controller": {"podSecurityContext": None, "securityContext": None}, "worker": {"securityContext": None}}
    assert chart.render(VARIANTS["defaults"] | nulls) == chart.render(VARIANTS["defaults"])


@pytest.mark.parametrize(
    "labels",
    [{"app.kubernetes.io/name": "x"}, {"app.kubernetes.io/managed-by": "x"}, {"stylefleet.dev/bucket": "x"}],
)
@pytest.mark.parametrize("place", ["common", "controller", "worker"])
def test_labels_that_select_pods_are_not_the_operators(chart: Chart, labels: Json, place: str) -> None:
    where = {"common": {"commonLabels": labels}, "controller": {"controller": {"podLabels": labels}}}
    done = chart.template({"storage": {"bucket": "service"}} | where.get(place, {"worker": {"labels": labels}}))
    assert done.returncode != 0
    assert next(iter(labels)) in done.stderr


def test_the_manifests_for_those_without_helm_are_the_chart_with_its_defaults(chart: Chart) -> None:
    assert render.MANIFESTS.read_text() == render.rendered(chart.tools / "helm"), "run: make render"


def test_kustomize_puts_bucket_and_images_everywhere(chart: Chart) -> None:
    done = chart.run("kustomize", "build", str(render.MANIFESTS.parent))
    assert done.returncode == 0, done.stderr
    objects = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(done.stdout)}
    (container,) = objects["Deployment", "stylefleet"]["spec"]["template"]["spec"]["containers"]
    environment = {e["name"]: e.get("value") for e in container["env"]}
    assert container["image"] == "registry.example.com/stylefleet-controller:0.1.0"
    assert environment["STYLEFLEET_BUCKET"] == "shop-stylefleet"
    assert environment["STYLEFLEET_WORKER_IMAGE"] == "registry.example.com/stylefleet-worker-gpu:0.1.0"
    selected = objects["NetworkPolicy", "stylefleet-worker"]["spec"]["podSelector"]["matchLabels"]
    assert selected["stylefleet.dev/bucket"] == "shop-stylefleet"
    namespace = objects["Namespace", "stylefleet"]["metadata"]["labels"]
    assert namespace["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {o["metadata"].get("namespace") for o in objects.values() if o["kind"] != "Namespace"} == {"stylefleet"}
