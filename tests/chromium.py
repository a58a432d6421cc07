"""A real headless Chromium with one tab, for tests of pages.

It is driven over its DevTools pipe, which needs no port and no driver program.
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

from tests.requirements import absent

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

    def open(self, page: Path, *, width: int = 1280, height: int = 900, dark: bool = False, laid_out: str = "") -> None:
        """Open a file; `laid_out` is a condition that comes true after it has loaded."""
        self.events.clear()
        self.command(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])
        self.command("Page.navigate", url=page.as_uri())
        # The DOM of the former page may still answer for a moment: hence the address, too.
        self.wait(f"location.href === {json.dumps(page.as_uri())} && document.readyState === 'complete'")
        if laid_out:
            # After the loading, by a script; and the browser sends clicks by what it has painted.
            self.wait(laid_out)
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
        typed = "\r" if key == "Enter" else key
        text = {"text": typed} if len(typed) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.command(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=codes.get(key, 0), **text
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
