"""`stylefleet stylize`: one picture, no service."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stylefleet import pictures
from stylefleet.errors import ImageInvalid, NotFound, SettingsInvalid
from stylefleet.manifest import ImageFormat
from stylefleet.recipe import BACKBONES, PRESETS, SIZE_PX_MAX, SIZE_PX_MIN, recipe_for

FORMAT_BY_SUFFIX: dict[str, ImageFormat] = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp"}
QUALITY = 92


def run(
    content: Path,
    style: Path,
    out: Path,
    *,
    size_px: int,
    preset: str,
    seed: int,
    backbone: str,
    weights: Path | None,
    weights_sha256: str | None,
) -> None:
    """Restyle `content` and write `out`. Raises StylefleetError with what is wrong and what is allowed."""
    image_format = FORMAT_BY_SUFFIX.get(out.suffix.lower())
    if image_format is None:
        raise SettingsInvalid(f"{out}: found suffix {out.suffix!r}, allowed are {', '.join(FORMAT_BY_SUFFIX)}")
    known_preset = next((p for p in PRESETS if p == preset), None)
    known_backbone = next((b for b in BACKBONES if b == backbone), None)
    if known_preset is None:
        raise SettingsInvalid(f"--preset: found {preset!r}, allowed are {', '.join(PRESETS)}")
    if known_backbone is None:
        raise SettingsInvalid(f"--backbone: found {backbone!r}, allowed are {', '.join(BACKBONES)}")
    if not SIZE_PX_MIN <= size_px <= SIZE_PX_MAX:
        raise SettingsInvalid(f"--size: found {size_px}, allowed are {SIZE_PX_MIN} to {SIZE_PX_MAX}")
    if not out.absolute().parent.is_dir():
        raise NotFound(f"{out.parent}: no such folder")
    recipe = recipe_for(preset=known_preset, size_px=size_px, seed=seed, backbone=known_backbone)
    pixels = _read(content)
    size = pictures.result_size(pixels.shape[1], pixels.shape[0], size_px)
    style_pixels = _read(style)

    console = Console(stderr=True)
    with console.status("loading the engine"):
        # By name, so that no static import leads from the command line to TensorFlow.
        engines: Any = importlib.import_module("stylefleet.engine")
        named = recipe.backbone == "vgg19-imagenet"  # the other backbone brings its own file
        engine = engines.load_engine(
            backbone=recipe.backbone,
            precision=recipe.precision,
            weights_path=weights if named else None,
            weights_sha256=weights_sha256 if named else None,
        )
        targets = tuple(engines.style_target(engine, style_pixels, s.size_px) for s in recipe.scales)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    iterate = None
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("restyling", total=sum(s.iterations for s in recipe.scales))
        for iterate in engines.stylize(engine, pictures.resize(pixels, *size)[None], targets, recipe):
            progress.update(bar, completed=iterate.iteration, description=f"restyling at {iterate.scale_px} px")
    assert iterate is not None
    out.write_bytes(pictures.encode(iterate.pixels[0], format=image_format, quality=QUALITY))
    console.print(
        f"{out}: {size[0]} x {size[1]} px, loss {iterate.losses[0]:.1f}, {engine.backbone}, {engine.precision} "
        f"({engine.precision_reason})"
    )


def _read(path: Path) -> Any:
    try:
        return pictures.decode(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    except ImageInvalid as error:
        raise ImageInvalid(error.reason, f"{path}: {error}") from error
