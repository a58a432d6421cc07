from __future__ import annotations

import dataclasses
import json

import jsonschema
import pytest
import yaml

from stylefleet import manifest as manifests
from stylefleet.errors import FieldError, ManifestInvalid
from stylefleet.field_errors import ERRORS_MAX
from stylefleet.fields import PATTERNS_MAX
from stylefleet.manifest import KEYS_MAX, STYLES_MAX, Manifest
from stylefleet.naming import Ref
from stylefleet.presets import recipe_for
from stylefleet.recipe import LayerWeight, Recipe, Refinement, Scale
from stylefleet.recipe_spec import REFINE_MAX, SCALES_MAX, RecipeSpec
from tests.builders import make_manifest, manifest_bytes, manifest_data

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
    depth: 16
    keepMetadata: [icc, exif]
  recipe:
    preset: draft
    size: 1024
    contentWeight: 1.0e+3
    styleWeight: 1e-2
  run:
    parallelism: 4
    queue: gpu-batch
    priority: high
    deadline: 90m
    maxFailures: 2.5%
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
    assert (spec.output.depth, spec.output.keep_metadata) == (16, ["exif", "icc"])
    assert (spec.run.parallelism, spec.run.queue, spec.run.resources.gpu) == (4, "gpu-batch", 0)
    assert (spec.run.priority, spec.run.deadline, spec.run.max_failures) == ("high", "90m", "2.5%")
    recipe = spec.recipe.to_recipe()
    assert (recipe.size_px, recipe.content_weight, recipe.style_weight) == (1024, 1000.0, 0.01)


def test_what_is_left_out_has_its_default() -> None:
    manifest = manifests.parse(manifest_bytes(recipe=None, run=None), name="spring")
    assert manifest.spec.recipe.preset == "balanced"
    run = manifest.spec.run
    assert (run.parallelism, run.priority, run.deadline, run.max_failures) == (8, "normal", None, None)
    output = manifest.spec.output
    assert (output.format, output.depth, output.keep_metadata) == ("jpeg", 8, [])


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
            "parallelism, minParallelism, queue, priority, deadline, maxFailures, resources",
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
            "depth: 16",
            "depth: 12",
            "spec.output.depth",
            "depth",
            "the value is not one of the choices",
            "12",
            "8 or 16",
        ),
        (
            "    format: png",
            "    format: webp",
            "spec.output.depth",
            "depth",
            "16 bit is for PNG only",
            "16",
            "8, or format: png",
        ),
        (
            "    format: png",
            "    format: bmp",
            "spec.output.format",
            "format",
            "the value is not one of the choices",
            "'bmp'",
            "'jpeg', 'png' or 'webp'",
        ),
        (
            "keepMetadata: [icc, exif]",
            "keepMetadata: [icc, xmp]",
            "spec.output.keepMetadata[1]",
            "keepMetadata",
            "the value is not one of the choices",
            "'xmp'",
            "'icc' or 'exif'",
        ),
        (
            "preset: draft",
            "preset: no",
            "spec.recipe.preset",
            "preset",
            "the value is not one of the choices",
            "'no'",
            "'draft', 'balanced', 'fine', 'impressionist' or 'portrait'",
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
            "the text is not of this form",
            "'GPU'",
            "^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$",
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


def recipe_errors(**fields: object) -> list[FieldError]:
    with pytest.raises(ManifestInvalid) as caught:
        manifests.parse(manifest_bytes(recipe=fields), name="spring")
    return list(caught.value.errors)


@pytest.mark.parametrize(
    ("fields", "path", "found", "allowed"),
    [
        ({"styleLayers": {"block9": 1}}, "spec.recipe.styleLayers.block9", "block9", "block1_conv1, block1_conv2"),
        ({"contentLayers": {"block4_conv4": 1}}, "spec.recipe.contentLayers.block4_conv4", "block4_conv4", "_conv3"),
        ({"contentLayers": {"block4_conv2": 0}}, "spec.recipe.contentLayers", "weights of 0", "a weight above 0"),
        ({"contentLayers": {}}, "spec.recipe.contentLayers", "", ""),
        ({"styleLayers": {"block1_conv1": -1}}, "spec.recipe.styleLayers.block1_conv1", "-1", "greater than or equal"),
        ({"contentWeight": 0, "styleWeight": 0}, "spec.recipe.styleWeight", "0", "more than 0 for one of them"),
        ({"learningRate": 0}, "spec.recipe.learningRate", "0", "greater than or equal to 0.1"),
        ({"averaging": 1}, "spec.recipe.averaging", "1", "less than 1"),
        ({"plateau": -1}, "spec.recipe.plateau", "-1", "greater than or equal to 0"),
        ({"colors": "colour"}, "spec.recipe.colors", "'colour'", "'style', 'match' or 'luminance'"),
        ({"scales": []}, "spec.recipe.scales", "[]", ""),
        ({"scales": [{"size": 64}]}, "spec.recipe.scales[0].iterations", "", ""),
        ({"scales": [{"size": 64, "iterations": 0}]}, "spec.recipe.scales[0].iterations", "0", "greater than or equal"),
        (
            {"scales": [{"size": 64, "iteration": 1, "iterations": 1}]},
            "spec.recipe.scales[0].iteration",
            "iteration",
            "",
        ),
        (
            {"scales": [{"size": 64, "iterations": 1}, {"size": 32, "iterations": 1}]},
            "spec.recipe.scales[1].size",
            "32",
            "more than 64",
        ),
        ({"size": 64, "scales": [{"size": 32, "iterations": 1}]}, "spec.recipe.scales[0].size", "32", "64"),
        ({"refine": [{}]}, "spec.recipe.refine[0].box", "", ""),
        ({"refine": [{"box": [0, 0, 1]}]}, "spec.recipe.refine[0].box", "[0, 0, 1]", ""),
        ({"refine": [{"box": [0, 0, 2, 1]}]}, "spec.recipe.refine[0].box[2]", "2", "less than or equal to 1"),
        ({"refine": [{"box": [0.5, 0, 0.5, 1]}]}, "spec.recipe.refine[0].box", "[0.5, 0.0, 0.5, 1.0]", "left < right"),
        (
            {"size": 8192, "refine": [{"box": [0, 0, 1, 1]}]},
            "spec.recipe.refine[0].zoom",
            "2.0",
            "1 to 1, so that size",
        ),
        ({"refine": [{"box": [0, 0, 1, 1], "zoom": 9}]}, "spec.recipe.refine[0].zoom", "9", "less than or equal to 8"),
    ],
    ids=str,
)
def test_every_rule_of_the_recipe_is_told_like_the_others(
    fields: dict[str, object], path: str, found: str, allowed: str
) -> None:
    (error,) = recipe_errors(**fields)
    assert (error.path, error.found) == (path, found)
    assert allowed in error.allowed
    assert (error.line, error.column) != (None, None)


def test_a_fault_of_the_recipe_has_the_line_and_column_of_its_field() -> None:
    own = "    size: 1024\n    scales:\n    - {size: 64, iterations: 9}\n    - {size: 48, iterations: 9}\n"
    text = edited("    size: 1024\n", own)
    broken = text.replace("    contentWeight: 1.0e+3\n", "    styleLayers:\n      block9: 1\n")
    (error, _) = errors_of(broken)
    assert error.path == "spec.recipe.styleLayers.block9"
    assert (error.line, error.column) == (line_of(broken, "block9"), 7)
    error = only_error(text)
    assert (error.path, error.line, error.column) == ("spec.recipe.scales[1].size", line_of(text, "size: 48"), 8)


def test_faults_of_a_recipe_and_of_other_fields_are_told_at_once() -> None:
    data = manifest_bytes(
        recipe={"scales": [{"size": 64, "iterations": 1}], "size": 32, "averaging": 0.5},
        run={"paralelism": 1},
        styles=[{"image": "s3://shop/s.jpg", "weight": 0}],
    )
    with pytest.raises(ManifestInvalid) as caught:
        manifests.parse(data, name="spring")
    assert {e.path for e in caught.value.errors} == {
        "spec.recipe.scales[0].size",
        "spec.run.paralelism",
        "spec.styles[0].weight",
    }


def test_a_recipe_is_read_with_every_field() -> None:
    fields = {
        "preset": "portrait",
        "scales": [{"size": 128, "iterations": 5}, {"size": 300, "iterations": 7}],
        "refine": [{"box": [0, 0.25, 0.5, 1]}, {"box": [0, 0, 1, 1], "zoom": 3, "iterations": 9}],
        "contentWeight": 1,
        "styleWeight": 2,
        "tvWeight": 0,
        "contentLayers": {"block3_conv4": 1},
        "styleLayers": {"block2_conv1": 0.5, "block1_conv1": 1},
        "statistics": "gram+mean",
        "pooling": "average",
        "optimizer": "adam",
        "learningRate": 2,
        "averaging": 0.9,
        "plateau": 0.01,
        "colors": "luminance",
        "start": "noise",
        "seed": 7,
        "backbone": "vgg19-imagenet",
        "precision": "float32",
    }
    recipe = manifests.parse(manifest_bytes(recipe=fields), name="spring").spec.recipe.to_recipe()
    assert recipe == Recipe(
        backbone="vgg19-imagenet",
        pooling="average",
        content_layers=(LayerWeight(layer="block3_conv4", weight=1.0),),
        style_layers=(LayerWeight(layer="block1_conv1", weight=1.0), LayerWeight(layer="block2_conv1", weight=0.5)),
        statistics="gram+mean",
        scales=(Scale(size_px=128, iterations=5), Scale(size_px=300, iterations=7)),
        refine=(
            Refinement(box=(0.0, 0.25, 0.5, 1.0), zoom=2.0, iterations=60),
            Refinement(box=(0.0, 0.0, 1.0, 1.0), zoom=3.0, iterations=9),
        ),
        content_weight=1.0,
        style_weight=2.0,
        tv_weight=0.0,
        optimizer="adam",
        learning_rate=2.0,
        averaging=0.9,
        plateau=0.01,
        colors="luminance",
        start="noise",
        seed=7,
        precision="float32",
    )


def test_a_field_of_the_recipe_and_a_field_of_the_manifest_are_the_same_thing() -> None:
    own_names = {"size", "preset"}
    assert set(RecipeSpec.model_fields) - own_names == {f.name for f in dataclasses.fields(Recipe)}


def test_scales_alone_decide_the_size() -> None:
    scales = [{"size": 64, "iterations": 1}, {"size": 100, "iterations": 1}]
    for fields in ({"scales": scales}, {"scales": scales, "size": 100}):
        assert manifests.parse(manifest_bytes(recipe=fields), name="spring").spec.recipe.to_recipe().size_px == 100


def test_the_preset_decides_the_weights_that_are_left_out() -> None:
    recipe = manifests.parse(manifest_bytes(recipe={"preset": "portrait"}), name="spring").spec.recipe.to_recipe()
    assert recipe == recipe_for(preset="portrait")


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


@pytest.mark.parametrize(
    "folder", ["", "jobs/", "jobs/x/", "status/", "runs/", "cache/style/", "checkpoints/", "attempts/"]
)
def test_results_never_go_to_the_services_own_folders(folder: str) -> None:
    text = edited("s3://shop/restyled/spring/", f"s3://service/{folder}")
    error = only_error(text, service_bucket="service")
    assert (error.path, error.message) == ("spec.output.prefix", "this folder belongs to the service")
    parse(text, service_bucket="another")


COMPANIONS = """\
  protect: s3://shop/protect/
  start: s3://shop/starts/
"""
WITH_COMPANIONS = (
    GOOD.replace("weight: 0.7", "weight: 0.7\n      mask: s3://shop/masks/sky/")
    .replace("preset: draft", "preset: draft\n    start: picture")
    .replace("  run:\n", COMPANIONS + "  run:\n")
)


def test_masks_and_starts_are_read() -> None:
    spec = parse(WITH_COMPANIONS).spec
    assert [s.mask for s in spec.styles] == ["s3://shop/masks/sky/", None]
    assert (spec.protect, spec.start) == ("s3://shop/protect/", "s3://shop/starts/")


def test_masks_and_starts_must_lie_in_allowed_folders() -> None:
    allowed = tuple(Ref("shop", folder) for folder in ("catalog/", "styles/", "restyled/"))
    assert [(e.path, e.message, e.line) for e in errors_of(WITH_COMPANIONS, allowed=allowed)] == [
        ("spec.styles[0].mask", "this place is not allowed", line_of(WITH_COMPANIONS, "masks/sky/")),
        ("spec.protect", "this place is not allowed", line_of(WITH_COMPANIONS, "protect:")),
        ("spec.start", "this place is not allowed", line_of(WITH_COMPANIONS, "start: s3")),
    ]


@pytest.mark.parametrize(
    ("folder", "field"),
    [("masks/sky/", "spec.styles[0].mask"), ("protect/new/", "spec.protect"), ("starts/", "spec.start")],
)
def test_results_never_go_into_a_folder_of_masks_or_starts(folder: str, field: str) -> None:
    error = only_error(WITH_COMPANIONS.replace("s3://shop/restyled/spring/", f"s3://shop/{folder}"))
    assert error.path == "spec.output.prefix"
    assert error.message == f"results inside the folder of {field} would be taken for what belongs there"
    assert error.found == f"s3://shop/{folder}"


def test_a_start_is_needed_where_the_recipe_starts_from_a_picture() -> None:
    text = WITH_COMPANIONS.replace("  start: s3://shop/starts/\n", "")
    error = only_error(text)
    assert (error.path, error.message) == ("spec.start", "the recipe starts from a picture, but none is named")
    assert error.line == line_of(text, "spec:")


def test_a_start_is_refused_where_the_recipe_starts_from_something_else() -> None:
    text = WITH_COMPANIONS.replace("start: picture", "start: noise")
    error = only_error(text)
    assert (error.path, error.found, error.allowed) == ("spec.start", "s3://shop/starts/", "recipe.start: picture")
    assert error.message == "a start is named, but the recipe does not start from a picture"
    assert error.line == line_of(text, "start: s3")


def test_a_mask_is_a_folder_or_one_object_and_nothing_else() -> None:
    parse(WITH_COMPANIONS.replace("s3://shop/masks/sky/", "s3://shop/masks/sky.png"))
    assert only_error(WITH_COMPANIONS.replace("s3://shop/masks/sky/", "masks/sky.png")).path == "spec.styles[0].mask"


def test_results_may_go_beside_the_services_own_folders() -> None:
    parse(edited("s3://shop/restyled/spring/", "s3://service/jobs-done/"), service_bucket="service")


def test_results_may_go_to_a_folder_whose_name_begins_like_the_content_folder() -> None:
    parse(edited("prefix: s3://shop/restyled/spring/", "prefix: s3://shop/catalog-new/"))


def test_enough_workers_to_begin_with_are_no_more_than_there_may_be() -> None:
    assert make_manifest(run={"parallelism": 4, "minParallelism": 4}).spec.run.min_parallelism == 4
    with pytest.raises(ManifestInvalid) as caught:
        make_manifest(run={"parallelism": 4, "minParallelism": 5})
    (error,) = caught.value.errors
    assert (error.path, error.found, error.allowed) == ("spec.run.minParallelism", "5", "1 to 4")
    with pytest.raises(ManifestInvalid, match="minParallelism"):
        make_manifest(run={"minParallelism": 0})


@pytest.mark.parametrize(
    ("field", "most"),
    [
        ("styles", STYLES_MAX),
        ("keys", KEYS_MAX),
        ("include", PATTERNS_MAX),
        ("scales", SCALES_MAX),
        ("refine", REFINE_MAX),
    ],
)
def test_lists_are_bounded(field: str, most: int) -> None:
    def with_items(count: int) -> bytes:
        match field:
            case "styles":
                return manifest_bytes(styles=[{"image": "s3://shop/s.jpg"}] * count)
            case "scales":
                return manifest_bytes(recipe={"scales": [{"size": 20 + n, "iterations": 1} for n in range(count)]})
            case "refine":
                return manifest_bytes(recipe={"refine": [{"box": [0, 0, 1, 1]}] * count})
            case "keys":
                return manifest_bytes(content={"keys": [f"s3://shop/{n}" for n in range(count)]})
            case _:
                return manifest_bytes(content={"prefix": "s3://shop/catalog/", "include": ["*.jpg"] * count})

    manifests.parse(with_items(most), name="spring")
    with pytest.raises(ManifestInvalid) as caught:
        manifests.parse(with_items(most + 1), name="spring")
    assert [e.path.rpartition(".")[2] for e in caught.value.errors] == [field]


@pytest.mark.parametrize("deadline", ["1m", "90m", "6h", "2d", "99999d"])
def test_a_deadline_is_minutes_hours_or_days(deadline: str) -> None:
    assert make_manifest(run={"deadline": deadline}).spec.run.deadline == deadline


@pytest.mark.parametrize(
    "deadline", ["", "6", 6, 6.5, True, "0h", "06h", "-6h", "6 h", "6H", "1h30m", "6h\n", "1e3m", []]
)
def test_anything_else_is_no_deadline(deadline: object) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        make_manifest(run={"deadline": deadline})
    (error,) = caught.value.errors
    assert (error.path, error.message) == ("spec.run.deadline", "this is no duration")
    assert error.allowed == "minutes, hours or days, such as 90m, 6h or 2d"


@pytest.mark.parametrize("failures", [0, 10, 10**9, "0%", "1%", "0.0001%", "12.5%", "100%"])
def test_a_failure_budget_is_a_count_or_a_share(failures: object) -> None:
    assert make_manifest(run={"maxFailures": failures}).spec.run.max_failures == failures


@pytest.mark.parametrize(
    "failures", ["", "10", -1, 10**9 + 1, 1.5, True, "101%", "-1%", "1 %", "%", "1.%", "1%\n", "a few"]
)
def test_anything_else_is_no_failure_budget(failures: object) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        make_manifest(run={"maxFailures": failures})
    (error,) = caught.value.errors
    assert (error.path, error.message) == ("spec.run.maxFailures", "this is no number of failures")
    assert error.allowed == "a count such as 10, or a share of the pictures such as 1%"


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
        ("size: 1024", "size: 9000"),
        ("quality: 80", "quality: high"),
        ("    queue: gpu-batch", "    queue: GPU"),
        ("priority: high", "priority: urgent"),
        ("deadline: 90m", "deadline: 90"),
        ("deadline: 90m", "deadline: 90s"),
        ("maxFailures: 2.5%", "maxFailures: -1"),
        ("maxFailures: 2.5%", "maxFailures: 101%"),
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
