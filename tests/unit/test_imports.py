"""Who imports what, seen at run time: import-linter sees only what is written as an import."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import stylefleet


@pytest.mark.parametrize(
    "modules",
    [
        "stylefleet.loop, stylefleet.cluster_kubernetes",
        "stylefleet.cli.main, stylefleet.cli.bucket, stylefleet.cli.demo, stylefleet.cli.stylize",
    ],
)
def test_the_controller_and_the_command_line_never_load_tensorflow(modules: str) -> None:
    code = f"import sys, {modules}; print(sorted({{'tensorflow', 'keras', 'h5py'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


WALL_CLOCK = {
    "cluster_local.py": "creation times of its own Jobs, which it compares with one another",
    "leader.py": "the times in a Lease, which are for people",
    "store_memory.py": "it is the store, whose clock this is",
    "store_s3.py": "how far this machine's clock is from the store's",
    "tracing.py": "when spans began, for people",
    "worker_main.py": "when a picture was done, for people; and the time between two checkpoints",
}
"""Who reads this machine's clock, and what for."""


def test_nobody_else_reads_this_machines_clock() -> None:
    """Whether a deadline has passed, or how long a run takes, is told by the store's clock alone."""
    package = Path(stylefleet.__file__).parent
    found = {
        path.name
        for path in package.rglob("*.py")
        if re.search(r"\b(datetime\.(now|utcnow|today)|time\.time(_ns)?)\(", path.read_text())
    }
    assert found == set(WALL_CLOCK)
