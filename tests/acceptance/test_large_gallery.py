"""A gallery of 5,000 pictures in a real browser: only what is near the screen is in the document, and all is found."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chromium import Tab, chromium
from tests.gallery_pages import FAILED_EVERY, made_up

COUNT = 5000
FAILED = COUNT // FAILED_EVERY
LAID_OUT = "document.querySelector('.grid').classList.contains('rows')"
NAMES = "[...document.querySelectorAll('.card .name')].map((e) => e.textContent)"
VIEWED = "document.querySelector('#view-name').textContent"
LEFT, RIGHT = (f"document.querySelector('dialog img.{side}').style.transform" for side in ("left", "right"))


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up(tmp_path_factory.mktemp("gallery") / "page", COUNT)


def search(tab: Tab, words: str) -> None:
    tab.key("/")
    assert tab.evaluate("document.activeElement.id") == "search"
    tab.command("Input.insertText", text=words)


@pytest.mark.parametrize("width", [360, 1280])
def test_a_scroll_through_all_of_it_never_has_more_in_the_document_than_some_screens(
    tab: Tab, page: Path, width: int
) -> None:
    tab.open(page, width=width, laid_out=LAID_OUT)
    scroll = """new Promise(async (done) => {
        const height = document.documentElement.scrollHeight, counts = [], names = new Set();
        for (let step = 0; step <= 60; step++) {
            scrollTo({top: height * step / 60, behavior: 'instant'});
            await new Promise(requestAnimationFrame);
            await new Promise(requestAnimationFrame);
            counts.push(document.querySelectorAll('*').length);
            const seen = [...document.querySelectorAll('.card')].filter((card) => {
                const box = card.getBoundingClientRect();
                return box.top < innerHeight && box.bottom > 0;
            });
            if (!seen.length) counts.push(Infinity);
            names.add(seen.at(-1).querySelector('.name').textContent);
        }
        done([Math.max(...counts), names.size, [...names].at(-1)]);
    })"""
    most, different, last = tab.evaluate(scroll)
    assert most < 1000
    assert different > 55
    assert last == f"shoes/summer/model-{COUNT - 1:05}.jpg"
    assert tab.troubles() == []


def test_pictures_outside_the_screens_around_are_not_asked_for(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    tab.wait("[...document.querySelectorAll('.card img')].every((i) => i.complete)")
    urls = [e["params"]["request"]["url"] for e in tab.events if e["method"] == "Network.requestWillBeSent"]
    assert 0 < len([url for url in urls if url.endswith(".webp")]) < 100


def test_words_find_pictures_and_escape_brings_all_back(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    search(tab, "SUMMER 0123")
    assert tab.evaluate(NAMES) == [f"shoes/summer/model-{number:05}.jpg" for number in (123, *range(1230, 1240))]
    assert tab.evaluate("document.querySelector('#shown').textContent") == "11 of 5,000"
    tab.evaluate("document.querySelector('[value=done]').click()")
    tab.evaluate("document.querySelector('#search').focus()")
    tab.key("Escape")
    assert tab.evaluate("document.querySelector('#search').value") == ""
    assert tab.evaluate("document.querySelector('.tools').elements.outcome.value") == "", (
        "all of them, whatever hid some"
    )
    assert tab.evaluate("document.querySelector('#shown').textContent") == ""
    search(tab, "no such")
    assert tab.evaluate("document.querySelector('#nothing').hidden") is False
    tab.evaluate("document.querySelector('#reset').click()")
    assert len(tab.evaluate(NAMES)) > 5


def test_outcome_and_style_are_chosen_together(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    tab.evaluate("document.querySelector('[value=failed]').click()")
    assert tab.evaluate("document.querySelector('#shown').textContent") == f"{FAILED} of 5,000"
    assert set(tab.evaluate("[...document.querySelectorAll('.card .reason')].map((e) => e.textContent)")) == {
        "undecodable"
    }
    choose = (
        "(() => { const e = document.querySelector('#style'); e.value = '%s';"
        "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    # Every failed picture has an odd number, as has the look of this style.
    tab.evaluate(choose % "shipwreck.jpg")
    assert tab.evaluate("document.querySelector('#shown').textContent") == f"{FAILED} of 5,000"
    tab.evaluate(choose % "the_scream.jpg")
    assert tab.evaluate("document.querySelector('#nothing').hidden") is False
    tab.evaluate("document.querySelector('[value=done]').click()")
    assert tab.evaluate("document.querySelector('#shown').textContent") == "2,500 of 5,000"


def test_a_run_is_chosen_by_its_name_and_each_picture_says_whose_it_is(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    runs = (
        "[...new Set([...document.querySelectorAll('.card .size')].map((e) => e.textContent).filter(Boolean))].sort()"
    )
    assert tab.evaluate(runs) == ["spring", "winter"]
    tab.evaluate(
        "(() => { const e = document.querySelector('#style');"
        "e.selectedIndex = [...e.options].findIndex((one) => one.textContent === 'winter');"
        "e.dispatchEvent(new Event('input', {bubbles: true})); })()"
    )
    assert tab.evaluate(runs) == ["winter"]
    assert tab.evaluate("document.querySelector('#shown').textContent") == "2,500 of 5,000"


def test_a_failed_picture_says_why_in_the_overview_and_in_the_view(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    tab.evaluate("document.querySelector('[value=failed]').click()")
    tab.click(tab.at("#p8 .told", 0.5))
    assert tab.evaluate("document.querySelector('dialog').open") is True
    assert tab.evaluate(VIEWED) == "shoes/summer/model-00007.jpg"
    shown = tab.evaluate("document.querySelector('dialog').innerText")
    assert "undecodable" in shown
    assert "none of the allowed formats" in shown
    tab.key("ArrowRight")
    assert tab.evaluate(VIEWED) == "shoes/summer/model-00057.jpg", "the next one of those that are shown"


def test_arrows_walk_from_picture_to_picture_in_the_overview(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    tab.evaluate("document.querySelector('#p1 .open').focus()")
    focused = "document.activeElement.closest('.card').id"
    tab.key("ArrowRight")
    assert tab.evaluate(focused) == "p2"
    tab.key("ArrowLeft")
    tab.key("ArrowLeft")
    assert tab.evaluate(focused) == "p1"
    tops = [tab.evaluate("parseFloat(document.activeElement.closest('.card').style.top)")]
    for _ in range(30):
        tab.key("ArrowDown")
        tops.append(tab.evaluate("parseFloat(document.activeElement.closest('.card').style.top)"))
    assert tops == sorted(set(tops)), "one row further each time"
    box = tab.evaluate("document.activeElement.getBoundingClientRect().toJSON()")
    assert 0 <= box["top"] < box["bottom"] <= 900


def test_what_has_the_focus_stays_in_the_document_however_far_one_scrolls(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    tab.evaluate("document.querySelector('#p3 .open').focus()")
    tab.evaluate("scrollTo({top: 200000, behavior: 'instant'})")
    tab.wait("!document.querySelector('#p1')")
    assert tab.evaluate("document.activeElement.closest('.card')?.id") == "p3"


def test_both_versions_are_zoomed_and_panned_as_one_by_wheel_drag_and_keys(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    tab.click(tab.at("#p2 .compare", 0.3))
    tab.wait("[...document.querySelectorAll('dialog img')].every((i) => i.complete && i.naturalWidth > 0)")
    x, y = tab.at("dialog .compare", 0.25)
    tab.command("Input.dispatchMouseEvent", type="mouseWheel", x=x, y=y, deltaX=0, deltaY=-400)
    tab.wait(f"{LEFT}.includes('scale(2')")
    assert tab.evaluate(LEFT) == tab.evaluate(RIGHT)
    translate = tab.evaluate("parseFloat(document.querySelector('dialog img.left').style.transform.slice(10))")
    # What lay at a quarter of the width still does.
    assert translate == pytest.approx(25 - 25 * 2.2255, abs=1)
    before = tab.evaluate(LEFT)
    cut = tab.cut("dialog")
    tab.drag((x, y), (x + 60, y))
    assert tab.evaluate(LEFT) != before
    assert tab.evaluate(LEFT) == tab.evaluate(RIGHT)
    assert tab.cut("dialog") == cut, "a drag pans, and leaves the divider"
    tab.key("0")
    assert tab.evaluate(LEFT).endswith("scale(1)")
    for key in ("+", "+", "s"):
        tab.key(key)
    assert tab.evaluate("document.querySelector('.layout').ariaPressed") == "true"
    panes = "[...document.querySelectorAll('dialog .before, dialog .after')]"
    left, right = tab.evaluate(f"{panes}.map((e) => e.getBoundingClientRect().toJSON())")
    assert left["right"] < right["left"]
    assert (left["width"], left["height"]) == (right["width"], right["height"])
    assert tab.evaluate(LEFT) == tab.evaluate(RIGHT)
    assert tab.evaluate(LEFT).endswith("scale(2.25)")
    tab.key("ArrowRight")
    assert tab.evaluate(VIEWED) == "shoes/summer/model-00002.jpg", "keys work though the slider is hidden"
    assert tab.evaluate(LEFT).endswith("scale(1)")


def test_two_fingers_zoom(tab: Tab, page: Path) -> None:
    tab.open(page, width=360, height=780, laid_out=LAID_OUT)
    tab.click(tab.at("#p2 .open", 0.5))
    tab.wait("[...document.querySelectorAll('dialog img')].every((i) => i.complete && i.naturalWidth > 0)")
    tab.command("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=2)
    x, y = tab.at("dialog .compare", 0.5)

    def touch(kind: str, *spread: float) -> None:
        points = [{"x": x + sign * s, "y": y, "id": i} for s in spread for i, sign in enumerate((-1, 1))]
        tab.command("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    touch("touchStart", 30)
    for spread in (45, 60, 75, 90):
        touch("touchMove", spread)
    touch("touchEnd")
    tab.command("Emulation.setTouchEmulationEnabled", enabled=False)
    scale = float(tab.evaluate(LEFT).partition("scale(")[2].rstrip(")"))
    assert scale == pytest.approx(3, rel=0.15)
    assert tab.evaluate(LEFT) == tab.evaluate(RIGHT)
