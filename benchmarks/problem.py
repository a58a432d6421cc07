"""What every method is given: one picture, one style, one objective."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from stylefleet import engine as engines
from stylefleet import pictures
from stylefleet.engine.colors import color_moments, match_colors
from stylefleet.presets import recipe_for
from stylefleet.recipe import Precision, Recipe

SAMPLES = Path(__file__).parents[1] / "samples"
PHOTO = SAMPLES / "photos" / "pavilion.jpg"
STYLE = SAMPLES / "styles" / "starry_night.jpg"


@dataclass(frozen=True, kw_only=True, eq=False)
class Problem:
    """A picture to be restyled at one size."""

    photo: np.ndarray
    """uint8 [H, W, 3] of the result's size."""
    style: np.ndarray
    """uint8 [H, W, 3], cut to the photo's own size: methods that put both into one batch then see the same style."""
    recipe: Recipe
    """Layers and weights of the objective; the presets differ in their steps only."""

    @property
    def content(self) -> np.ndarray:
        """The photo in the style's colours, uint8 [H, W, 3]: what the content term compares with. The engine starts
        there, with noise; the peers start from the photo."""
        mean, gram = color_moments(self.style)
        return match_colors(self.photo, mean=mean, gram=gram)


def problem_for(size_px: int) -> Problem:
    """The sample photo and painting at this size."""
    photo = pictures.decode(PHOTO.read_bytes())
    width, height = pictures.result_size(photo.shape[1], photo.shape[0], size_px)
    return Problem(
        photo=pictures.resize(photo, width, height),
        style=filled(pictures.decode(STYLE.read_bytes()), width, height),
        recipe=recipe_for(size_px=size_px),
    )


def filled(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """The largest middle part of uint8 [H, W, 3] that has the aspect width : height, at that size."""
    found_height, found_width = pixels.shape[:2]
    factor = min(found_width / width, found_height / height)
    cut_width, cut_height = round(width * factor), round(height * factor)
    left, top = (found_width - cut_width) // 2, (found_height - cut_height) // 2
    return pictures.resize(pixels[top : top + cut_height, left : left + cut_width], width, height)


@cache
def engine_for(precision: Precision) -> engines.Engine:
    """An engine of the default backbone; loading it is no part of any measurement."""
    return engines.load_engine(recipe_for(precision=precision))


def once_per_scale(recipe: Recipe) -> Recipe:
    """The recipe with one step at each scale: traces and warms up all that the recipe runs."""
    return replace(recipe, scales=tuple(replace(scale, iterations=1) for scale in recipe.scales))
