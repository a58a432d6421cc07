"""A grid of recipes: fields of the recipe with the values to try, and the cells that they make. Pure."""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from stylefleet import field_errors, yaml_positions
from stylefleet.errors import SettingsInvalid
from stylefleet.recipe import Recipe
from stylefleet.recipe_spec import RecipeSpec

CELLS_MAX = 64
"""More do not fit on a sheet that is looked at, and take an hour."""
_LISTS = ("scales", "refine", "contentLayers", "styleLayers")
"""Fields whose value is no single word or number."""
FIELDS = tuple(f.alias or n for n, f in RecipeSpec.model_fields.items() if (f.alias or n) not in _LISTS)
"""What a grid may vary."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One field and the values to try."""

    field: str
    """As a manifest names it."""
    values: tuple[object, ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One recipe of the grid."""

    number: int
    """From 1 on, row by row; it is on the sheet, and what is chosen by."""
    chosen: tuple[tuple[str, object], ...]
    """Field and value of each axis."""
    recipe: Recipe
    """At draft size."""

    @property
    def words(self) -> tuple[str, ...]:
        """Such as `contentWeight 1000`, for people."""
        return tuple(f"{f} {value:g}" if isinstance(value, float) else f"{f} {value}" for f, value in self.chosen)


def axis(text: str) -> Axis:
    """`contentWeight=500,1000` as an axis. Raises SettingsInvalid with what is allowed."""
    field, equals, values = text.partition("=")
    if field not in FIELDS:
        nearest = difflib.get_close_matches(field, FIELDS, n=1)
        allowed = f"did you mean {nearest[0]}?" if nearest else f"allowed are {', '.join(FIELDS)}"
        raise SettingsInvalid(f"--grid: found the field {field!r}; {allowed}")
    found = tuple(_value(part.strip()) for part in values.split(","))
    if not equals or "" in found:
        raise SettingsInvalid(f"--grid: found {text!r}, allowed is {field}=VALUE,VALUE,...")
    if len(set(map(repr, found))) < len(found):
        raise SettingsInvalid(f"--grid: found {text!r}, allowed are values that differ")
    return Axis(field=field, values=found)


def cells_of(axes: Sequence[Axis], base: dict[str, object]) -> list[Cell]:
    """Every combination; the last axis runs fastest. `base` has fields that hold where no axis says otherwise.

    Raises SettingsInvalid for a field that is there twice, for too many cells, and for recipes that cannot be meant.
    """
    names = [each.field for each in axes]
    doubled = next((name for name in names if names.count(name) > 1), None)
    if doubled:
        raise SettingsInvalid(f"--grid: found {doubled} twice; give all of its values at once")
    combinations = list(itertools.product(*(each.values for each in axes)))
    if len(combinations) > CELLS_MAX:
        raise SettingsInvalid(f"--grid: found {len(combinations)} cells, allowed are {CELLS_MAX}")
    cells = []
    for number, values in enumerate(combinations, start=1):
        chosen = dict(zip(names, values, strict=True))
        recipe = _recipe({**base, **chosen})
        cells.append(Cell(number=number, chosen=tuple(chosen.items()), recipe=recipe))
    return cells


def manifest_of(cell: Cell, *, style: str) -> str:
    """A manifest with the cell's recipe, at the size that the reader sets; what else it names is an example."""
    document = {
        "apiVersion": "stylefleet.dev/v1",
        "kind": "StyleJob",
        "metadata": {"name": "explored"},
        "spec": {
            "content": {"prefix": "s3://my-bucket/catalog/"},
            "styles": [{"image": f"s3://my-bucket/styles/{style}"}],
            "output": {"prefix": "s3://my-bucket/restyled/explored/"},
            "recipe": {"size": 1024, **dict(cell.chosen)},
        },
    }
    return f"# Cell {cell.number}: {', '.join(cell.words)}. Put your own bucket, folders and size.\n" + yaml.safe_dump(
        document, sort_keys=False, allow_unicode=True
    )


def _value(text: str) -> object:
    """A number where it reads as one, else the word. YAML would take 1e3 for a word."""
    try:
        number = json.loads(text)
    except ValueError:
        return text
    return number if isinstance(number, int | float) and not isinstance(number, bool) else text


def _recipe(fields: dict[str, Any]) -> Recipe:
    try:
        recipe = RecipeSpec.model_validate(fields).to_recipe()
    except ValidationError as error:
        nowhere = yaml_positions.parse(b"{}")
        first = field_errors.explained(error.errors()[0], nowhere, RecipeSpec)
        found = f" (found: {first.found})" if first.found else ""
        allowed = f" (allowed: {first.allowed})" if first.allowed else ""
        raise SettingsInvalid(f"--grid: {first.path or 'the recipe'}: {first.message}{found}{allowed}") from error
    if recipe.start == "picture":
        raise SettingsInvalid("--grid: start: found picture, allowed are content and noise: there is no other picture")
    return recipe
