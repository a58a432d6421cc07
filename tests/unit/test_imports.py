"""Who imports what, seen at run time: import-linter sees only what is written as an import."""

from __future__ import annotations

import subprocess
import sys

import pytest


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
