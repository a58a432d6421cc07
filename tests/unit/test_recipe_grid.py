"""A grid of recipes: which cells there are, what is refused and how, and the manifest of a chosen cell."""

from __future__ import annotations

import numpy as np
import pytest

from stylefleet import manifest as manifests
from stylefleet.cli import contact_sheet
from stylefleet.cli.contact_sheet import Labelled
from stylefleet.cli.recipe_grid import CELLS_MAX, FIELDS, axis, cells_of, manifest_of
from stylefleet.errors import SettingsInvalid
from stylefleet.recipe_spec import RecipeSpec

DRAFT: dict[str, object] = {"preset": "draft", "size": 64}


def test_cells_are_every_combination_and_the_last_field_runs_fastest() -> None:
    cells = cells_of([axis("contentWeight=500,1e3"), axis("colors=match, luminance")], DRAFT)
    assert [(c.number, c.recipe.content_weight, c.recipe.colors) for c in cells] == [
        (1, 500, "match"),
        (2, 500, "luminance"),
        (3, 1000, "match"),
        (4, 1000, "luminance"),
    ]
    assert {c.recipe.size_px for c in cells} == {64}
    assert cells[2].words == ("contentWeight 1000", "colors match")


def test_a_field_of_the_grid_is_stronger_than_the_draft() -> None:
    (small, large) = cells_of([axis("size=32,128")], DRAFT)
    assert (small.recipe.size_px, large.recipe.size_px) == (32, 128)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("contentWeigth=3", "found the field 'contentWeigth'; did you mean contentWeight"),
        ("zzz=3", "allowed are preset, size, contentWeight, "),
        ("scales=3", "found the field 'scales'; allowed are preset"),
        ("contentWeight", "found 'contentWeight', allowed is contentWeight=VALUE,VALUE"),
        ("contentWeight=1,,2", "allowed is contentWeight=VALUE,VALUE"),
        ("contentWeight=1,2,1", "allowed are values that differ"),
    ],
)
def test_an_axis_that_cannot_be_meant_says_what_is_allowed(text: str, sentence: str) -> None:
    with pytest.raises(SettingsInvalid, match=sentence):
        axis(text)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (["colors=style,blue"], r"colors: .*\(found: 'blue'\) \(allowed: 'style', 'match' or 'luminance'\)"),
        (["size=9,64"], r"size: the number is out of range \(found: 9\) \(allowed: greater than or equal to 16\)"),
        (["contentWeight=much"], r"contentWeight: .*valid number.*\(found: 'much'\)"),
        (["start=picture"], "start: found picture, allowed are content and noise"),
        (["seed=1", "seed=2"], "found seed twice"),
        ([f"seed={','.join(map(str, range(CELLS_MAX + 1)))}"], f"found {CELLS_MAX + 1} cells, allowed are {CELLS_MAX}"),
    ],
)
def test_a_grid_that_cannot_be_meant_says_what_was_found_and_what_is_allowed(texts: list[str], sentence: str) -> None:
    with pytest.raises(SettingsInvalid, match=sentence):
        cells_of([axis(text) for text in texts], DRAFT)


def test_every_field_of_the_recipe_that_is_one_word_or_number_can_be_in_a_grid() -> None:
    names = {f.alias or n for n, f in RecipeSpec.model_fields.items()}
    assert names - set(FIELDS) == {"scales", "refine", "contentLayers", "styleLayers"}


def test_the_manifest_of_a_cell_is_a_good_one_and_has_its_numbers_but_not_the_draft() -> None:
    cell = cells_of([axis("contentWeight=500,1e3"), axis("preset=fine,portrait")], DRAFT)[3]
    text = manifest_of(cell, style="кошка: #1.jpg")
    assert text.startswith("# Cell 4: contentWeight 1000, preset portrait. ")
    spec = manifests.parse(text.encode(), name="explored").spec
    assert (spec.recipe.content_weight, spec.recipe.preset, spec.recipe.size) == (1000, "portrait", 1024)
    assert spec.styles[0].image == "s3://my-bucket/styles/кошка: #1.jpg"
    plain = manifests.parse(manifest_of(cells_of([axis("seed=3")], DRAFT)[0], style="a.jpg").encode(), name="explored")
    assert plain.spec.recipe.preset == "balanced"


def test_pictures_stand_in_their_rows_and_no_label_is_cut() -> None:
    def cell(shade: int, *, size: tuple[int, int], line: str = "x") -> Labelled:
        return Labelled(pixels=np.full((*size, 3), shade, np.uint8), title="1", lines=(line,))

    short = contact_sheet.draw([[cell(10, size=(40, 60)), cell(20, size=(60, 40))], [cell(30, size=(20, 20))]])
    places = {shade: np.argwhere((short == shade).all(axis=2)) for shade in (10, 20, 30)}
    corners = {shade: tuple(found.min(axis=0).tolist()) for shade, found in places.items()}
    assert corners[10][0] == corners[20][0] < corners[30][0]
    assert corners[10][1] == corners[30][1] < corners[20][1]
    assert {shade: len(found) for shade, found in places.items()} == {10: 2400, 20: 2400, 30: 400}
    long = contact_sheet.draw([[cell(10, size=(40, 60), line="a label that is far wider than the picture above it")]])
    ink = np.argwhere((long != long[0, 0]).any(axis=2))
    assert ink[:, 1].max() < long.shape[1] - contact_sheet.GAP_PX + 1
    assert ink[:, 1].max() > 200
