"""Folders that a command fills."""

from __future__ import annotations

import shutil
from pathlib import Path

from stylefleet.errors import SettingsInvalid


def make_empty(path: Path, *, marker: str, maker: str, remedy: str) -> None:
    """Make `path` an empty folder; what is in it is removed only where `maker` has made it, by the marker that it
    leaves. Raises SettingsInvalid."""
    if path.exists() and not (path / marker).exists() and (not path.is_dir() or any(path.iterdir())):
        raise SettingsInvalid(f"{path}: not empty, and not made by {maker}; {remedy}")
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    (path / marker).touch()
