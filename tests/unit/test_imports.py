"""Who imports what, seen at run time: import-linter sees only what is written as an import."""

from __future__ import annotations

import os
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


SLOW = {"boto3", "botocore", "kubernetes", "numpy", "PIL", "jinja2", "tensorflow"}
"""What takes long to load, and no command needs to see that its input is wrong."""


@pytest.mark.parametrize(
    ("arguments", "models"),
    [
        (["--help"], False),
        (["stylize", "--help"], False),
        (["list", "-o", "xml"], False),
        (["status", "spring", "--endpoint", "nonsense"], False),
        (["config", "show"], False),
        (["stylize", "no.jpg", "no.jpg", "a.jpg"], False),
        (["submit", "no.yaml"], True),
        (["plan", "no.yaml"], True),
        (["validate", "no.yaml"], True),
        (["explain", "spec.recipe.size"], True),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_nothing_slow_is_loaded_before_it_is_needed(arguments: list[str], models: bool, tmp_path: Path) -> None:
    code = f"""
import sys
from stylefleet.cli import main
sys.argv = ["stylefleet", *{arguments!r}]
try:
    main.main()
finally:
    print("LOADED", *sorted(sys.modules))
"""
    environment = {**os.environ, "STYLEFLEET_BUCKET": "shop"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    assert "typer" in loaded, done.stderr
    assert loaded & SLOW == set()
    assert ("stylefleet.manifest" in loaded) <= models


def test_statuses_are_read_without_the_models_of_manifests() -> None:
    code = "import sys, stylefleet.cli.bucket, stylefleet.cli.listing; print('stylefleet.manifest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


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
