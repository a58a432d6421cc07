"""`stylefleet explore` with the real engine: a sheet of cells that differ, and the manifest of one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from stylefleet import manifest as manifests
from stylefleet.cli.main import app
from stylefleet.errors import NotFound, SettingsInvalid
from tests.bucket_runs import picture

GRID = ("--grid", "contentWeight=1,1e6", "styleWeight=0.01,1")


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    photo = np.stack([np.tile(ramp, (48, 1)), np.tile(ramp[::-1], (48, 1)), np.full((48, 64), 90, np.uint8)], axis=2)
    Image.fromarray(photo).save(tmp_path / "photo.png")
    (tmp_path / "style.jpg").write_bytes(picture((200, 60, 30)))
    return str(tmp_path / "photo.png"), str(tmp_path / "style.jpg")


def test_the_sheet_has_photo_style_and_a_cell_for_each_recipe(files: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    done = CliRunner().invoke(app, ["explore", *files, *GRID, "--out", str(out), "--size", "32"])
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "4 cells" in done.stderr
    with Image.open(out) as opened:
        sheet = np.asarray(opened.convert("RGB"))
    # Two columns of equal width, three rows: the cells' left edges are one column apart.
    gap, column = 20, (sheet.shape[1] - 20) // 2
    cells = [
        sheet[top : top + 24, gap + column * n : gap + column * n + 32] for top in _tops(sheet)[1:] for n in range(2)
    ]
    assert len(cells) == 4
    for first in range(4):
        for second in range(first):
            assert not np.array_equal(cells[first], cells[second]), (first, second)


def test_a_name_that_the_sheets_font_has_no_letters_for_is_left_out_not_drawn_as_boxes(
    files: tuple[str, str], tmp_path: Path
) -> None:
    sheets = []
    for name in ("кошка.png", "猫.png"):
        photo = tmp_path / name
        photo.write_bytes(Path(files[0]).read_bytes())
        out = tmp_path / "sheet.png"
        done = CliRunner().invoke(
            app, ["explore", str(photo), files[1], "--grid", "seed=1", "--out", str(out), "--size", "32"]
        )
        assert done.exit_code == 0, done.output
        sheets.append(out.read_bytes())
    assert sheets[0] == sheets[1]


def _tops(sheet: np.ndarray) -> list[int]:
    """Where pictures begin: lines that have no paper over the width of one, after lines that do."""
    covered = (sheet[:, 20:52] != sheet[0, 0]).any(axis=2).all(axis=1)
    return [y for y in range(1, len(covered)) if covered[y] and not covered[y - 1]]


def test_a_chosen_cell_is_printed_as_a_manifest_and_nothing_is_drawn(files: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "sheet.png"
    done = CliRunner().invoke(app, ["explore", *files, *GRID, "--out", str(out), "--choose", "3"])
    assert done.exit_code == 0, done.output
    recipe = manifests.parse(done.stdout.encode(), name="explored").spec.recipe
    assert (recipe.content_weight, recipe.style_weight) == (1e6, 0.01)
    assert not out.exists()


@pytest.mark.parametrize(
    ("more", "kind", "sentence"),
    [
        ([], SettingsInvalid, "--grid: found none, allowed is FIELD=VALUE"),
        ([*GRID, "--choose", "5"], SettingsInvalid, "--choose: found 5, allowed are 1 to 4"),
        ([*GRID, "--out", "sheet.jpg"], SettingsInvalid, "found suffix '.jpg', allowed is .png"),
        ([*GRID, "--out", "no/such/sheet.png"], NotFound, "no/such: no such folder"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_loaded(
    files: tuple[str, str], more: list[str], kind: type[Exception], sentence: str
) -> None:
    done = CliRunner().invoke(app, ["explore", *files, *more])
    assert isinstance(done.exception, kind)
    assert sentence in str(done.exception)


def test_a_photo_that_is_not_there_is_named(files: tuple[str, str], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["explore", "gone.jpg", files[1], *GRID, "--out", str(tmp_path / "s.png")])
    assert isinstance(done.exception, NotFound)
    assert "gone.jpg: no such file" in str(done.exception)
