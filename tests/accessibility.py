"""axe-core in the browser: what of a page people cannot read, reach or hear."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

from tests.chromium import Tab

AXE = Path(__file__).parent / "vendor" / "axe-core" / "axe.min.js"
AXE_SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"


def violations(tab: Tab) -> list[str]:
    """What axe-core finds in the page as it stands: each rule with the elements that break it. All of its rules apply,
    best practices too."""
    tab.evaluate(f"{_axe()}; 0")
    # It would fetch style sheets again, of which there are none.
    found = json.loads(tab.evaluate("axe.run(document, {preload: false}).then((r) => JSON.stringify(r))"))
    assert len(found["passes"]) > 5, "axe-core has looked at nothing"
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {node['html'][:160]}: {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@cache
def _axe() -> str:
    data = AXE.read_bytes()
    assert hashlib.sha256(data).hexdigest() == AXE_SHA256, f"{AXE} is not the file that was looked at"
    return data.decode()
