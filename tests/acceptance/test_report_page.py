"""The report page in a real browser, opened from the disk: it is read without a network, and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chromium import Tab, chromium
from tests.report_pages import page
from tests.unit.test_gallery import HOSTILE

LONG = "/" + "a-very-long-name-without-any-break" * 8


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report #1 100% ?.html"
    file.write_text(page(HOSTILE + LONG, done=60, failed=20), encoding="utf-8")
    return file


def test_hostile_keys_and_messages_are_text_nothing_leaves_and_nothing_complains(tab: Tab, hostile: Path) -> None:
    tab.open(hostile)
    shown = tab.evaluate("document.body.innerText")
    assert shown.count("<script>alert('1')</script>") >= 40
    assert tab.evaluate("document.scripts.length") == 0
    assert tab.evaluate("document.querySelectorAll('[onerror]').length") == 0
    assert tab.troubles() == []
    assert tab.requested() <= {"file", "data"}


def test_every_thumbnail_loads_from_the_page_itself(tab: Tab, hostile: Path) -> None:
    tab.open(hostile)
    tab.wait("[...document.images].every((i) => i.complete)")
    assert tab.evaluate("[...document.images].map((i) => i.naturalWidth)") == [60] * 8


def test_the_policy_refuses_what_was_put_into_the_page_by_any_mistake(tab: Tab, hostile: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged.html"
    more = "<script>document.title = 'owned'</script><img src='https://example.com/a.png'><p style='color: red'>x</p>"
    forged.write_text(hostile.read_text().replace("</main>", f"{more}</main>"))
    tab.open(forged)
    assert tab.evaluate("document.title").endswith("partially succeeded")
    assert len([t for t in tab.troubles() if "Content Security Policy" in t]) == 3
    assert tab.requested() <= {"file", "data", "https"}
    refused = [e["params"] for e in tab.events if e["method"] == "Network.loadingFailed"]
    assert all(e.get("blockedReason") == "csp" for e in refused)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_nothing_is_wider_than_the_screen(tab: Tab, hostile: Path, width: int, dark: bool) -> None:
    tab.open(hostile, width=width, dark=dark)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    over = (
        "[...document.body.querySelectorAll('*')].filter((e) => !e.closest('svg, .pair b') "
        f"&& e.getBoundingClientRect().right > {width} + 1).map((e) => e.outerHTML.slice(0, 80))"
    )
    assert tab.evaluate(over) == []


def test_the_page_is_light_or_dark_as_the_reader_has_it(tab: Tab, hostile: Path) -> None:
    def lightness() -> int:
        return sum(map(int, tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")))

    tab.open(hostile)
    assert lightness() > 600
    tab.open(hostile, dark=True)
    assert lightness() < 150


def test_the_chart_shows_each_span_within_its_frame(tab: Tab, hostile: Path) -> None:
    tab.open(hostile)
    frame, *bars = tab.evaluate(
        "[document.querySelector('.chart svg'), ...document.querySelectorAll('.chart .done, .chart svg .bad')]"
        ".filter((e) => e.tagName !== 'I').map((e) => e.getBoundingClientRect().toJSON())"
    )
    assert len(bars) > 10
    for bar in bars:
        assert bar["height"] > 0
        assert bar["top"] >= frame["top"] - 1
        assert bar["bottom"] <= frame["bottom"] + 1
        assert bar["right"] <= frame["right"] + 1
