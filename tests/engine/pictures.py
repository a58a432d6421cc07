"""Pictures that are drawn, not stored, and recipes for them."""

from __future__ import annotations

import dataclasses

import numpy as np

from stylefleet.engine import Engine, StyleTarget, style_target
from stylefleet.pictures import resize
from stylefleet.recipe import Recipe, Scale, recipe_for


def photo(width: int = 48, height: int = 32) -> np.ndarray:
    """A bright sky over dark ground with a red house: uint8 [H, W, 3]."""
    y, x = np.mgrid[0:height, 0:width] / np.array([height, width]).reshape(2, 1, 1)
    sky = np.stack([120 + 80 * y, 160 + 60 * y, np.full_like(y, 230)], axis=-1)
    ground = np.stack([60 + 20 * x, 80 - 30 * x, np.full_like(x, 40)], axis=-1)
    picture = np.where((y > 0.6)[..., None], ground, sky)
    picture[(abs(x - 0.5) < 0.15) & (y > 0.35) & (y < 0.75)] = (180, 40, 30)
    return picture.astype(np.uint8)


def painting(size: int = 64, seed: int = 1) -> np.ndarray:
    """Coloured waves: uint8 [size, size, 3]."""
    y, x = np.mgrid[0:size, 0:size] / size
    phases = np.random.default_rng(seed).uniform(0, 6, size=3)
    waves = [np.sin(25 * (x * np.cos(p) + y * np.sin(p)) + 3 * np.sin(9 * y + p)) for p in phases]
    return (127.5 + 120 * np.stack(waves, axis=-1)).astype(np.uint8)


def recipe(*scales: tuple[int, int], **changes: float) -> Recipe:
    """A recipe with these (size_px, iterations)."""
    return dataclasses.replace(
        recipe_for(size_px=scales[-1][0], precision="float32"),
        scales=tuple(Scale(size_px=size, iterations=n) for size, n in scales),
        **changes,
    )


def contents(recipe: Recipe, *pictures: np.ndarray) -> np.ndarray:
    """The pictures at the recipe's size, all 3:2: uint8 [B, H, W, 3]."""
    return np.stack([resize(p, recipe.size_px, recipe.size_px * 2 // 3) for p in pictures or (photo(),)])


def targets(engine: Engine, recipe: Recipe, style: np.ndarray | None = None) -> tuple[StyleTarget, ...]:
    return tuple(style_target(engine, painting() if style is None else style, s.size_px) for s in recipe.scales)
