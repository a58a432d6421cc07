"""Pictures that are drawn, not stored, and recipes for them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from stylefleet.engine import Batch, Device, Engine, Iterate, Looks, load_engine, looks_for
from stylefleet.engine import engine as engines
from stylefleet.engine import run as run_batch
from stylefleet.pictures import resize
from stylefleet.presets import recipe_for
from stylefleet.recipe import Recipe, Scale


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


def recipe(*scales: tuple[int, int], **changes: Any) -> Recipe:
    """A float32 recipe with these (size_px, iterations)."""
    return recipe_for(
        size_px=scales[-1][0],
        scales=[Scale(size_px=size, iterations=n) for size, n in scales],
        **{"precision": "float32", **changes},
    )


def contents(recipe: Recipe, *pictures: np.ndarray) -> np.ndarray:
    """The pictures at the recipe's size, all 3:2: uint8 [B, H, W, 3]."""
    return np.stack([resize(p, recipe.size_px, recipe.size_px * 2 // 3) for p in pictures or (photo(),)])


def looks(engine: Engine, recipe: Recipe, *styles: np.ndarray, contents: np.ndarray | None = None) -> Looks:
    """One region a style."""
    return looks_for(engine, [[(style, 1.0)] for style in styles or (painting(),)], recipe, contents)


def restyled(engine: Engine, recipe: Recipe, *pictures: np.ndarray, style: np.ndarray | None = None) -> Iterate:
    """The last iterate of a plain run."""
    batch = Batch(contents=contents(recipe, *pictures))
    style = painting() if style is None else style
    return run_batch(engine, batch, looks(engine, recipe, style, contents=batch.contents), recipe)


def engine_of_a_gpu(recipe: Recipe) -> Engine:
    """As it is loaded where there is a GPU: its programs are compiled by XLA, here for the CPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "probe_device", lambda: Device(kind="gpu", name="a GPU"))
        loaded = load_engine(recipe)
    assert loaded.programs.xla
    return loaded


def gray_levels(pixels: np.ndarray) -> np.ndarray:
    """Light and dark of uint8 [..., 3] as one long row."""
    return pixels.astype(float).mean(axis=-1).ravel()


def with_scales(recipe: Recipe, *scales: tuple[int, int]) -> Recipe:
    return dataclasses.replace(recipe, scales=tuple(Scale(size_px=s, iterations=n) for s, n in scales))
