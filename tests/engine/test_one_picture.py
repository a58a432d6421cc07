"""`stylefleet.engine.stylize`: arrays in, an array out, by the same way as everything else."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from stylefleet import pictures
from stylefleet.engine import Batch, Engine, looks_for, run, stylize
from stylefleet.errors import ImageInvalid
from stylefleet.presets import recipe_for
from stylefleet.recipe_rules import RecipeInvalid
from tests.engine.pictures import photo

PHOTO, PAINTING = photo(), np.ascontiguousarray(photo()[::-1, :, ::-1])
module = importlib.import_module("stylefleet.engine.stylize")


def test_it_is_what_the_parts_make(engine: Engine) -> None:
    recipe = recipe_for(preset="draft", size_px=32, precision="float32", content_weight=2e3)
    height, width = PHOTO.shape[:2]
    contents = pictures.resize(PHOTO, *pictures.result_size(width, height, 32))[None]
    both = [(PAINTING, 1.0), (PHOTO, 1.0)]
    parts = run(engine, Batch(contents=contents), looks_for(engine, [both], recipe), recipe).pixels[0]
    found = stylize(
        PHOTO,
        [PAINTING, PHOTO],
        preset="draft",
        size_px=32,
        engine=engine,
        precision="float32",
        content_weight=2e3,
    )
    np.testing.assert_array_equal(found, parts)


def test_a_box_is_worked_out_from_the_whole_picture(engine: Engine) -> None:
    from stylefleet.recipe import Refinement

    box = Refinement(box=(0.2, 0.2, 0.7, 0.7), zoom=2.0, iterations=2)
    options = {"preset": "draft", "size_px": 32, "engine": engine, "precision": "float32"}
    plain, refined = stylize(PHOTO, PAINTING, **options), stylize(PHOTO, PAINTING, refine=[box], **options)
    assert not np.array_equal(plain, refined)


def test_one_engine_is_kept_as_long_as_it_serves(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    loaded: list[object] = []

    def load(recipe: object) -> Engine:
        loaded.append(recipe)
        return engine

    monkeypatch.setattr(module, "_kept", [])
    monkeypatch.setattr(module, "load_engine", load)
    for seed in (0, 1):
        stylize(PHOTO, PAINTING, preset="draft", size_px=32, precision="float32", seed=seed)
    assert len(loaded) == 1
    monkeypatch.setattr(module, "serves", lambda *_: False)
    stylize(PHOTO, PAINTING, preset="draft", size_px=32, precision="float32")
    assert len(loaded) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (PHOTO.astype(np.float32), "found float32"),
        (PHOTO[..., 0], r"found uint8 \[\d+, \d+\]"),
        (PHOTO[None], r"found uint8 \[1, \d+, \d+, 3\]"),
    ],
)
def test_arrays_of_another_kind_are_told(engine: Engine, content: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        stylize(content, PAINTING, engine=engine)


def test_what_cannot_be_meant_is_told(engine: Engine) -> None:
    with pytest.raises(RecipeInvalid):
        stylize(PHOTO, PAINTING, engine=engine, size_px=9)
    with pytest.raises(TypeError, match="contentWeight"):
        stylize(PHOTO, PAINTING, engine=engine, contentWeight=1)
    with pytest.raises(ImageInvalid, match="the shorter edge"):
        stylize(PHOTO[:4], PAINTING, engine=engine)


def test_the_example_does_what_it_says() -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted == 6
    assert outcome.failed == 0
