"""docs/effects.md shows every field of a recipe, with pictures that its own script makes of what stands beside them."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import yaml
from PIL import Image

from stylefleet.recipe_spec import RecipeSpec

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "effects.md").read_text()
SECTIONS = re.findall(r'\]\(effects/(\S+)\.jpg\)\n\nThe picture "([^"]+)":\n\n```yaml\n(.*?)```', PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_effects", DOCS / "make_effects.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where pydantic looks for its annotations
    spec.loader.exec_module(module)
    return module


def made_by(name: str) -> list[dict[str, object]]:
    """What made the picture of a row, shot by shot, as the picture itself says."""
    with Image.open(DOCS / "effects" / f"{name}.jpg") as picture:
        return json.loads(picture.info["comment"])


def test_the_page_is_what_its_script_writes(script: ModuleType) -> None:
    assert script.page() == PAGE


def test_every_picture_was_made_by_the_shots_of_its_row(script: ModuleType) -> None:
    rows = {effect.name: effect.made_by for effect in script.EFFECTS}
    assert {name: made_by(name) for name in rows} == rows
    assert {picture.stem for picture in (DOCS / "effects").iterdir()} == set(rows)


def test_every_snippet_is_what_made_the_picture_that_it_names(script: ModuleType) -> None:
    assert [name for name, _, _ in SECTIONS] == [effect.name for effect in script.EFFECTS]
    for name, caption, snippet in SECTIONS:
        (shot,) = (shot for shot in made_by(name) if shot["caption"] == caption)
        spec = yaml.safe_load(snippet)["spec"]
        assert {**shot, **spec} == shot, name
        assert set(shot) - set(spec) == {"caption", "photo", "how", "digest"}, name


def test_every_shot_is_a_spec_of_a_manifest(script: ModuleType) -> None:
    for effect in script.EFFECTS:
        for shot in effect.shots:
            assert script.checked(shot.spec).recipe.to_recipe().size_px == script.SIZE_PX


def test_every_field_of_a_recipe_is_on_the_page() -> None:
    fields = {field.alias or name for name, field in RecipeSpec.model_fields.items()}
    assert not {name for name in fields if f"`{name}`" not in PAGE and f"{name}:" not in PAGE}


def test_a_difference_is_that_of_the_two_pictures_before_it(script: ModuleType) -> None:
    pictures = [Image.fromarray(np.full((2, 2, 3), value, np.uint8)) for value in (100, 103)]
    assert np.asarray(script.difference(*pictures)).tolist() == np.full((2, 2, 3), 48).tolist()
