"""values.yaml: every value is documented, does something, and is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import jsonschema
import pytest
import yaml
from helm import values_schema
from helm.render import CHART

from tests.chart.conftest import Chart, Json
from tests.chart.variants import SHA256, SPREAD, TOLERATION

VALUES: Json = yaml.safe_load(values_schema.VALUES.read_text())
SCHEMA: Json = json.loads(values_schema.SCHEMA.read_text())


def leaves(values: Json, schema: Json, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of all values; an object that is a value as a whole, such as labels, has no paths of its own."""
    for name, value in values.items():
        below = schema["properties"][name]
        if isinstance(value, dict) and "properties" in below:
            yield from leaves(value, below, (*path, name))
        else:
            yield (*path, name)


LEAVES = list(leaves(VALUES, SCHEMA))
ON: Json = {
    "storage": {"bucket": "service"},
    "metrics": {
        "podMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True},
        "dashboard": {"enabled": True},
    },
}
IRSA = {"identity": {"kind": "irsa", "controller": "arn:aws:iam::1:role/c"}}
FROM_S3 = {"worker": {"weights": {"from": "s3", "uri": "s3://models/a.h5", "sha256": SHA256}}}
FROM_CLAIM = {"worker": {"weights": {"from": "claim", "claim": "models", "sha256": SHA256}}}
PEER = {"ipBlock": {"cidr": "10.1.0.0/16"}}
OTHERS: dict[str, tuple[Any, Json]] = {
    # What a value is changed to, and the values with which it counts.
    "doctor.gpus": (0, {}),
    "imagePullSecrets": ([{"name": "registry"}], {}),
    "storage.bucket": ("other", {}),
    "storage.endpoint": ("http://minio:9000", {}),
    "storage.allowed": (["s3://shop/"], {}),
    "tenants": ([{"name": "toys", "allowed": ["s3://toys/"]}], {}),
    "tracing.endpoint": ("http://collector:4318", {}),
    "cost.pricePerGpuHour": (0.35, {}),
    "cost.currency": ("EUR", {"cost": {"pricePerGpuHour": 0}}),
    "notifications.queueUrl": ("http://elasticmq:9324/0/inbox", {}),
    "identity.kind": ("podIdentity", {}),
    "identity.controller": ("arn:aws:iam::1:role/other", IRSA),
    "identity.worker": ("arn:aws:iam::1:role/other", IRSA),
    "controller.image.digest": (f"sha256:{SHA256}", {}),
    "controller.resources": ({"requests": {"cpu": "1"}}, {}),
    "controller.serviceAccount.create": (False, {"controller": {"serviceAccount": {"name": "ours"}}}),
    "controller.tolerations": ([TOLERATION], {}),
    "controller.affinity": ({"podAntiAffinity": {}}, {}),
    "controller.topologySpreadConstraints": ([SPREAD], {}),
    "worker.image.digest": (f"sha256:{SHA256}", {}),
    "worker.serviceAccount.create": (False, {"worker": {"serviceAccount": {"name": "theirs"}}}),
    "worker.weights.from": ("claim", FROM_S3 | {"worker": {"weights": {**FROM_S3["worker"]["weights"], "claim": "c"}}}),
    "worker.weights.uri": ("s3://models/b.h5", FROM_S3),
    "worker.weights.claim": ("other", FROM_CLAIM),
    "worker.weights.file": ("other.h5", FROM_CLAIM),
    "worker.weights.sha256": ("cd" * 32, FROM_CLAIM),
    "worker.tolerations": ([TOLERATION], {}),
    "worker.spot": ("gke", {}),
    "networkPolicy.dns": ([PEER], {}),
    "networkPolicy.dnsPorts": ([5353], {}),
    "networkPolicy.apiServerCidrs": (["10.0.0.1/32"], {}),
    "networkPolicy.apiServerPorts": ([8443], {}),
    "networkPolicy.s3Cidrs": (["10.0.0.2/32"], {}),
    "networkPolicy.s3Ports": ([9000], {}),
    "networkPolicy.metricsFrom": ([PEER], {}),
    "networkPolicy.extraEgress": ([{"to": [PEER]}], {}),
    "extraObjects": ([{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "more"}}], {}),
}


def other(path: str, value: Any, schema: Json) -> Any:
    """Another value that is allowed."""
    if path in OTHERS:
        return OTHERS[path][0]
    if "enum" in schema:
        return next(choice for choice in schema["enum"] if choice != value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, dict):
        return {"example.com/other": "other"}
    assert isinstance(value, str), path
    return "other"


def merged(base: Json, over: Json) -> Json:
    result = deepcopy(base)
    for name, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], value) if both else value
    return result


def at(path: tuple[str, ...], value: Any) -> Json:
    for name in reversed(path):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def test_the_committed_schema_is_made_from_the_values() -> None:
    assert values_schema.schema(values_schema.VALUES.read_text()) == SCHEMA, "run: make render"


def test_a_value_without_a_comment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"storage\.region has no comment"):
        values_schema.schema("# Where.\nstorage:\n  # What.\n  bucket: a\n\n  region: b\n")


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_every_value_changes_something(chart: Chart, path: tuple[str, ...]) -> None:
    name = ".".join(path)
    context = merged(ON, OTHERS.get(name, (None, {}))[1])
    value, schema = merged(VALUES, context), SCHEMA
    for part in path:
        value, schema = value[part], schema["properties"][part]
    before = chart.template(context)
    after = chart.template(merged(context, at(path, other(name, value, schema))))
    assert before.returncode == 0, before.stderr
    assert after.returncode == 0, after.stderr
    assert before.stdout != after.stdout


def test_no_template_asks_for_a_value_that_is_not_documented() -> None:
    documented = {".".join(path) for path in LEAVES}
    parents = {name.rsplit(".", depth)[0] for name in documented for depth in range(1, 4)}
    for file in sorted((CHART / "templates").rglob("*.*")):
        for name in re.findall(r"\.Values\.([A-Za-z0-9.]+)", file.read_text()):
            assert name.rstrip(".") in documented | parents, f"{file.name}: .Values.{name}"


def test_a_misspelled_value_is_refused_wherever_it_stands(chart: Chart) -> None:
    judge = jsonschema.Draft202012Validator(SCHEMA)
    assert judge.is_valid(ON)
    for path in LEAVES:
        assert not judge.is_valid(merged(ON, at((*path[:-1], f"{path[-1]}s"), "x"))), path
    assert "replica" in chart.template(merged(ON, {"controller": {"replica": 1}})).stderr  # and Helm asks it


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({}, "storage.bucket is required: the bucket in which manifests, plans and receipts are kept"),
        ({"identity": {"kind": "irsa"}}, "identity.controller is required with identity.kind irsa"),
        ({"worker": {"weights": {"from": "s3"}}}, "worker.weights.uri is required with worker.weights.from s3"),
        ({"worker": {"weights": {"from": "claim"}}}, "worker.weights.claim is required"),
        (
            {"worker": {"weights": {"from": "s3", "uri": "s3://models/vgg19.h5"}}},
            "worker.weights.sha256 is required with worker.weights.from s3",
        ),
        ({"controller": {"serviceAccount": {"create": False}}}, "controller.serviceAccount.name is required"),
        ({"worker": {"serviceAccount": {"create": False}}}, "worker.serviceAccount.name is required"),
    ],
)
def test_what_is_missing_is_told_in_a_sentence(chart: Chart, values: Json, told: str) -> None:
    done = chart.template({"storage": {"bucket": "service"}} | values if values else {})
    assert done.returncode != 0
    assert told in done.stderr


@pytest.mark.parametrize(
    "values",
    [
        {"storage": {"bucket": "Not A Bucket"}},
        {"storage": {"bucket": "service", "endpoint": "minio:9000"}},
        {"storage": {"bucket": "service"}, "identity": {"kind": "aws"}},
        {"storage": {"bucket": "service"}, "controller": {"replicas": 0}},
        {"storage": {"bucket": "service"}, "controller": {"image": {"digest": "latest"}}},
        {"storage": {"bucket": "service"}, "worker": {"weights": {"sha256": "short"}}},
        {"storage": {"bucket": "service"}, "worker": {"spot": "yes"}},
        {"storage": {"bucket": "service"}, "worker": {"nodeSelector": {"gpu": True}}},
    ],
)
def test_an_unusable_value_is_refused_before_anything_is_rendered(chart: Chart, values: Json) -> None:
    done = chart.template(values)
    assert done.returncode != 0
    assert "values don't meet the specifications of the schema" in done.stderr
