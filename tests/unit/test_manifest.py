from __future__ import annotations

import json

import jsonschema
import pytest
import yaml

from stylefleet import manifest as manifests
from stylefleet.errors import FieldError, ManifestInvalid
from stylefleet.manifest import ERRORS_MAX, KEYS_MAX, STYLES_MAX, Manifest
from stylefleet.naming import Ref
from tests.builders import manifest_bytes, manifest_data

GOOD = """\
apiVersion: stylefleet.dev/v1
kind: StyleJob
metadata:
  name: spring
spec:
  content:
    prefix: s3://shop/catalog/
    exclude: ["*_thumb.jpg"]
  styles:
    - image: s3://shop/styles/starry_night.jpg
      weight: 0.7
    - {image: s3://shop/styles/the_scream.jpg, weight: 3}
  output:
    prefix: s3://shop/restyled/spring/
    format: png
    quality: 80
  recipe:
    preset: draft
    size: 1024
    contentWeight: 1.0e+3
    styleWeight: 1e-2
  run:
    parallelism: 4
    queue: gpu-batch
    resources: {gpu: 0}
"""


def parse(text: str, **options: object) -> Manifest:
    return manifests.parse(text.encode(), name="spring", **options)  # type: ignore[arg-type]


def errors_of(text: str, **options: object) -> tuple[FieldError, ...]:
    with pytest.raises(ManifestInvalid) as caught:
        parse(text, **options)
    return caught.value.errors


def only_error(text: str, **options: object) -> FieldError:
    (error,) = errors_of(text, **options)
    return error


def edited(old: str, new: str) -> str:
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def line_of(text: str, part: str) -> int:
    """1-based number of the one line that holds `part`."""
    (line,) = [i for i, one in enumerate(text.splitlines(), start=1) if part in one]
    return line


def test_a_good_manifest_is_read_with_every_field() -> None:
    spec = parse(GOOD).spec
    assert spec.content.prefix == "s3://shop/catalog/"
    assert spec.content.exclude == ["*_thumb.jpg"]
    assert spec.content.include == ["*.jpg", "*.jpeg", "*.png", "*.webp"]
    assert [(s.image, s.weight) for s in spec.styles] == [
        ("s3://shop/styles/starry_night.jpg", 0.7),
        ("s3://shop/styles/the_scream.jpg", 3.0),
    ]
    assert (spec.output.prefix, spec.output.format, spec.output.quality) == ("s3://shop/restyled/spring/", "png", 80)
    assert (spec.run.parallelism, spec.run.queue, spec.run.resources.gpu) == (4, "gpu-batch", 0)
    recipe = spec.recipe.to_recipe()
    assert (recipe.size_px, recipe.content_weight, recipe.style_weight) == (1024, 1000.0, 0.01)


def test_what_is_left_out_has_its_default() -> None:
    manifest = manifests.parse(manifest_bytes(recipe=None, run=None), name="spring")
    assert manifest.spec.recipe.preset == "balanced"
    assert manifest.spec.run.parallelism == 8
    assert manifest.spec.output.format == "jpeg"


@pytest.mark.parametrize(
    ("old", "new", "path", "at", "message", "found", "allowed"),
    [
        (
            "stylefleet.dev/v1",
            "stylefleet.dev/v2",
            "apiVersion",
            "apiVersion",
            "the value is not one of the choices",
            "'stylefleet.dev/v2'",
            "'stylefleet.dev/v1'",
        ),
        ("kind: StyleJob\n", "", "kind", "apiVersion", "this field is required", "", ""),
        (
            "weight: 0.7",
            "wieght: 0.7",
            "spec.styles[0].wieght",
            "wieght",
            "there is no such field",
            "wieght",
            "did you mean weight?",
        ),
        (
            "    queue: gpu-batch",
            "    zzz: 1",
            "spec.run.zzz",
            "zzz",
            "there is no such field",
            "zzz",
            "parallelism, queue, resources",
        ),
        (
            "contentWeight: 1.0e+3",
            "content_weight: 1",
            "spec.recipe.content_weight",
            "content_weight",
            "there is no such field",
            "content_weight",
            "did you mean contentWeight?",
        ),
        (
            "weight: 0.7",
            "weight: 0",
            "spec.styles[0].weight",
            "weight: 0",
            "the number is out of range",
            "0",
            "greater than 0",
        ),
        (
            "weight: 0.7",
            "weight: true",
            "spec.styles[0].weight",
            "weight: true",
            "the value should be a valid number",
            "True",
            "",
        ),
        (
            "weight: 0.7",
            "weight: '0.7'",
            "spec.styles[0].weight",
            "weight: '0.7'",
            "the value should be a valid number",
            "'0.7'",
            "",
        ),
        (
            "contentWeight: 1.0e+3",
            "contentWeight: .nan",
            "spec.recipe.contentWeight",
            "contentWeight",
            "the value should be a finite number",
            "nan",
            "",
        ),
        (
            "contentWeight: 1.0e+3",
            "contentWeight: -.inf",
            "spec.recipe.contentWeight",
            "contentWeight",
            "the value should be a finite number",
            "-inf",
            "",
        ),
        (
            "contentWeight: 1.0e+3",
            "contentWeight: 1e999",
            "spec.recipe.contentWeight",
            "contentWeight",
            "the value should be a finite number",
            "inf",
            "",
        ),
        (
            "size: 1024",
            "size: 1024.0",
            "spec.recipe.size",
            "size:",
            "the value should be a valid integer",
            "1024.0",
            "",
        ),
        (
            "size: 1024",
            "size: 8",
            "spec.recipe.size",
            "size:",
            "the number is out of range",
            "8",
            "greater than or equal to 16",
        ),
        (
            "quality: 80",
            "quality: true",
            "spec.output.quality",
            "quality",
            "the value should be a valid integer",
            "True",
            "",
        ),
        (
            "quality: 80",
            "quality: 101",
            "spec.output.quality",
            "quality",
            "the number is out of range",
            "101",
            "less than or equal to 100",
        ),
        (
            "preset: draft",
            "preset: no",
            "spec.recipe.preset",
            "preset",
            "the value is not one of the choices",
            "'no'",
            "'draft', 'balanced' or 'fine'",
        ),
        (
            "image: s3://shop/styles/starry_night.jpg",
            "image: https://shop/a.jpg",
            "spec.styles[0].image",
            "image: https",
            "not of the form s3://bucket/key",
            "'https://shop/a.jpg'",
            "s3://bucket/key",
        ),
        (
            "image: s3://shop/styles/starry_night.jpg",
            "image: s3://shop/styles/",
            "spec.styles[0].image",
            "- image:",
            "this is a folder, not a picture",
            "'s3://shop/styles/'",
            "s3://bucket/key",
        ),
        (
            "prefix: s3://shop/catalog/",
            "prefix: s3://shop/catalog",
            "spec.content.prefix",
            "s3://shop/catalog",
            "the prefix must end with '/'",
            "",
            "s3://shop/catalog/",
        ),
        (
            "prefix: s3://shop/restyled/spring/",
            "prefix: s3://shop/restyled",
            "spec.output.prefix",
            "s3://shop/restyled",
            "the prefix must end with '/'",
            "",
            "s3://shop/restyled/",
        ),
        (
            "prefix: s3://shop/restyled/spring/",
            "prefix: s3://shop/catalog/new/",
            "spec.output.prefix",
            "s3://shop/catalog/new/",
            "results inside the content folder would be restyled again by the next run",
            "s3://shop/catalog/new/",
            "a folder outside s3://shop/catalog/",
        ),
        (
            "prefix: s3://shop/catalog/\n",
            "keys: []\n",
            "spec.content.keys",
            "keys",
            "List should have at least 1 item after validation, not 0",
            "[]",
            "",
        ),
        (
            "    exclude:",
            "    keys: [s3://shop/a.jpg]\n    exclude:",
            "spec.content",
            "content:",
            "give exactly one of prefix and keys",
            "",
            "prefix or keys",
        ),
        (
            "    prefix: s3://shop/catalog/\n",
            "",
            "spec.content",
            "content:",
            "give exactly one of prefix and keys",
            "",
            "prefix or keys",
        ),
        (
            "prefix: s3://shop/catalog/\n",
            "keys: [s3://shop/a.jpg]\n",
            "spec.content",
            "content:",
            "include and exclude go with prefix only",
            "",
            "no patterns with keys",
        ),
        (
            "    prefix: s3://shop/catalog/\n    exclude",
            "    keys: [s3://shop/a.jpg, s3://shop/b/../c.jpg]\n    exclude",
            "spec.content.keys[1]",
            "keys",
            "the key has an empty, '.' or '..' segment",
            "'s3://shop/b/../c.jpg'",
            "s3://bucket/key",
        ),
        (
            "    resources: {gpu: 0}",
            "    resources: 1",
            "spec.run.resources",
            "resources",
            "fields are expected here",
            "1",
            "gpu",
        ),
        (
            "    queue: gpu-batch",
            "    queue: GPU",
            "spec.run.queue",
            "queue",
            r"String should match pattern '^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$'",
            "'GPU'",
            "",
        ),
        (
            "name: spring",
            "name: Spring",
            "metadata.name",
            "name: Spring",
            "the name is not usable",
            "'Spring'",
            "1 to 63 lower-case letters, digits and hyphens; a letter or digit at both ends",
        ),
        (
            "name: spring",
            "name: autumn",
            "metadata.name",
            "name: autumn",
            "the name and the file's name differ",
            "autumn",
            "spring (the file is jobs/spring.yaml)",
        ),
        ("name: spring", "name: 7", "metadata.name", "name: 7", "the value should be a valid string", "7", ""),
    ],
)
def test_a_broken_rule_is_told_with_path_line_what_was_found_and_what_is_allowed(
    old: str, new: str, path: str, at: str, message: str, found: str, allowed: str
) -> None:
    text = edited(old, new)
    error = only_error(text)
    assert (error.path, error.message, error.found, error.allowed) == (path, message, found, allowed)
    assert error.line == line_of(text, at)


def test_a_document_that_is_no_mapping_is_told_which_fields_it_needs() -> None:
    error = only_error("- 1")
    assert (error.path, error.message, error.allowed) == (
        "",
        "fields are expected here",
        "apiVersion, kind, metadata, spec",
    )


def test_every_broken_field_is_told_at_once() -> None:
    text = GOOD.replace("preset: draft", "preset: quick").replace("weight: 0.7", "weight: -1")
    text = text.replace("name: spring", "name: Spring")
    text = text.replace("parallelism: 4", "paralelism: 4")
    assert {e.path for e in errors_of(text)} == {
        "metadata.name",
        "spec.recipe.preset",
        "spec.styles[0].weight",
        "spec.run.paralelism",
    }


def test_every_forbidden_place_is_told_at_once() -> None:
    errors = errors_of(GOOD, allowed=(Ref("elsewhere", ""),))
    assert [(e.path, e.line) for e in errors] == [
        ("spec.output.prefix", line_of(GOOD, "restyled")),
        ("spec.styles[0].image", line_of(GOOD, "starry")),
        ("spec.styles[1].image", line_of(GOOD, "scream")),
        ("spec.content.prefix", line_of(GOOD, "catalog")),
    ]
    assert {e.allowed for e in errors} == {"s3://elsewhere/"}


def test_a_file_of_nothing_but_errors_gets_a_bounded_answer() -> None:
    data = manifest_data()
    data["spec"]["run"] = {f"zzz{n}": 1 for n in range(5000)}
    with pytest.raises(ManifestInvalid) as caught:
        manifests.parse(json.dumps(data).encode(), name="spring")
    errors = caught.value.errors
    assert len(errors) == ERRORS_MAX + 1
    assert errors[-1].message == f"there are more than {ERRORS_MAX} errors"


def test_a_long_value_is_shortened_in_the_answer() -> None:
    error = only_error(edited("preset: draft", f"preset: {'x' * 5000}"))
    assert len(error.found) <= 80
    error = only_error(edited("preset: draft", f"{'x' * 1000}: 1"))
    assert len(error.found) <= 80


@pytest.mark.parametrize(
    ("allowed", "good"),
    [
        ("s3://shop/", True),
        ("s3://shop/restyled/spring/ s3://shop/styles/ s3://shop/catalog/", True),
        ("s3://shop/restyled s3://shop/styles s3://shop/catalog", True),
        ("s3://shop/rest s3://shop/styles s3://shop/catalog", False),
        ("s3://shop-2/", False),
        ("s3://sho/", False),
    ],
)
def test_only_allowed_folders_may_be_named_and_a_like_beginning_is_not_enough(allowed: str, good: bool) -> None:
    places = tuple(Ref(*uri.removeprefix("s3://").split("/", 1)) for uri in allowed.split())
    if good:
        parse(GOOD, allowed=places)
    else:
        assert {e.message for e in errors_of(GOOD, allowed=places)} == {"this place is not allowed"}


@pytest.mark.parametrize("folder", ["", "jobs/", "jobs/x/", "status/", "runs/", "cache/style/"])
def test_results_never_go_to_the_services_own_folders(folder: str) -> None:
    text = edited("s3://shop/restyled/spring/", f"s3://service/{folder}")
    error = only_error(text, service_bucket="service")
    assert (error.path, error.message) == ("spec.output.prefix", "this folder belongs to the service")
    parse(text, service_bucket="another")


def test_results_may_go_beside_the_services_own_folders() -> None:
    parse(edited("s3://shop/restyled/spring/", "s3://service/jobs-done/"), service_bucket="service")


def test_results_may_go_to_a_folder_whose_name_begins_like_the_content_folder() -> None:
    parse(edited("prefix: s3://shop/restyled/spring/", "prefix: s3://shop/catalog-new/"))


@pytest.mark.parametrize(
    ("field", "most"),
    [("styles", STYLES_MAX), ("keys", KEYS_MAX), ("include", manifests.PATTERNS_MAX)],
)
def test_lists_are_bounded(field: str, most: int) -> None:
    def with_items(count: int) -> bytes:
        match field:
            case "styles":
                return manifest_bytes(styles=[{"image": "s3://shop/s.jpg"}] * count)
            case "keys":
                return manifest_bytes(content={"keys": [f"s3://shop/{n}" for n in range(count)]})
            case _:
                return manifest_bytes(content={"prefix": "s3://shop/catalog/", "include": ["*.jpg"] * count})

    manifests.parse(with_items(most), name="spring")
    with pytest.raises(ManifestInvalid) as caught:
        manifests.parse(with_items(most + 1), name="spring")
    assert [e.path.rpartition(".")[2] for e in caught.value.errors] == [field]


@pytest.mark.parametrize("name", ["a", "a-1", "x" * 63, "0"])
def test_names_that_fit_a_kubernetes_label_are_usable(name: str) -> None:
    manifests.parse(manifest_bytes(name), name=name)


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a_b", "x" * 64, "a b", "a\n", "ä"])
def test_other_names_are_not(name: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        manifests.parse(manifest_bytes(name, output={"prefix": "s3://shop/restyled/"}), name=name)
    assert [e.message for e in caught.value.errors if e.path == "metadata.name"] == ["the name is not usable"]


def test_the_schema_is_valid_json_schema_and_describes_every_field() -> None:
    schema = manifests.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    fields = {
        (model, field): facts
        for model, part in schema["$defs"].items()  # type: ignore[attr-defined]
        for field, facts in part["properties"].items()
    }
    without = {k for k, facts in fields.items() if "description" not in facts and "$ref" not in facts}
    parts = {("Spec", "content"), ("Spec", "output"), ("Spec", "recipe"), ("Spec", "run"), ("RunSpec", "resources")}
    assert without <= parts


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("kind: StyleJob\n", ""),
        ("weight: 0.7", "wieght: 0.7"),
        ("weight: 0.7", "weight: 0"),
        ("weight: 0.7", "weight: true"),
        ("preset: draft", "preset: quick"),
        ("size: 1024", "size: 5000"),
        ("quality: 80", "quality: high"),
        ("    queue: gpu-batch", "    queue: GPU"),
        ("name: spring", "name: Spring"),
    ],
)
def test_the_schema_refuses_what_the_parser_refuses(old: str, new: str) -> None:
    validator = jsonschema.Draft202012Validator(manifests.json_schema())
    assert validator.is_valid(yaml.safe_load(GOOD.replace("1e-2", "0.01")))
    text = edited(old, new)
    assert not validator.is_valid(yaml.safe_load(text.replace("1e-2", "0.01")))
    assert errors_of(text)


def test_the_digest_is_of_the_bytes() -> None:
    assert manifests.digest(b"a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
