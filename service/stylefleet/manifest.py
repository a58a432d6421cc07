"""The manifest: what a user may ask for. These models are its one definition; the JSON Schema comes from them.

Parse at the door, then trust: a `Manifest` that exists obeys every rule that can be checked without the bucket.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from stylefleet import naming, presets, recipe, recipe_rules, yaml_positions
from stylefleet.errors import FieldError, ManifestInvalid
from stylefleet.naming import Ref

API_VERSION = "stylefleet.dev/v1"
ImageFormat = Literal["jpeg", "png", "webp"]
KeptMetadata = Literal["icc", "exif"]
IMAGE_FORMATS: tuple[ImageFormat, ...] = get_args(ImageFormat)
STYLES_MAX = 16
KEYS_MAX = 20_000
PATTERNS_MAX = 100
SCALES_MAX = 16
REFINE_MAX = 16
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
    """Its share among the styles of its region; only the ratio of the weights counts."""
    mask: Uri | None = None
    """Where the style applies, white on black: a folder such as `s3://shop/masks/sky/` with a mask for each picture, at
    the picture's path below the content prefix (its last part, for pictures named one by one) with the suffix `.png`;
    or one mask for all pictures. Styles with the same mask are blended there; styles without one apply elsewhere, and
    what no style covers is left alone."""


class Output(Model):
    """Where the results go."""

    prefix: Uri
    """Folder of the results; each keeps its path below the content prefix."""
    format: ImageFormat = "jpeg"
    """Format of the results."""
    quality: Annotated[int, Field(ge=1, le=100)] = 92
    """JPEG and WebP quality."""
    depth: Literal[8, 16] = 8
    """Bits a channel; 16 is for PNG only."""
    keep_metadata: Annotated[list[KeptMetadata], AfterValidator(lambda kept: sorted(set(kept)))] = []
    """What results carry beside pixels: `icc` is the sRGB profile, `exif` the source's EXIF, without its thumbnail."""

    @field_validator("depth")
    @classmethod
    def _deep_enough(cls, depth: int, info: ValidationInfo) -> int:
        if depth == 16 and info.data.get("format", "png") != "png":
            raise PydanticCustomError("depth", "16 bit is for PNG only", {"allowed": "8, or format: png"})
        return depth

    @model_validator(mode="after")
    def _folder(self) -> Self:
        if not self.prefix.endswith("/"):
            raise PydanticCustomError(
                "output", "the prefix must end with '/'", {"allowed": f"{self.prefix}/", "field": "prefix"}
            )
        return self


Size = Annotated[int, Field(ge=recipe.SIZE_PX_MIN, le=recipe.SIZE_PX_MAX)]
Iterations = Annotated[int, Field(ge=1, le=recipe.ITERATIONS_MAX)]
TermWeight = Annotated[float, Field(ge=0, le=recipe.WEIGHT_MAX)]
LayerWeights = Annotated[dict[str, TermWeight], Field(min_length=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


class ScaleSpec(Model):
    """One size of the coarse-to-fine sequence."""

    size: Size
    """Longer edge of the picture at this scale, in pixels."""
    iterations: Iterations
    """Optimizer steps at this scale, at the most."""


class RefinementSpec(Model):
    """A box of the result, such as a face, that is worked out once more at a higher resolution."""

    box: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=4, max_length=4)]
    """Left, top, right and bottom as shares of the picture's width and height, such as `[0.4, 0.1, 0.6, 0.4]`."""
    zoom: Annotated[float, Field(ge=1, le=recipe.ZOOM_MAX)] = 2.0
    """How many times finer than the result the box is painted."""
    iterations: Iterations = 60
    """Optimizer steps for the box, at the most."""


class RecipeSpec(Model):
    """How the pictures are restyled."""

    preset: recipe.Preset = "balanced"
    """`draft` is a quick look, `balanced` the default, `fine` the most careful; `impressionist` lets strokes run over
    edges, `portrait` keeps faces."""
    size: Size = 512
    """Longer edge of the result in pixels; with `scales`, the size of the last one."""
    scales: Annotated[list[ScaleSpec], Field(min_length=1, max_length=SCALES_MAX)] | None = None
    """Instead of the preset's coarse-to-fine sequence: sizes that grow, the last one is the result's."""
    refine: Annotated[list[RefinementSpec], Field(max_length=REFINE_MAX)] = []
    """Boxes that are worked out finer at the end, in this order."""
    content_weight: TermWeight | None = None
    """Strength of the content: higher keeps more of the photo; 1e3 is the balanced look. The preset decides where it is
    left out."""
    style_weight: TermWeight = 1e-2
    """Strength of the style: higher paints more."""
    tv_weight: TermWeight | None = None
    """Strength of smoothing (total variation); 1 is the balanced look. The preset decides where it is left out."""
    content_layers: LayerWeights | None = None
    """Layers where the result must look like the photo, with their weights, such as `{block4_conv2: 1}`. The preset
    decides where they are left out."""
    style_layers: LayerWeights | None = None
    """Layers where the result must have the style's statistics, with their weights: shallow ones (`block1_conv1`) hold
    colour and grain, deep ones (`block5_conv1`) large shapes. Left out: the first of each block, 0.2 each."""
    statistics: recipe.Statistics = "gram"
    """What of a style is matched: its Gram matrices, or these and the mean of every channel."""
    pooling: recipe.Pooling = "max"
    """`max` as the network was trained, or `average`, which gives softer strokes."""
    optimizer: recipe.Optimizer = "lbfgs"
    """`lbfgs` needs the fewest steps; `adam` bears noisy and half precision gradients."""
    learning_rate: Annotated[float, Field(ge=recipe.LEARNING_RATE_MIN, le=recipe.LEARNING_RATE_MAX)] = 1.0
    """Of Adam, in pixel values 0 to 255 a step; it falls by a tenth every 200 steps. L-BFGS has none."""
    averaging: Share = 0.0
    """Decay of the running mean of iterates that becomes the result; 0 takes the last iterate."""
    plateau: Share = 0.0
    """A scale ends early for a picture whose loss fell by less than this share over ten steps; 0 never ends early."""
    colors: recipe.Colors = "style"
    """`style` takes the style's colours, `match` recolours the style like each photo first, `luminance` paints only
    light and dark and keeps the photo's colours."""
    start: recipe.Start = "content"
    """What is painted over: the photo, noise, or a picture of its own (`spec.start`)."""
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Seed of the starting noise; the same seed gives the same picture."""
    backbone: recipe.Backbone = "vgg16-hed"
    """Whose features are matched."""
    precision: recipe.Precision = "auto"
    """Arithmetic of the convolutions."""

    @model_validator(mode="after")
    def _meant(self) -> Self:
        try:
            self.to_recipe()
        except recipe_rules.RecipeInvalid as error:
            raise ValidationError.from_exception_data("recipe", [_line_error(f) for f in error.faults]) from error
        return self

    def to_recipe(self) -> recipe.Recipe:
        """The recipe with the preset's numbers filled in."""
        scales = [recipe.Scale(size_px=s.size, iterations=s.iterations) for s in self.scales or ()]
        own_size = "size" in self.model_fields_set or not scales
        return presets.recipe_for(
            preset=self.preset,
            size_px=self.size if own_size else scales[-1].size_px,
            scales=scales,
            refine=[_refinement(r) for r in self.refine],
            content_weight=self.content_weight,
            style_weight=self.style_weight,
            tv_weight=self.tv_weight,
            content_layers=self.content_layers,
            style_layers=self.style_layers,
            statistics=self.statistics,
            pooling=self.pooling,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate,
            averaging=self.averaging,
            plateau=self.plateau,
            colors=self.colors,
            start=self.start,
            seed=self.seed,
            backbone=self.backbone,
            precision=self.precision,
        )


def _refinement(spec: RefinementSpec) -> recipe.Refinement:
    left, top, right, bottom = map(float, spec.box)
    return recipe.Refinement(box=(left, top, right, bottom), zoom=float(spec.zoom), iterations=spec.iterations)


def _line_error(fault: recipe_rules.Fault) -> InitErrorDetails:
    facts = {"reason": fault.message, "found": fault.found, "allowed": fault.allowed}
    return InitErrorDetails(type=PydanticCustomError("recipe", "{reason}", facts), loc=fault.path, input=fault.found)


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
    protect: Uri | None = None
    """What is left as it is in the photo: masks, white there, in a folder or one for all pictures, like a style's."""
    start: Uri | None = None
    """Pictures to paint over, where `recipe.start` is `picture`: a folder with one for each picture, under the
    picture's own name or with another picture suffix; or one for all pictures."""
    run: RunSpec = RunSpec()

    @model_validator(mode="after")
    def _start(self) -> Self:
        wanted = self.recipe.start == "picture"
        if wanted and self.start is None:
            message, facts = "the recipe starts from a picture, but none is named", {"found": "", "allowed": "s3://..."}
            raise PydanticCustomError("start", message, {**facts, "field": "start"})
        if not wanted and self.start is not None:
            message = "a start is named, but the recipe does not start from a picture"
            facts = {"found": self.start, "allowed": "recipe.start: picture"}
            raise PydanticCustomError("start", message, {**facts, "field": "start"})
        return self


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
    companions: list[tuple[yaml_positions.Path, str]] = [
        (path, uri)
        for path, uri in (
            *((("spec", "styles", i, "mask"), s.mask) for i, s in enumerate(spec.styles)),
            (("spec", "protect"), spec.protect),
            (("spec", "start"), spec.start),
        )
        if uri is not None
    ]
    uris += companions
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
    for path, uri in companions:
        if uri.endswith("/") and naming.is_below(output, naming.parse_uri(uri)):
            message = (
                f"results inside the folder of {yaml_positions.path_text(path)} would be taken for what belongs there"
            )
            errors.append((("spec", "output", "prefix"), message, str(output), f"a folder outside {uri}"))
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
    if "found" in context:
        found = _shorten_text(str(context["found"]))
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
        model = next(_models_in(fields[part]))
    return [f.alias or n for n, f in model.model_fields.items()]


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models in a type such as `list[Style]` or `list[ScaleSpec] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _shorten(value: object) -> str:
    return _shorten_text(repr(value) if isinstance(value, str) else str(value))


def _shorten_text(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
