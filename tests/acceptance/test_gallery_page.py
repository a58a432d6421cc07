"""The gallery page in a real browser, opened from the disk as a user does: pictures load, the slider compares.

Chromium is driven over its DevTools pipe, which needs no port and no driver program.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from stylefleet.gallery import GalleryFailure, GalleryPage, GalleryPicture, render
from tests.requirements import absent

NAMES = ("plain.jpg", "кошка 猫.jpg", "a#b?c%20d&e.jpg", "tall:1.png")
SIZES = ((60, 40), (48, 48), (90, 30), (30, 60))
COMMAND_SECONDS = 30

# Chromium reads commands from descriptor 3 and answers on 4; a Popen cannot choose its child's numbers. Both ends are
# first moved out of the way, as either may itself be 3 or 4.
LAUNCHER = """
import fcntl, os, sys
high = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 10) for fd in sys.argv[1:3]]
os.dup2(high[0], 3)
os.dup2(high[1], 4)
os.execvp(sys.argv[3], sys.argv[3:])
"""
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # Tests run as root in containers, where Chromium's own sandbox cannot start.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Tab:
    """One page of a headless Chromium."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to = to_browser
        self._from = from_browser
        self._buffer = b""
        self._last_id = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one DevTools command and wait for its answer; what the page tells meanwhile goes to `events`."""
        self._last_id += 1
        message = {"id": self._last_id, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._last_id:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return dict(answer["result"])
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        deadline = time.monotonic() + COMMAND_SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no answer from Chromium within {COMMAND_SECONDS} s"
            chunk = os.read(self._from, 1 << 16)
            assert chunk, "Chromium ended"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(line))

    def attach(self) -> None:
        target = self.command("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")

    def open(self, page: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        self.events.clear()
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        self.command("Page.navigate", url=page.as_uri())
        # The DOM of the former page may still answer for a moment: hence the address, too.
        self.wait(f"location.href === {json.dumps(page.as_uri())} && document.readyState === 'complete'")
        # The rows are laid out after the loading, and the browser sends clicks by what it has painted.
        self.wait("document.querySelector('.grid').classList.contains('rows')")
        self.evaluate("new Promise((painted) => requestAnimationFrame(() => requestAnimationFrame(() => painted(1))))")

    def evaluate(self, expression: str) -> Any:
        result = self.command("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{expression}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        deadline = time.monotonic() + COMMAND_SECONDS
        while not self.evaluate(condition):
            assert time.monotonic() < deadline, f"never true: {condition}"
            time.sleep(0.02)

    def key(self, key: str) -> None:
        codes = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Escape": 27}
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.command(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes[key], **text
            )
            text = {}

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        for kind, (x, y), buttons in (
            ("mousePressed", start, 1),
            ("mouseMoved", ((start[0] + end[0]) / 2, start[1]), 1),
            ("mouseMoved", end, 1),
            ("mouseReleased", end, 0),
        ):
            button = "none" if kind == "mouseMoved" else "left"
            self.command("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, buttons=buttons, clickCount=1)

    def click(self, at: tuple[float, float]) -> None:
        self.drag(at, at)

    def at(self, selector: str, across: float) -> tuple[float, float]:
        """The point of the first such element that lies `across` (0..1) of its width and half of its height."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'}); return e.getBoundingClientRect().toJSON(); })()"
        )
        return box["x"] + box["width"] * across, box["y"] + box["height"] / 2

    def cut(self, scope: str) -> float:
        """Where the second picture begins, in percent of the width: what the browser really clips."""
        clip = str(self.evaluate(f"getComputedStyle(document.querySelector('{scope} .after')).clipPath"))
        assert clip.startswith("inset(0px 0px 0px "), clip
        return float(clip.removeprefix("inset(0px 0px 0px ").rstrip("%)"))

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))

    def troubles(self) -> list[str]:
        """Console errors, uncaught exceptions, refusals by the policy, and failed loads since the page was opened."""
        told = [e for e in self.events if e["method"] in ("Runtime.exceptionThrown", "Network.loadingFailed")]
        told += [e for e in self.events if e["method"] == "Runtime.consoleAPICalled"]
        told += [
            e
            for e in self.events
            if e["method"] == "Log.entryAdded" and e["params"]["entry"]["level"] in ("warning", "error")
        ]
        return [json.dumps(e["params"]) for e in told]

    def requested(self) -> set[str]:
        """The URL schemes of everything that the page asked for."""
        urls = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return {url.partition(":")[0] for url in urls}


@contextlib.contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """A running headless Chromium with one tab."""
    binary = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if binary is None:
        absent("needs the browser Chromium; on Debian and Ubuntu: apt-get install chromium")
    child_in, to_browser = os.pipe()
    from_browser, child_out = os.pipe()
    launch = [sys.executable, "-c", LAUNCHER, str(child_in), str(child_out), binary, *FLAGS]
    with (profile / "chromium.log").open("wb") as log_file:
        process = subprocess.Popen(
            [*launch, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(child_in, child_out),
            stdin=subprocess.DEVNULL,
            stdout=log_file,
            stderr=log_file,
        )
    os.close(child_in)
    os.close(child_out)
    try:
        tab = Tab(to_browser, from_browser)
        tab.attach()
        yield tab
    finally:
        # Chromium ends by itself, children included, when the pipe that commands it is closed.
        os.close(to_browser)
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(from_browser)


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
                before=f"before/{name}",
                after=f"after/{name}",
                width_px=size[0],
                height_px=size[1],
                details=(("Time", "1 s"),),
            )
        )
    failure = GalleryFailure(name="broken.jpg", reason="undecodable", message="It is not a picture.")
    file = folder / "index.html"
    content = GalleryPage(title="Test", subtitle="", facts=FACTS, pictures=tuple(pictures), failures=(failure,))
    file.write_text(render(content), encoding="utf-8")
    return file


def test_every_picture_loads_from_the_disk_without_console_errors_or_network(tab: Tab, page: Path) -> None:
    tab.open(page)
    tab.evaluate("document.querySelectorAll('img').forEach((i) => { i.loading = 'eager'; })")
    tab.wait("[...document.images].every((i) => i.complete)")
    widths = tab.evaluate("[...document.images].map((i) => i.naturalWidth)")
    assert widths == [width for width, _ in SIZES for _ in ("before", "after")]
    assert tab.troubles() == []
    assert tab.requested() <= {"file", "data"}
    assert "file" in tab.requested()


def test_dragging_across_a_picture_moves_the_clip_and_opens_nothing(tab: Tab, page: Path) -> None:
    tab.open(page)
    assert tab.cut("#p1") == pytest.approx(50)
    tab.drag(tab.at("#p1 .compare", 0.5), tab.at("#p1 .compare", 0.2))
    assert tab.cut("#p1") == pytest.approx(20, abs=1)
    assert float(tab.evaluate("document.querySelector('#p1 input').value")) == pytest.approx(20, abs=1)
    assert tab.cut("#p2") == pytest.approx(50), "the others stay"
    assert tab.evaluate("document.querySelector('dialog').open") is False


def test_the_arrow_keys_move_the_clip_of_the_focused_slider(tab: Tab, page: Path) -> None:
    tab.open(page)
    tab.evaluate("document.querySelector('#p2 input').focus()")
    for _ in range(3):
        tab.key("ArrowRight")
    moved = tab.cut("#p2")
    assert moved > 50
    value = tab.evaluate("document.querySelector('#p2 input').value")
    assert moved == pytest.approx(float(value), abs=0.01)
    assert tab.evaluate("document.querySelector('#p2 input').ariaValueText") == f"{round(moved)}% before"


def test_what_is_left_of_the_divider_is_before_and_right_of_it_after(tab: Tab, page: Path, tmp_path: Path) -> None:
    tab.open(page)
    tab.wait("[...document.querySelectorAll('#p1 img')].every((i) => i.complete && i.naturalWidth > 0)")
    left, right = tab.at("#p1 .compare", 0.25), tab.at("#p1 .compare", 0.75)
    tab.screenshot(tmp_path / "page.png")
    with Image.open(tmp_path / "page.png") as shot:
        colours = [shot.convert("RGB").getpixel((round(x), round(y))) for x, y in (left, right)]
    for colour, expected in zip(colours, ((0, 0, 255), (255, 255, 0)), strict=True):
        assert colour == pytest.approx(expected, abs=8)


def test_a_click_opens_the_full_size_view_and_arrows_walk_through_it(tab: Tab, page: Path) -> None:
    tab.open(page)
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
    tab.open(page)
    tab.evaluate("document.querySelector('#p3 input').focus()")
    tab.key("Enter")
    assert tab.evaluate("document.querySelector('dialog').open") is True
    assert tab.evaluate("document.querySelector('#view-name').textContent") == NAMES[2]


@pytest.mark.parametrize("width", [390, 820, 1280])
def test_the_overview_lays_pictures_in_full_rows_of_equal_height(tab: Tab, page: Path, width: int) -> None:
    tab.open(page, width=width)
    boxes = "[...document.querySelectorAll('.compare')].map((e) => e.getBoundingClientRect().toJSON())"
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
    tab.open(page, width=width)
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
    tab.open(page, width=390, height=844)
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
    tab.open(page)
    tab.evaluate("document.addEventListener('securitypolicyviolation', () => { window.refused = true; }); 0")
    tab.evaluate(f"(() => {{ {attack} }})()")
    tab.wait("window.refused === true")
    assert tab.evaluate("window.attacked === undefined")
