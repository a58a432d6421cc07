"""The gallery page in a real browser, opened from the disk as a user does: pictures load, the slider compares."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from stylefleet.gallery import GalleryPage, GalleryPicture, Look, render
from tests.chromium import Tab, chromium
from tests.unit.test_gallery import HOSTILE

NAMES = ("plain.jpg", "кошка 猫.jpg", "a#b?c%20d&e.jpg", "tall:1.png")
SIZES = ((60, 40), (48, 48), (90, 30), (30, 60))
LAID_OUT = "document.querySelector('.grid').classList.contains('rows')"
FACTS = (
    ("Pictures restyled", "8 of 8"),
    ("Time", "55 s"),
    ("A picture", "7 s"),
    ("Computed with", "vgg16-hed, mixed_bfloat16"),
    ("On", "Intel(R) Xeon(R) Processor"),
)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page in a folder with a hostile name, with pictures of hostile names: blue before, yellow after."""
    folder = tmp_path_factory.mktemp("gallery") / "run #1 100% ?"
    pictures = []
    for name, size in zip(NAMES, SIZES, strict=True):
        for kind, colour in (("before", "blue"), ("after", "yellow")):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, colour).save(folder / kind / name)
        pictures.append(
            GalleryPicture(
                name=name,
                left=f"before/{name}",
                right=f"after/{name}",
                width_px=size[0],
                height_px=size[1],
                details=(("Time", "1 s"),),
            )
        )
    file = folder / "index.html"
    content = GalleryPage(title="Test", subtitle="", facts=FACTS, pictures=tuple(pictures))
    file.write_text(render(content), encoding="utf-8")
    return file


def test_every_picture_loads_from_the_disk_without_console_errors_or_network(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    tab.wait("[...document.querySelectorAll('.grid img')].every((i) => i.complete)")
    widths = tab.evaluate("[...document.querySelectorAll('.grid img')].map((i) => i.naturalWidth)")
    assert widths == [width for width, _ in SIZES for _ in ("before", "after")]
    assert tab.troubles() == []
    assert tab.requested() <= {"file", "data"}
    assert "file" in tab.requested()


def test_dragging_across_a_picture_moves_the_clip_and_opens_nothing(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    assert tab.cut("#p1") == pytest.approx(50)
    tab.drag(tab.at("#p1 .compare", 0.5), tab.at("#p1 .compare", 0.2))
    assert tab.cut("#p1") == pytest.approx(20, abs=1)
    assert float(tab.evaluate("document.querySelector('#p1 input').value")) == pytest.approx(20, abs=1)
    assert tab.cut("#p2") == pytest.approx(50), "the others stay"
    assert tab.evaluate("document.querySelector('dialog').open") is False


def test_the_arrow_keys_move_the_clip_of_the_focused_slider(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    tab.evaluate("document.querySelector('#p2 input').focus()")
    for _ in range(3):
        tab.key("ArrowRight")
    moved = tab.cut("#p2")
    assert moved > 50
    value = tab.evaluate("document.querySelector('#p2 input').value")
    assert moved == pytest.approx(float(value), abs=0.01)
    assert tab.evaluate("document.querySelector('#p2 input').ariaValueText") == f"{round(moved)}% before"


def test_what_is_left_of_the_divider_is_before_and_right_of_it_after(tab: Tab, page: Path, tmp_path: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    tab.wait("[...document.querySelectorAll('#p1 img')].every((i) => i.complete && i.naturalWidth > 0)")
    left, right = tab.at("#p1 .compare", 0.25), tab.at("#p1 .compare", 0.75)
    tab.screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as shot:
        colours = [shot.convert("RGB").getpixel((round(x), round(y))) for x, y in (left, right)]
    for colour, expected in zip(colours, ((0, 0, 255), (255, 255, 0)), strict=True):
        assert colour == pytest.approx(expected, abs=8)


def test_a_click_opens_the_full_size_view_and_arrows_walk_through_it(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    shown = "document.querySelector('#view-name').textContent"
    tab.click(tab.at("#p1 .compare", 0.3))
    tab.wait("document.querySelector('dialog').open")
    assert tab.evaluate(shown) == NAMES[0]
    assert tab.cut("dialog") == pytest.approx(50), "the click that opens does not move the divider"
    for key, expected in (("ArrowRight", NAMES[1]), ("ArrowLeft", NAMES[0]), ("ArrowLeft", NAMES[-1])):
        tab.key(key)
        assert tab.evaluate(shown) == expected
    tab.key("ArrowUp")
    assert tab.cut("dialog") > 50
    tab.click(tab.at("dialog .compare", 0.9))
    assert tab.cut("dialog") == pytest.approx(90, abs=2)
    tab.wait("[...document.querySelectorAll('dialog img')].every((i) => i.complete && i.naturalWidth > 0)")
    tab.key("Escape")
    assert tab.evaluate("document.querySelector('dialog').open") is False
    # Where the reader now is. The browser tells of the closing a moment later, hence the wait.
    tab.wait(f"document.activeElement.closest('.card')?.id === 'p{len(NAMES)}'")
    assert tab.troubles() == []


def test_enter_on_a_slider_opens_the_full_size_view(tab: Tab, page: Path) -> None:
    tab.open(page, laid_out=LAID_OUT)
    tab.evaluate("document.querySelector('#p3 input').focus()")
    tab.key("Enter")
    assert tab.evaluate("document.querySelector('dialog').open") is True
    assert tab.evaluate("document.querySelector('#view-name').textContent") == NAMES[2]


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_the_overview_lays_pictures_in_full_rows_of_equal_height(tab: Tab, page: Path, width: int) -> None:
    tab.open(page, width=width, laid_out=LAID_OUT)
    boxes = "[...document.querySelectorAll('.grid .compare')].map((e) => e.getBoundingClientRect().toJSON())"
    grid = tab.evaluate("document.querySelector('.grid').getBoundingClientRect().toJSON()")
    rows: dict[int, list[dict[str, float]]] = {}
    for box, (width_px, height_px) in zip(tab.evaluate(boxes), SIZES, strict=True):
        assert box["width"] / box["height"] == pytest.approx(width_px / height_px, rel=0.02)
        rows.setdefault(round(box["top"]), []).append(box)
    for row in rows.values():
        assert max(b["height"] for b in row) - min(b["height"] for b in row) < 1
        assert row[0]["left"] == pytest.approx(grid["left"], abs=1)
        assert row[-1]["right"] == pytest.approx(grid["right"], abs=1)


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_no_word_of_a_fact_is_broken(tab: Tab, page: Path, width: int) -> None:
    tab.open(page, width=width, laid_out=LAID_OUT)
    lines_of_each_word = """[...document.querySelectorAll('.facts dd')].flatMap((e) => {
        const text = e.firstChild, range = document.createRange();
        return [...text.data.matchAll(/\\S+/g)].map((word) => {
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            return range.getClientRects().length;
        });
    })"""
    lines = tab.evaluate(lines_of_each_word)
    assert len(lines) == sum(len(value.split()) for _, value in FACTS)
    assert set(lines) == {1}


def test_a_phone_shows_the_page_without_scrolling_sideways(tab: Tab, page: Path) -> None:
    tab.open(page, width=390, height=844, laid_out=LAID_OUT)
    assert tab.evaluate("document.documentElement.scrollWidth") == 390
    tab.click(tab.at("#p3 .open", 0.5))
    assert tab.evaluate("document.querySelector('dialog').open") is True
    assert tab.evaluate("document.querySelector('dialog').scrollWidth") == 390


@pytest.mark.parametrize(
    "attack",
    [
        "const e = document.createElement('script'); e.textContent = 'window.attacked = true'; document.body.append(e)",
        "const e = new Image(); e.src = 'http://127.0.0.1:9/tracker.gif'; document.body.append(e)",
        "document.body.append(Object.assign(document.createElement('style'), {textContent: 'body{color:red}'}))",
    ],
    ids=["inline script", "picture from a server", "inline style"],
)
def test_the_policy_refuses_whatever_is_not_the_pages_own(tab: Tab, page: Path, attack: str) -> None:
    tab.open(page, laid_out=LAID_OUT)
    tab.evaluate("document.addEventListener('securitypolicyviolation', () => { window.refused = true; }); 0")
    tab.evaluate(f"(() => {{ {attack} }})()")
    tab.wait("window.refused === true")
    assert tab.evaluate("window.attacked === undefined")


def test_hostile_keys_messages_and_recipes_are_text(tab: Tab, tmp_path: Path) -> None:
    hostile = HOSTILE + "</script><!--<script>"
    Image.new("RGB", (60, 40), "blue").save(tmp_path / "a.jpg")
    shown = GalleryPicture(
        name=hostile, left="a.jpg", right="a.jpg", width_px=60, height_px=40, details=((hostile, hostile),)
    )
    failed = GalleryPicture(name=hostile, reason=hostile, message=hostile, look=1)
    looks = tuple(Look(name=hostile + n, styles=(hostile + n,), settings=((hostile, hostile),)) for n in "12")
    page = GalleryPage(
        title=hostile,
        subtitle=hostile,
        facts=((hostile, hostile),),
        looks=looks,
        pictures=(shown, failed),
        sides=(hostile, hostile),
        note=hostile,
    )
    (tmp_path / "index.html").write_text(render(page), encoding="utf-8")
    tab.open(tmp_path / "index.html", laid_out=LAID_OUT)
    for number in (1, 2):
        tab.evaluate(f"document.querySelector('#p{number} .open').click()")
        assert tab.evaluate("document.querySelector('#view-name').textContent") == hostile
        assert hostile in tab.evaluate("document.querySelector('dialog').innerText")
        tab.key("Escape")
    assert tab.evaluate("document.scripts.length") == 2
    assert tab.evaluate("document.querySelectorAll('[onerror]').length") == 0
    assert tab.troubles() == []
    assert tab.requested() <= {"file", "data"}
