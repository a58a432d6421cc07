"""`stylefleet stylize`: one picture, no service."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stylefleet import manifest as manifests
from stylefleet import pictures
from stylefleet.errors import ImageInvalid, NotFound, SettingsInvalid
from stylefleet.manifest import ImageFormat, Output
from stylefleet.recipe import Recipe
from stylefleet.recipe_spec import RecipeSpec

FORMAT_BY_SUFFIX: dict[str, ImageFormat] = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}


def run(
    content: Path,
    styles: Sequence[Path],
    out: Path,
    *,
    manifest: Path | None,
    fields: dict[str, object],
    protect: Path | None,
    start: Path | None,
    weights: Path | None,
    weights_sha256: str | None,
) -> None:
    """Restyle `content` and write `out`. Raises StylefleetError with what is wrong and what is allowed.

    `manifest` gives the recipe and the form of the result; `fields` of the recipe, by their names in a manifest,
    overrule it. Several styles are blended in equal parts.
    """
    recipe, output = _asked_for(manifest, fields)
    image_format = _format_for(out, output.depth)
    if (start is None) == (recipe.start == "picture"):
        raise SettingsInvalid("--start goes with a recipe that says start: picture, and with no other")
    inputs = _read(content, styles, recipe, protect=protect, start=start)
    console = Console(stderr=True)
    with console.status("loading the engine"):
        # By name, so that no static import leads from the command line to TensorFlow.
        engines: Any = importlib.import_module("stylefleet.engine")
        named = recipe.backbone == "vgg19-imagenet"  # the other backbone brings its own file
        engine = engines.load_engine(
            recipe, weights_path=weights if named else None, weights_sha256=weights_sha256 if named else None
        )
        looks = engines.looks_for(engine, [[(style, 1.0) for style in inputs.styles]], recipe, inputs.batch["contents"])
    batch = engines.Batch(**inputs.batch)
    iterate = _last(engines.optimize(engine, batch, looks, recipe), recipe.iterations_total, console)
    out.write_bytes(
        pictures.encode(
            iterate.values[0] if output.depth == 16 else iterate.pixels[0],
            format=image_format,
            quality=output.quality,
            depth=output.depth,
            icc="icc" in output.keep_metadata,
            exif=pictures.exif(inputs.data) if "exif" in output.keep_metadata else b"",
        )
    )
    height, width = iterate.pixels.shape[1:3]
    console.print(
        f"{out}: {width} x {height} px, {iterate.iterations[0]} steps, loss {iterate.losses[0]:.1f}, "
        f"{engine.backbone}, {engine.precision} ({engine.precision_reason})",
        soft_wrap=True,
    )


def _format_for(out: Path, depth: int) -> ImageFormat:
    """The format of the file that is asked for, which can hold so many bits a channel and has a folder to lie in."""
    found = f"{out}: found suffix {out.suffix!r}"
    image_format = FORMAT_BY_SUFFIX.get(out.suffix.lower())
    if image_format is None:
        raise SettingsInvalid(f"{found}, allowed are {', '.join(FORMAT_BY_SUFFIX)}")
    if depth == 16 and image_format != "png":
        raise SettingsInvalid(f"{found}, allowed is .png where the manifest asks for 16 bit")
    if not out.absolute().parent.is_dir():
        raise NotFound(f"{out.parent}: no such folder")
    return image_format


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    """The pictures of one call."""

    data: bytes
    """The content's file."""
    styles: Sequence[np.ndarray]
    """uint8 [H, W, 3] each."""
    batch: Mapping[str, Any]
    """What the engine's Batch of one picture is made of."""


def _read(
    content: Path, styles: Sequence[Path], recipe: Recipe, *, protect: Path | None, start: Path | None
) -> _Inputs:
    data = _bytes(content)
    decoded = _decoded(content, data)
    width, height = pictures.result_size(decoded.shape[1], decoded.shape[0], recipe.size_px)
    batch: dict[str, Any] = {
        "contents": pictures.resize(decoded, width, height)[None],
        "details": tuple(pictures.detail(decoded, r, width, height)[None] for r in recipe.refine),
    }
    if protect is not None:
        batch["protect"] = _named(protect, pictures.decode_mask, _bytes(protect), width, height)[None]
    if start is not None:
        batch["starts"] = pictures.resize(_decoded(start, _bytes(start)), width, height)[None]
    return _Inputs(data=data, styles=[_decoded(style, _bytes(style)) for style in styles], batch=batch)


def _last(iterates: Iterable[Any], steps: int, console: Console) -> Any:
    """The last iterate; a bar shows the way there."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    iterate = None
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("restyling", total=steps)
        for iterate in iterates:
            progress.update(bar, completed=iterate.iteration, description=f"restyling at {iterate.scale_px} px")
    assert iterate is not None
    return iterate


def _asked_for(manifest: Path | None, fields: dict[str, object]) -> tuple[Recipe, Output]:
    """The recipe and the form of the result."""
    given: dict[str, object] = {}
    output = Output(prefix="s3://unused/")
    if manifest is not None:
        spec = manifests.parse(_bytes(manifest), name=manifest.stem).spec
        if spec.protect is not None or any(style.mask is not None for style in spec.styles):
            sentence = "one picture gets its recipe and output form; give a protection mask by --protect instead"
            raise SettingsInvalid(f"{manifest}: found masks, which are in a bucket; {sentence}")
        given, output = spec.recipe.model_dump(by_alias=True, exclude_unset=True), spec.output
    try:
        return RecipeSpec.model_validate({**given, **fields}).to_recipe(), output
    except ValidationError as error:
        first = error.errors()[0]
        option = "--" + str(first["loc"][0]).replace("_", "-") if first["loc"] else "the recipe"
        context = first.get("ctx", {})
        rule = first["msg"].removeprefix("Input should be ")
        allowed = context.get("expected") or context.get("allowed") or rule
        raise SettingsInvalid(f"{option}: found {first['input']!r}, allowed: {allowed}") from error


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error


def _decoded(path: Path, data: bytes) -> np.ndarray:
    return _named(path, pictures.decode, data)


def _named(path: Path, read: Any, *arguments: Any) -> np.ndarray:
    """What `read` gives; a picture that it refuses is named."""
    try:
        found: np.ndarray = read(*arguments)
    except ImageInvalid as error:
        raise ImageInvalid(error.reason, f"{path}: {error}") from error
    return found
