"""The manifest: what a user may ask for. These models are its one definition; the JSON Schema comes from them.

Parse at the door, then trust: a `Manifest` that exists obeys every rule that can be checked without the bucket.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, PydanticCustomError

from stylefleet import naming, recipe, yaml_positions
from stylefleet.errors import FieldError, ManifestInvalid
from stylefleet.naming import Ref

API_VERSION = "stylefleet.dev/v1"
ImageFormat = Literal["jpeg", "png", "webp"]
IMAGE_FORMATS: tuple[ImageFormat, ...] = get_args(ImageFormat)
STYLES_MAX = 16
KEYS_MAX = 20_000
PATTERNS_MAX = 100
ERRORS_MAX = 100
"""Errors that are told one by one; a file of nothing but errors must not become a status of many megabytes."""


def _uri(value: str) -> str:
    try:
        naming.parse_uri(value)
    except ValueError as error:
        raise PydanticCustomError("uri", "{reason}", {"reason": str(error), "allowed": "s3://bucket/key"}) from error
    return value


def _name(value: str) -> str:
    if not naming.NAME_PATTERN.fullmatch(value):
        raise PydanticCustomError("name", "the name is not usable", {"allowed": naming.NAME_RULE})
    return value


Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": f"^{naming.NAME_PATTERN.pattern}$"})]


def _object_uri(value: str) -> str:
    if _uri(value).endswith("/"):
        raise PydanticCustomError("uri", "this is a folder, not a picture", {"allowed": "s3://bucket/key"})
    return value


Uri = Annotated[str, AfterValidator(_uri)]
"""Of a folder."""
ObjectUri = Annotated[str, AfterValidator(_object_uri)]
Patterns = Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=PATTERNS_MAX)]


class Model(BaseModel):
    """Base of all parts: unknown fields are errors, types are strict, records are frozen, names are camelCase."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )


class Metadata(Model):
    """Who the manifest is."""

    name: Name
    """The name under which status and runs are kept; the file must be called `NAME.yaml`."""


class Content(Model):
    """The pictures to restyle: everything below a prefix, or a list of keys."""

    prefix: Uri | None = None
    """Folder of pictures, such as `s3://shop/catalog/`."""
    include: Patterns = ["*.jpg", "*.jpeg", "*.png", "*.webp"]
    """Shell patterns on the path below the prefix, in any case; `*` also matches `/`."""
    exclude: Patterns = []
    """Shell patterns of pictures to leave out."""
    keys: Annotated[list[ObjectUri], Field(min_length=1, max_length=KEYS_MAX)] | None = None
    """Instead of a prefix: the pictures one by one, as `s3://bucket/key`."""

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.prefix is None) == (self.keys is None):
            raise PydanticCustomError("content", "give exactly one of prefix and keys", {"allowed": "prefix or keys"})
        if self.prefix is not None and not self.prefix.endswith("/"):
            raise PydanticCustomError(
                "content", "the prefix must end with '/'", {"allowed": f"{self.prefix}/", "field": "prefix"}
            )
        if self.keys is not None and self.model_fields_set & {"include", "exclude"}:
            raise PydanticCustomError(
                "content", "include and exclude go with prefix only", {"allowed": "no patterns with keys"}
            )
        return self


class Style(Model):
    """One style picture and its share."""

    image: ObjectUri
    """The style picture, such as `s3://shop/styles/starry_night.jpg`."""
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    """Its share among the styles; only the ratio of the weights counts."""


class Output(Model):
    """Where the results go."""

    prefix: Uri
    """Folder of the results; each keeps its path below the content prefix."""
    format: ImageFormat = "jpeg"
    """Format of the results."""
    quality: Annotated[int, Field(ge=1, le=100)] = 92
    """JPEG and WebP quality."""

    @model_validator(mode="after")
    def _folder(self) -> Self:
        if not self.prefix.endswith("/"):
            raise PydanticCustomError(
                "output", "the prefix must end with '/'", {"allowed": f"{self.prefix}/", "field": "prefix"}
            )
        return self


class RecipeSpec(Model):
    """How the pictures are restyled."""

    preset: recipe.Preset = "balanced"
    """`draft` is a quick look, `balanced` the default, `fine` the most careful."""
    size: Annotated[int, Field(ge=recipe.SIZE_PX_MIN, le=recipe.SIZE_PX_MAX)] = 512
    """Longer edge of the result in pixels."""
    content_weight: Annotated[float, Field(ge=0, le=1e9)] = 1e3
    """Strength of the content: higher keeps more of the photo."""
    style_weight: Annotated[float, Field(gt=0, le=1e9)] = 1e-2
    """Strength of the style: higher paints more."""
    tv_weight: Annotated[float, Field(ge=0, le=1e9)] = 1.0
    """Strength of smoothing (total variation)."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the starting noise; the same seed gives the same picture."""
    backbone: recipe.Backbone = "vgg16-hed"
    """Whose features are matched."""
    precision: recipe.Precision = "auto"
    """Arithmetic of the convolutions."""

    def to_recipe(self) -> recipe.Recipe:
        return recipe.recipe_for(
            preset=self.preset,
            size_px=self.size,
            content_weight=self.content_weight,
            style_weight=self.style_weight,
            tv_weight=self.tv_weight,
            seed=self.seed,
            backbone=self.backbone,
            precision=self.precision,
        )


class Resources(Model):
    """What each worker asks the cluster for."""

    gpu: Annotated[int, Field(ge=0, le=1)] = 1
    """GPUs a worker; 0 runs on the CPU."""


class RunSpec(Model):
    """How the work is carried out; nothing here changes a pixel."""

    parallelism: Annotated[int, Field(ge=1, le=1000)] = 8
    """Workers at the same time, at the most."""
    queue: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")] | None = None
    """Kueue LocalQueue that admits the Job."""
    resources: Resources = Resources()


class Spec(Model):
    """What is asked for."""

    content: Content
    styles: Annotated[list[Style], Field(min_length=1, max_length=STYLES_MAX)]
    """The styles; several are blended by weight into one look."""
    output: Output
    recipe: RecipeSpec = RecipeSpec()
    run: RunSpec = RunSpec()


class Manifest(Model):
    """A style job: pictures, styles, where results go, how."""

    api_version: Literal["stylefleet.dev/v1"]
    kind: Literal["StyleJob"]
    metadata: Metadata
    spec: Spec


def json_schema() -> dict[str, object]:
    """JSON Schema of the manifest, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Manifest.model_json_schema(by_alias=True),
    }


def digest(data: bytes) -> str:
    """SHA-256 (hex) of a manifest's bytes."""
    return hashlib.sha256(data).hexdigest()


def parse(
    data: bytes, *, name: str, allowed: Sequence[Ref] | None = None, service_bucket: str | None = None
) -> Manifest:
    """The Manifest in `data`; raises ManifestInvalid with every broken rule at once.

    `name` is the file's name without suffix. `allowed` are the folders that manifests may read and write (None: not
    checked, as on a laptop without settings). `service_bucket` has folders of our own that no result may go to.
    """
    document = yaml_positions.parse(data)
    try:
        manifest = Manifest.model_validate(document.data)
    except ValidationError as error:
        broken = [_field_error(e, document) for e in error.errors()[: ERRORS_MAX + 1]]
        raise ManifestInvalid(_at_most(broken)) from error
    errors = [
        *_name_errors(manifest, name),
        *_place_errors(manifest, allowed, service_bucket),
    ]
    if errors:
        raise ManifestInvalid(
            _at_most([_placed(path, message, found, rule, document) for path, message, found, rule in errors])
        )
    return manifest


def _at_most(errors: list[FieldError]) -> list[FieldError]:
    if len(errors) <= ERRORS_MAX:
        return errors
    return [*errors[:ERRORS_MAX], FieldError(path="", message=f"there are more than {ERRORS_MAX} errors")]


_Broken = tuple[yaml_positions.Path, str, str, str]


def _name_errors(manifest: Manifest, name: str) -> list[_Broken]:
    path = ("metadata", "name")
    found = manifest.metadata.name
    if found != name:
        return [(path, "the name and the file's name differ", found, f"{name} (the file is jobs/{name}.yaml)")]
    return []


def _place_errors(manifest: Manifest, allowed: Sequence[Ref] | None, service_bucket: str | None) -> list[_Broken]:
    spec = manifest.spec
    uris: list[tuple[yaml_positions.Path, str]] = [(("spec", "output", "prefix"), spec.output.prefix)]
    uris += [(("spec", "styles", i, "image"), s.image) for i, s in enumerate(spec.styles)]
    if spec.content.prefix is not None:
        uris.append((("spec", "content", "prefix"), spec.content.prefix))
    uris += [(("spec", "content", "keys", i), k) for i, k in enumerate(spec.content.keys or [])]
    errors: list[_Broken] = []
    if allowed is not None:
        rule = ", ".join(str(a) for a in allowed)
        errors += [
            (path, "this place is not allowed", uri, rule)
            for path, uri in uris
            if not any(naming.is_below(naming.parse_uri(uri), a) for a in allowed)
        ]
    output = naming.parse_uri(spec.output.prefix)
    if output.bucket == service_bucket and (output.key == "" or output.key.startswith(naming.OWN_PREFIXES)):
        rule = "any folder but " + ", ".join(naming.OWN_PREFIXES)
        errors.append((("spec", "output", "prefix"), "this folder belongs to the service", str(output), rule))
    if spec.content.prefix is not None and naming.is_below(output, naming.parse_uri(spec.content.prefix)):
        message = "results inside the content folder would be restyled again by the next run"
        errors.append((("spec", "output", "prefix"), message, str(output), f"a folder outside {spec.content.prefix}"))
    return errors


def _placed(
    path: yaml_positions.Path, message: str, found: str, allowed: str, document: yaml_positions.Document
) -> FieldError:
    line, column = document.position(path) or (None, None)
    return FieldError(
        path=yaml_positions.path_text(path),
        message=message,
        found=found,
        allowed=allowed,
        line=line,
        column=column,
    )


def _field_error(error: ErrorDetails, document: yaml_positions.Document) -> FieldError:
    path: yaml_positions.Path = tuple(error["loc"])
    context = error.get("ctx", {})
    message, found, allowed = error["msg"], _shorten(error["input"]), str(context.get("allowed", ""))
    match error["type"]:
        case "missing":
            message, found = "this field is required", ""
        case "extra_forbidden":
            message, found = "there is no such field", _shorten(str(path[-1])).strip("'")
            names = _field_names(path[:-1])
            nearest = difflib.get_close_matches(str(path[-1]), names, n=1)
            allowed = f"did you mean {nearest[0]}?" if nearest else ", ".join(names)
        case "literal_error":
            message, allowed = "the value is not one of the choices", str(context["expected"])
        case "model_type":
            message, allowed = "fields are expected here", ", ".join(_field_names(path))
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            message, allowed = "the number is out of range", error["msg"].removeprefix("Input should be ")
        case _ if not isinstance(error["input"], dict):
            message = message.replace("Input should be", "the value should be")
        case _:
            found = ""
    if "field" in context:
        path = (*path, str(context["field"]))
    return _placed(path, message, found, allowed, document)


def _field_names(path: yaml_positions.Path) -> list[str]:
    """The fields that may stand in the mapping at `path`."""
    model: type[BaseModel] = Manifest
    for part in path:
        if isinstance(part, int):
            continue
        fields = {f.alias or n: f.annotation for n, f in model.model_fields.items()}
        candidates = [fields[part], *get_args(fields[part])]
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return [f.alias or n for n, f in model.model_fields.items()]


def _shorten(value: object) -> str:
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else text[:77] + "..."
