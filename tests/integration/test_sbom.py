"""`make sbom`: a bill of materials of each image, from its lock."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import stylefleet

ROOT = Path(__file__).parents[2]
IMAGES = ("controller", "worker-cpu", "worker-gpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sbom")
    subprocess.run(["make", "--silent", "sbom", f"SBOM={folder}"], cwd=ROOT, check=True)
    return folder


def locked(image: str) -> dict[tuple[str, str], set[str]]:
    """SHA-256 of every file by name and version, read from the lock."""
    found: dict[tuple[str, str], set[str]] = {}
    for block in re.split(r"(?m)^(?=[a-z0-9])", (ROOT / f"locks/{image}.txt").read_text())[1:]:
        name, version = re.match(r"([^=\[]+)(?:\[.*?\])?==([^ ]+)", block).groups()  # type: ignore[union-attr]
        found[name, version] = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", block))
    return found


@pytest.mark.parametrize("image", IMAGES)
def test_every_locked_package_is_listed_with_its_hashes(folder: Path, image: str) -> None:
    document: dict[str, Any] = json.loads((folder / f"{image}.cdx.json").read_text())
    assert document["bomFormat"] == "CycloneDX"
    root = document["metadata"]["component"]
    assert (root["name"], root["version"]) == ("stylefleet", stylefleet.__version__)
    listed = {
        (component["name"], component["version"]): {
            one["content"] for place in component["externalReferences"] for one in place["hashes"]
        }
        for component in document["components"]
    }
    assert listed == locked(image)
    assert all(listed.values()), "nothing without a hash"
    assert {c["purl"].partition("@")[0] for c in document["components"]} == {f"pkg:pypi/{name}" for name, _ in listed}


def test_the_same_locks_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    subprocess.run(["make", "--silent", "sbom", f"SBOM={tmp_path}"], cwd=ROOT, check=True)
    for image in IMAGES:
        name = f"{image}.cdx.json"
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
