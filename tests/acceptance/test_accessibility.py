"""Gallery and report by axe-core in a real browser, light and dark: nothing that people cannot read, reach or hear."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accessibility import violations
from tests.chromium import Tab, chromium
from tests.gallery_pages import made_up
from tests.report_pages import page as report_page

LAID_OUT = "document.querySelector('.grid').classList.contains('rows')"
LOADED = "[...document.images].every((i) => i.complete || !i.src)"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up(tmp_path_factory.mktemp("gallery") / "page", 100, note="Small copies.")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(report_page("catalog", done=60, failed=20), encoding="utf-8")
    return file


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_gallery_in_every_state(tab: Tab, gallery: Path, width: int, dark: bool) -> None:
    tab.open(gallery, width=width, dark=dark, laid_out=LAID_OUT)
    tab.wait(LOADED)
    assert violations(tab) == [], "the overview"
    tab.evaluate("document.querySelector('[value=failed]').click()")
    assert violations(tab) == [], "failed pictures only"
    tab.evaluate("document.querySelector('#p8 .open').click()")
    assert violations(tab) == [], "a failed picture in the view"
    tab.key("Escape")
    tab.key("/")
    tab.command("Input.insertText", text="no such name")
    assert violations(tab) == [], "nothing found"
    tab.key("Escape")
    tab.evaluate("document.querySelector('#p2 .open').click()")
    tab.wait(LOADED)
    assert violations(tab) == [], "the view, one picture over the other"
    tab.key("s")
    tab.key("+")
    assert violations(tab) == [], "the view, side by side and zoomed"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_report(tab: Tab, report: Path, width: int, dark: bool) -> None:
    tab.open(report, width=width, dark=dark)
    assert violations(tab) == []


def test_what_is_wrong_is_found(tab: Tab, report: Path) -> None:
    tab.open(report)
    tab.evaluate("document.documentElement.removeAttribute('lang')")
    tab.evaluate("document.documentElement.style.setProperty('--muted', '#b6b9c0')")
    assert {"html-has-lang", "color-contrast"} <= {one.partition(" ")[0] for one in violations(tab)}
