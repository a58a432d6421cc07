"""How smoothly a gallery of 5,000 pictures scrolls in a real Chromium: frames, long tasks and elements, as JSON.

python -m benchmarks.gallery_scroll
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.chromium import chromium
from tests.gallery_pages import made_up

PICTURES = 5000
SCREENS = ((1280, 900), (360, 780))
LAID_OUT = "document.querySelector('.grid')?.classList.contains('rows')"
SCROLL = """new Promise(async (done) => {
    const long = [], frames = [];
    let last = performance.now(), most = 0;
    const watch = new PerformanceObserver((list) => long.push(...list.getEntries()));
    watch.observe({type: "longtask"});
    for (let step = 0; step < 300; step++) {
        scrollBy({top: 60, behavior: "instant"});
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - last);
        last = now;
        most = Math.max(most, document.querySelectorAll("*").length);
    }
    frames.sort((a, b) => a - b);
    const ms = (value) => Math.round(10 * value) / 10;
    done({
        frameMsMedian: ms(frames[150]), frameMs95: ms(frames[285]), frameMsMost: ms(frames[299]),
        tasksOver50Ms: long.length, elementsMost: most,
    });
})"""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        page = made_up(Path(folder) / "page", PICTURES)
        profile = Path(folder) / "profile"
        profile.mkdir()
        with chromium(profile) as tab:
            for width, height in SCREENS:
                tab.open(page, width=width, height=height, laid_out=LAID_OUT)
                tab.wait("[...document.images].every((image) => image.complete || !image.src)")
                found = {"pictures": PICTURES, "width": width, **tab.evaluate(SCROLL)}
                print(json.dumps({**found, "pageBytes": page.stat().st_size}))


if __name__ == "__main__":
    main()
