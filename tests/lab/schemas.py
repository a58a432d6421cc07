"""JSON Schemas of Kubernetes' objects for kubeconform, made from what Kubernetes itself publishes in its Go modules.

The modules come through the Go proxy like the lab's programs, and their sums stand here as in a go.sum. What is made
lies in the cache; nothing reaches the network once it is there.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .build import GO_ENVIRONMENT
from .errors import LabError
from .settings import LabPaths
from .shell import run, say

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Source:
    """One version of a Go module that carries schemas."""

    path: str
    version: str
    sum: str
    """h1 sum of the module's zip, as in a go.sum."""


KUBERNETES = (
    Source(path="k8s.io/kubernetes", version="v1.31.14", sum="h1:UtjLfqvXLuSVDdJ4+NpQCIfFkKkLnAAVmxAEMsnkhjk="),
    Source(path="k8s.io/kubernetes", version="v1.32.13", sum="h1:5TGYdZ6YZqdp6h/Rp1vX/4TIoybMPdgv97LCZCtPuNQ="),
    Source(path="k8s.io/kubernetes", version="v1.33.13", sum="h1:bmH31xUdSzeA5vk0wZAK9MZp11mdLuzUSeKk0qN3hPQ="),
    Source(path="k8s.io/kubernetes", version="v1.34.3", sum="h1:0TfljWbhEF5DBks+WFMSrvKfxBLo4vnZuqORjLMiyT4="),
)
PROMETHEUS_OPERATOR = Source(
    path="github.com/prometheus-operator/prometheus-operator",
    version="v0.85.0",
    sum="h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
)
CUSTOM_RESOURCES = "jsonnet/prometheus-operator"
"""Its CustomResourceDefinitions, as JSON."""
_LOOSE = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": ["string", "integer"]},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": ["string", "number"]},
}
"""Types that OpenAPI 2 cannot say."""


def kubernetes_versions() -> list[str]:
    """The minor versions that there are schemas for, as kubeconform wants them: `1.31.0`."""
    return [f"{source.version.removeprefix('v').rpartition('.')[0]}.0" for source in KUBERNETES]


def ensure(paths: LabPaths) -> Path:
    """The folder of the schemas, made where it is missing."""
    made_from = (*KUBERNETES, PROMETHEUS_OPERATOR)
    digest = hashlib.sha256(repr(made_from).encode() + Path(__file__).read_bytes()).hexdigest()[:16]
    target = paths.cache / f"schemas-{digest}"
    if target.is_dir():
        return target
    say(f"making schemas of Kubernetes {', '.join(s.version for s in KUBERNETES)}")
    with tempfile.TemporaryDirectory(prefix="schemas-", dir=paths.cache) as scratch:
        made = Path(scratch) / "schemas"
        for source, version in zip(KUBERNETES, kubernetes_versions(), strict=True):
            _write_kubernetes(_module(source), made / f"v{version}")
        _write_custom(_module(PROMETHEUS_OPERATOR), made / "custom")
        made.rename(target)  # the folder appears whole or not at all
    return target


def _module(source: Source) -> Path:
    """Its folder in Go's module cache; fetched where it is not there."""
    name = f"{source.path}@{source.version}"
    environment = {**os.environ, **GO_ENVIRONMENT}
    found = json.loads(run(["go", "mod", "download", "-json", name], env=environment, timeout_seconds=600))
    if found["Sum"] != source.sum:
        raise LabError(f"{name} has the sum {found['Sum']}, expected {source.sum}")
    return Path(found["Dir"])


def _write_kubernetes(module: Path, folder: Path) -> None:
    definitions = json.loads((module / "api/openapi-spec/swagger.json").read_bytes())["definitions"]
    folder.mkdir(parents=True)
    strict = {name: _LOOSE.get(name) or strictly(definition) for name, definition in definitions.items()}
    (folder / "_definitions.json").write_text(json.dumps({"definitions": strict}))
    for name, definition in definitions.items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            schema = {"$ref": f"_definitions.json#/definitions/{name}"}
            (folder / _file_name(**kind)).write_text(json.dumps(schema))


def _write_custom(module: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    for file in (module / CUSTOM_RESOURCES).glob("*-crd.json"):
        spec = json.loads(file.read_bytes())["spec"]
        for version in spec["versions"]:
            name = _file_name(group=spec["group"], version=version["name"], kind=spec["names"]["kind"])
            schema = strictly(version["schema"]["openAPIV3Schema"])
            (folder / name).write_text(json.dumps(schema))


def _file_name(*, group: str, version: str, kind: str) -> str:
    """kubeconform's ResourceKind and KindSuffix."""
    return "-".join(part for part in (kind.lower(), group.partition(".")[0], version) if part) + ".json"


def strictly(schema: Json) -> Json:
    """An OpenAPI schema that refuses unknown fields, as the API server does with fieldValidation=Strict."""
    strict = dict(_parts(schema))
    if "properties" in strict and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict


def _parts(schema: Json) -> Iterator[tuple[str, Any]]:
    for key, value in schema.items():
        if key == "properties":
            yield key, {name: strictly(part) for name, part in value.items()}
        elif key == "$ref":
            yield key, value.replace("#/definitions/", "_definitions.json#/definitions/")
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            yield key, strictly(value)
        elif key in ("anyOf", "oneOf", "allOf"):
            yield key, value  # of values' types only: fields stand beside them
        elif key in ("type", "required", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength"):
            yield key, value
