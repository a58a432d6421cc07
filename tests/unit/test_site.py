"""The documents as a site: every page in its place, every link whole, and nothing fetched from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED_BY = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}
NOT_LOADED = {"canonical", "next", "prev", "alternate"}
"""What a browser does not fetch of a `link`."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


class Loaded(HTMLParser):
    """What a page has a browser fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.classes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.classes.update((given.get("class") or "").split())
        wanted = given.get(LOADED_BY.get(tag, ""))
        if wanted and not (tag == "link" and set((given.get("rel") or "").split()) & NOT_LOADED):
            self.found.append(wanted)


def test_no_page_fetches_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 15
    for page in pages:
        loaded = Loaded()
        loaded.feed(page.read_text())
        assert loaded.found
        assert [url for url in loaded.found if re.match(r"(\w+:)?//", url)] == [], page
        # The theme's script would fetch a library for diagrams, where there is one.
        assert "mermaid" not in loaded.classes, page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//|@import", sheet.read_text()), sheet


def test_pages_are_made_of_documents_elsewhere(site: Path) -> None:
    for page, words in {
        "architecture.html": "Bird's eye",
        "decisions.html": "newest first",
        "security.html": "Threats",
        "changelog.html": "Unreleased",
        "tutorial.html": "Gram matrices: style without place",
        "quickstart-cluster.html": "helm install",
        "index.html": "Nothing is lost, nothing is done twice",
    }.items():
        text = (site / page).read_text().replace("&#39;", "'").replace("’", "'")
        assert words in text, page
        assert "README:" not in text, page


def test_the_tutorials_pictures_are_on_its_page(site: Path) -> None:
    named = re.findall(r'src="(tutorial-\d+\.png)"', (site / "tutorial.html").read_text())
    assert len(named) >= 8
    assert all((site / name).stat().st_size > 500 for name in named)
