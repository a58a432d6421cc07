"""A command empties only a folder that it has made."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylefleet.cli.folders import make_empty
from stylefleet.errors import SettingsInvalid


def take(path: Path) -> None:
    make_empty(path, marker=".mine", maker="the demo", remedy="choose another")


def test_a_folder_with_somebodys_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(SettingsInvalid, match="not made by the demo"):
        take(tmp_path)
    assert (tmp_path / "holiday.jpg").exists()


def test_a_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"x")
    with pytest.raises(SettingsInvalid, match="not made by the demo"):
        take(tmp_path / "out")


def test_a_new_or_an_empty_folder_is_taken_and_emptied_the_next_time(tmp_path: Path) -> None:
    take(tmp_path / "new")
    (tmp_path / "new" / "result.jpg").write_bytes(b"x")
    take(tmp_path / "new")
    assert not (tmp_path / "new" / "result.jpg").exists()
