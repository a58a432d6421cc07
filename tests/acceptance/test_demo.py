"""`stylefleet demo` as a new user meets it: rejection, progress, pictures, report, page."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

SAMPLES = Path(__file__).parents[2] / "samples" / "photos"


@pytest.mark.timeout(1800)
def test_the_demo_ends_with_every_sample_restyled_and_a_page_that_shows_them(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stylefleet.cli.main", "demo"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"COLUMNS": "160"}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "did you mean contentWeight?" in done.stdout, "the wrong manifest's mistakes are shown"
    assert "8/8 pictures" in done.stdout
    out = tmp_path / "demo-out"
    photos = sorted(p.name for p in SAMPLES.iterdir())
    assert sorted(p.name for p in (out / "originals").iterdir()) == photos
    report = json.loads((out / "report.json").read_text())
    assert report["totals"] == {"pictures": len(photos), "skipped": 0, "done": len(photos), "failed": 0}
    thumbnails = (out / "report.html").read_text().count("data:image/webp")
    assert thumbnails == 2 * len(photos), "each before and after"
    page = unquote((out / "index.html").read_text())
    for path in sorted((out / "restyled").iterdir()):
        assert f"restyled/{path.name}" in page
        with Image.open(path) as result:
            assert max(result.size) == 256
