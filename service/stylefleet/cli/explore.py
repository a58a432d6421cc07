"""`stylefleet explore`: one photo by a grid of recipes, as a sheet to choose from; and the manifest of the choice."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from stylefleet import pictures
from stylefleet.cli import contact_sheet, recipe_grid
from stylefleet.cli.contact_sheet import Labelled
from stylefleet.cli.recipe_grid import Cell
from stylefleet.errors import ImageInvalid, NotFound, SettingsInvalid
from stylefleet.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Weights:
    """Where the weights of VGG19 are, for grids that name it."""

    path: Path | None
    sha256: str | None


def run(
    content: Path, style: Path, grid: Sequence[str], *, out: Path, size: int, choose: int | None, weights: Weights
) -> None:
    """Draw the sheet; or print the manifest of the cell `choose` and draw nothing. Raises StylefleetError."""
    axes = [recipe_grid.axis(text) for text in grid]
    if not axes:
        raise SettingsInvalid(
            f"--grid: found none, allowed is FIELD=VALUE,VALUE,... of {', '.join(recipe_grid.FIELDS)}"
        )
    cells = recipe_grid.cells_of(axes, {"preset": "draft", "size": size})
    if choose is not None:
        if not 1 <= choose <= len(cells):
            raise SettingsInvalid(f"--choose: found {choose}, allowed are 1 to {len(cells)}")
        print(recipe_grid.manifest_of(cells[choose - 1], style=style.name), end="")
        return
    if out.suffix.lower() != ".png":
        raise SettingsInvalid(f"--out: found suffix {out.suffix!r}, allowed is .png")
    if not out.absolute().parent.is_dir():
        raise NotFound(f"{out.parent}: no such folder")
    photo, painting = _picture(content), _picture(style)
    drawn = [
        Labelled(pixels=pixels, title=str(cell.number), lines=cell.words)
        for cell, pixels in zip(cells, _results(cells, photo, painting, weights), strict=True)
    ]
    columns = len(axes[-1].values)
    rows = [drawn[start : start + columns] for start in range(0, len(drawn), columns)]
    sources = [
        # The sheet's font, which Pillow brings, has these letters only; the others would be boxes.
        Labelled(pixels=_fitted(pixels, size), title=title, lines=(path.name,) if _has_glyphs(path.name) else ())
        for pixels, title, path in ((photo, "Photo", content), (painting, "Style", style))
    ]
    out.write_bytes(pictures.encode(contact_sheet.draw([sources, *rows]), format="png", quality=100))
    console = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    console.print(f"{out}: {len(cells)} cells; for the manifest of one, the same command with  --choose NUMBER")


def _results(cells: Sequence[Cell], photo: np.ndarray, painting: np.ndarray, weights: Weights) -> Iterator[np.ndarray]:
    """The picture of each cell, uint8 [H, W, 3]; a bar shows the way there."""
    # By name, so that no static import leads from the command line to TensorFlow.
    engines: Any = importlib.import_module("stylefleet.engine")
    loaded: dict[tuple[str, ...], Any] = {}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("restyling", total=len(cells))
        for cell in cells:
            recipe = cell.recipe
            # An engine serves every recipe that differs in other fields only.
            key = (recipe.backbone, recipe.pooling, recipe.statistics, recipe.precision, *recipe.layers)
            if key not in loaded:
                loaded[key] = _engine(engines, recipe, weights)
            width, height = pictures.result_size(photo.shape[1], photo.shape[0], recipe.size_px)
            contents = pictures.resize(photo, width, height)[None]
            looks = engines.looks_for(loaded[key], [[(painting, 1.0)]], recipe, contents)
            yield engines.run(loaded[key], engines.Batch(contents=contents), looks, recipe).pixels[0]
            progress.advance(bar)


def _engine(engines: Any, recipe: Recipe, weights: Weights) -> Any:
    named = recipe.backbone == "vgg19-imagenet"  # the other backbone brings its own file
    path, sha256 = (weights.path, weights.sha256) if named else (None, None)
    return engines.load_engine(recipe, weights_path=path, weights_sha256=sha256)


def _has_glyphs(text: str) -> bool:
    return text.isascii() and text.isprintable()


def _fitted(pixels: np.ndarray, edge_px: int) -> np.ndarray:
    factor = edge_px / max(pixels.shape[:2])
    return pictures.resize(pixels, max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))


def _picture(path: Path) -> np.ndarray:
    try:
        return pictures.decode(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"{path}: no such file") from error
    except ImageInvalid as error:
        raise ImageInvalid(error.reason, f"{path}: {error}") from error
