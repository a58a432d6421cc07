"""What an operator may add to worker pods, in Kubernetes' own words. Pure.

Nothing here can loosen the restricted Pod Security Standard: security contexts, volumes of other kinds and host
namespaces have no field, and annotations that would lift AppArmor or seccomp are refused.
"""

from __future__ import annotations

import json
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

from stylefleet import naming
from stylefleet.field_errors import explained
from stylefleet.fields import Model
from stylefleet.yaml_positions import Document

_NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
_QUALIFIED_NAME = r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
_LABEL_VALUE = r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$"
_OWN_LABELS = (naming.LABEL_MANAGED_BY, naming.LABEL_QUEUE, "job-name", "controller-uid")
_OWN_LABEL_PREFIXES = ("stylefleet.dev/", "batch.kubernetes.io/")
_LOOSENING = (
    "container.apparmor.security.beta.kubernetes.io/",
    "container.seccomp.security.alpha.kubernetes.io/",
    "seccomp.security.alpha.kubernetes.io/",
)

ObjectName = Annotated[str, Field(pattern=_NAME)]
QualifiedName = Annotated[str, Field(pattern=_QUALIFIED_NAME)]
LabelValue = Annotated[str, Field(pattern=_LABEL_VALUE)]


def _not_ours(labels: dict[str, str]) -> dict[str, str]:
    for name in labels:
        if name in _OWN_LABELS or name.startswith(_OWN_LABEL_PREFIXES):
            allowed = f"any but {', '.join(_OWN_LABELS)} and those of {' and '.join(_OWN_LABEL_PREFIXES)}"
            message = "this label is how workers are told from others' pods"
            raise PydanticCustomError("label", message, {"found": name, "allowed": allowed})
    return labels


def _not_loosening(annotations: dict[str, str]) -> dict[str, str]:
    for name in annotations:
        if name.startswith(_LOOSENING):
            message = "this annotation would lift what keeps workers confined"
            raise PydanticCustomError("annotation", message, {"found": name, "allowed": "none of AppArmor or seccomp"})
    return annotations


class Toleration(Model):
    """A taint that workers tolerate."""

    key: QualifiedName | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class ImagePullSecret(Model):
    """A Secret with which images are pulled."""

    name: ObjectName


class WorkerPod(Model):
    """Where and how worker pods run."""

    node_selector: dict[QualifiedName, LabelValue] = Field(default={})
    tolerations: list[Toleration] = Field(default=[])
    """Beside the one for the GPU's own taint."""
    runtime_class_name: ObjectName | None = None
    priority_class_name: ObjectName | None = None
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: list[ImagePullSecret] = Field(default=[])
    labels: Annotated[dict[QualifiedName, LabelValue], AfterValidator(_not_ours)] = Field(default={})
    """Of Jobs and their pods."""
    annotations: Annotated[dict[QualifiedName, str], AfterValidator(_not_loosening)] = Field(default={})
    """Of pods."""
    queue: LabelValue | None = None
    """Kueue LocalQueue for manifests that name none."""
    weights_claim: ObjectName | None = None
    """PersistentVolumeClaim, mounted read-only at /weights."""


def parse(text: str) -> WorkerPod:
    """The record in a JSON object; raises ValueError with every broken rule: where, what was found, what is allowed."""
    try:
        document = Document(data=json.loads(text))
        return WorkerPod.model_validate(document.data)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    except ValidationError as error:
        broken = [explained(e, document, WorkerPod) for e in error.errors()]
        raise ValueError(
            "; ".join(str(e) if e.path else f"found {e.found}, allowed is an object" for e in broken)
        ) from error
