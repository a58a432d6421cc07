"""One picture after one painting, or several: the shortest way through the engine, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stylefleet import pictures
from stylefleet.engine.batch import Batch
from stylefleet.engine.engine import Engine, load_engine, serves
from stylefleet.engine.optimize import run
from stylefleet.engine.targets import looks_for
from stylefleet.presets import recipe_for
from stylefleet.recipe import Preset, Recipe

_kept: list[Engine] = []
"""The newest engine that was loaded here: loading takes a second or two, and tracing its programs as long."""


def stylize(
    content: np.ndarray,
    style: np.ndarray | Sequence[np.ndarray],
    *,
    preset: Preset = "balanced",
    size_px: int = 512,
    engine: Engine | None = None,
    **fields: Any,
) -> np.ndarray:
    """The picture `content` restyled after the picture `style`, or after several in equal parts.

    All are uint8 [height, width, 3], RGB. The result keeps the content's aspect; its longer edge is `size_px`.
    `fields` are the other arguments of `stylefleet.presets.recipe_for`, such as content_weight, colors and seed. The
    engine that is loaded is kept for the next call; give one of your own for weights from a file. Raises RecipeInvalid
    and TypeError for fields, ValueError for arrays, ImageInvalid for pictures that are too small.

    >>> import numpy as np
    >>> from stylefleet.engine import stylize
    >>> photo = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    >>> painting = np.full((50, 50, 3), (200, 120, 40), np.uint8)
    >>> result = stylize(photo, painting, preset="draft", size_px=40)
    >>> result.shape, result.dtype.name
    ((30, 40, 3), 'uint8')
    """
    recipe = recipe_for(preset=preset, size_px=size_px, **fields)
    if content.dtype != np.uint8 or content.ndim != 3 or content.shape[2] != 3 or 0 in content.shape:
        raise ValueError(
            f"The content is uint8 [H, W, 3] with at least one pixel, found {content.dtype} {list(content.shape)}: "
            "decode float pixels with numpy.clip, numpy.rint and astype(uint8)."
        )
    styles = [style] if isinstance(style, np.ndarray) else list(style)
    width, height = pictures.result_size(content.shape[1], content.shape[0], recipe.size_px)
    batch = Batch(
        contents=pictures.resize(content, width, height)[None],
        details=tuple(pictures.detail(content, r, width, height)[None] for r in recipe.refine),
    )
    loaded = engine or _engine_for(recipe)
    looks = looks_for(loaded, [[(picture, 1.0) for picture in styles]], recipe, batch.contents)
    result: np.ndarray = run(loaded, batch, looks, recipe).pixels[0]
    return result


def _engine_for(recipe: Recipe) -> Engine:
    if not (_kept and serves(_kept[0], recipe)):
        _kept[:] = [load_engine(recipe)]
    return _kept[0]
