"""The manifest: what a user may ask for. These models are its one definition; the JSON Schema comes from them.

Parse at the door, then trust: a `Manifest` that exists obeys every rule that can be checked without the bucket.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from stylefleet import naming, yaml_positions
from stylefleet.errors import ManifestInvalid
from stylefleet.field_errors import ERRORS_MAX, at_most, explained, placed
from stylefleet.fields import Duration, Failures, Model, Name, ObjectUri, Patterns, Priority, Uri
from stylefleet.naming import Ref
from stylefleet.recipe_spec import RecipeSpec

ImageFormat = Literal["jpeg", "png", "webp"]
KeptMetadata = Literal["icc", "exif"]
STYLES_MAX = 16
KEYS_MAX = 20_000


class Metadata(Model):
    """Who the manifest is."""

    name: Name
    """The name under which status and runs are kept; the file must be called `NAME.yaml`."""


class Content(Model):
    """The pictures to restyle: everything below a prefix, or a list of keys."""

    prefix: Uri | None = None
    """Folder of pictures, such as `s3://shop/catalog/`. Styles, masks and starts that lie in it are not restyled."""
    include: Patterns = Field(default=["*.jpg", "*.jpeg", "*.png", "*.webp"])
    """Shell patterns on the path below the prefix, in any case; `*` also matches `/`."""
    exclude: Patterns = Field(default=[])
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
    keep_metadata: Annotated[list[KeptMetadata], AfterValidator(lambda kept: sorted(set(kept)))] = Field(default=[])
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


class Resources(Model):
    """What each worker asks the cluster for."""

    gpu: Annotated[int, Field(ge=0, le=1)] = 1
    """GPUs a worker; 0 runs on the CPU."""


class RunSpec(Model):
    """How the work is carried out; nothing here changes a pixel."""

    parallelism: Annotated[int, Field(ge=1, le=1000)] = 8
    """Workers at the same time, at the most."""
    min_parallelism: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Workers that are enough to begin with, where not all of `parallelism` can be had. Left out: all of them in a
    queue, which never adds any later, and one elsewhere."""
    queue: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")] | None = None
    """Kueue LocalQueue that admits the Job."""
    priority: Priority = "normal"
    """How urgent the run is beside others."""
    deadline: Duration | None = None
    """How long after the submission the run may go on, such as `90m`, `6h` or `2d`; pauses and queues count. What is
    finished by then stays, the rest is not done."""
    max_failures: Failures | None = None
    """How many pictures may fail, such as `10`, or which share of those that the run computes, such as `1%`; one more
    ends the run at once. Left out: any number."""
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _enough(self) -> Self:
        if self.min_parallelism is not None and self.min_parallelism > self.parallelism:
            facts = {"found": str(self.min_parallelism), "allowed": f"1 to {self.parallelism}"}
            message = "no run has more workers than parallelism"
            raise PydanticCustomError("parallelism", message, {**facts, "field": "minParallelism"})
        return self


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
    picture's own name, as an earlier run's result of it, or with another picture suffix; or one for all pictures."""
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

    `name` is the file's name without suffix, with the tenant's folder where there is one. `allowed` are the folders
    that manifests may read and write (None: not checked, as on a laptop without settings). `service_bucket` has folders
    of our own that no result may go to.
    """
    document = yaml_positions.parse(data)
    try:
        manifest = Manifest.model_validate(document.data)
    except ValidationError as error:
        broken = [explained(e, document, Manifest) for e in error.errors()[: ERRORS_MAX + 1]]
        raise ManifestInvalid(at_most(broken)) from error
    errors = [
        *_name_errors(manifest, name),
        *_place_errors(manifest, allowed, service_bucket),
    ]
    if errors:
        raise ManifestInvalid(
            at_most([placed(path, message, found, rule, document) for path, message, found, rule in errors])
        )
    return manifest


_Broken = tuple[yaml_positions.Path, str, str, str]


def _name_errors(manifest: Manifest, name: str) -> list[_Broken]:
    path = ("metadata", "name")
    found, expected = manifest.metadata.name, naming.own_name_of(name)
    if found != expected:
        return [(path, "the name and the file's name differ", found, f"{expected} (the file is jobs/{name}.yaml)")]
    if len(naming.label_of(name)) > naming.LABEL_CHARACTERS_MAX:
        message = "the name is too long beside that of the tenant: together they are the value of a label"
        allowed = max(0, naming.LABEL_CHARACTERS_MAX - len(naming.tenant_of(name)) - 1)
        return [(path, message, found, f"{allowed} characters in the folder jobs/{naming.tenant_of(name)}/")]
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
