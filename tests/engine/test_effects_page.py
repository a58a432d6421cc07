"""docs/effects.md shows every field of a recipe, with pictures that its own script makes."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from PIL import Image

from stylefleet.recipe_spec import RecipeSpec

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_effects", DOCS / "make_effects.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look for their annotations
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_its_script_writes_and_has_its_pictures(script: ModuleType) -> None:
    assert (DOCS / "effects.md").read_text() == script.page()
    for effect in script.EFFECTS:
        with Image.open(DOCS / "effects" / f"{effect.name}.jpg") as picture:
            assert picture.width >= script.SIZE_PX


def test_every_shot_and_every_snippet_is_a_recipe(script: ModuleType) -> None:
    for effect in script.EFFECTS:
        for shot in effect.shots:
            RecipeSpec.model_validate({"size": script.SIZE_PX, **shot.recipe}).to_recipe()
        snippet = yaml.safe_load(script.section(effect).split("```yaml")[1].split("```")[0])
        RecipeSpec.model_validate({"size": script.SIZE_PX, **snippet["spec"].get("recipe", {})})


def test_every_field_of_a_recipe_is_on_the_page(script: ModuleType) -> None:
    page = script.page()
    fields = {field.alias or name for name, field in RecipeSpec.model_fields.items()}
    assert not {
        name for name in fields if f"`{name}`" not in page and f"{name}:" not in page and f"`recipe.{name}`" not in page
    }
