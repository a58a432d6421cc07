"""What the authors of manifests and the names of objects cannot reach. SECURITY.md names these tests."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet import manifest as manifests
from stylefleet import naming
from stylefleet.errors import ManifestInvalid, PlanInvalid
from stylefleet.jobs import job_for
from stylefleet.naming import Ref
from tests.builders import TEMPLATE, make_listed, make_manifest, make_plan, make_styles, manifest_data, tasks_for

FOREIGN = (
    *("image", "command", "args", "env", "envFrom", "volumes", "serviceAccountName", "namespace", "nodeSelector"),
    *("endpoint", "endpointUrl", "roleArn", "credentials", "headers", "webhook", "weights", "securityContext"),
)


@pytest.mark.parametrize("field", FOREIGN)
@pytest.mark.parametrize("place", [(), ("spec",), ("spec", "run"), ("spec", "run", "resources"), ("spec", "recipe")])
def test_a_manifest_cannot_name_what_the_operator_decides(field: str, place: tuple[str, ...]) -> None:
    data = manifest_data("spring", run={"resources": {"gpu": 1}})
    part: dict[str, Any] = data
    for name in place:
        part = part[name]
    part[field] = "x"
    with pytest.raises(ManifestInvalid, match="there is no such field"):
        manifests.parse(json.dumps(data).encode(), name="spring")


def pod_of(**changes: Any) -> dict[str, Any]:
    """The pod of a plan, without what says which run it works for."""
    pod: dict[str, Any] = job_for(make_plan(**changes), TEMPLATE)["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    container["env"] = [v for v in container["env"] if v["name"] not in ("STYLEFLEET_NAME", "STYLEFLEET_RUN")]
    return pod


def test_no_field_of_a_plan_but_its_gpus_changes_the_pod() -> None:
    hostile = "x; $(id) --privileged"
    plan = make_plan()
    changes = {
        field.name: hostile
        for field in dataclasses.fields(plan)
        if isinstance(getattr(plan, field.name), str) or field.name == "queue"
    }
    assert changes
    changed = pod_of(**changes, output_prefix=Ref("other", hostile), parallelism=999, keep_metadata=(hostile,))
    assert changed == pod_of()


def test_a_job_names_the_secret_and_holds_no_credential() -> None:
    (container,) = job_for(make_plan(), TEMPLATE)["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "s3-credentials"}}]
    assert not [v for v in container["env"] if "KEY" in v["name"] or "TOKEN" in v["name"] or "SECRET" in v["name"]]


@pytest.mark.parametrize(
    "field",
    [
        {"content": {"prefix": "s3://other/catalog/"}},
        {"content": {"keys": ["s3://other/catalog/a.jpg"]}},
        {"styles": [{"image": "s3://shop/tenant-a-evil/waves.jpg"}]},
        {"styles": [{"image": "s3://shop/tenant-a/waves.jpg", "mask": "s3://other/masks/"}]},
        {"output": {"prefix": "s3://shop/tenant-b/out/"}},
        {"protect": "s3://shop/tenant-a-evil/masks/"},
        {"start": "s3://other/starts/", "recipe": {"start": "picture"}},
        {"output": {"prefix": "s3://shop/tenant-a/../tenant-b/"}},
        {"output": {"prefix": "s3://shop/tenant-a//x/"}},
        {"output": {"prefix": "https://shop/tenant-a/"}},
        {"output": {"prefix": "file:///etc/"}},
    ],
    ids=str,
)
def test_no_field_of_a_manifest_leads_out_of_the_allowed_folders(field: dict[str, Any]) -> None:
    inside: dict[str, Any] = {
        "content": {"prefix": "s3://shop/tenant-a/catalog/"},
        "styles": [{"image": "s3://shop/tenant-a/waves.jpg"}],
        "output": {"prefix": "s3://shop/tenant-a/out/"},
    }
    allowed = [Ref("shop", "tenant-a")]
    manifests.parse(json.dumps(manifest_data("spring", **inside)).encode(), name="spring", allowed=allowed)
    data = json.dumps(manifest_data("spring", **(inside | field))).encode()
    with pytest.raises(ManifestInvalid):
        manifests.parse(data, name="spring", allowed=allowed)


KEYS = st.text(min_size=1, max_size=30) | st.lists(
    st.sampled_from(["..", ".", "", "a", "runs", "jobs", "%2e%2e", "~", "-x", "a b", "\u202e"]), min_size=1, max_size=6
).map("/".join)


@given(KEYS)
def test_a_result_lies_below_the_output_folder_whatever_the_pictures_key_is(key: str) -> None:
    manifest = make_manifest(output={"prefix": "s3://service/out/"})
    try:
        tasks = tasks_for(manifest, make_styles(), [make_listed(f"catalog/{key}")])
    except PlanInvalid:
        return  # told, before any worker is asked for
    (task,) = tasks
    assert naming.is_below(task.output, Ref("service", "out/"))
    assert not task.output.key.startswith(naming.OWN_PREFIXES)
    assert not {"", ".", ".."} & set(task.output.key.split("/"))
