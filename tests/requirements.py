"""What the tests need beside Python packages: in CI it is installed and built here, elsewhere a missing part is named.

Run before pytest by `make test`. Each part knows its program and the Debian packages that bring it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import NoReturn

import pytest

from tests.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Part:
    """A program that some tests start."""

    program: str
    packages: tuple[str, ...]
    """Debian packages that bring it."""
    used_by: str
    """Which tests are skipped without it."""


PARTS = (
    Part(program="chromium", packages=("chromium",), used_by="tests of pages in a real browser"),
    Part(program="prometheus", packages=("prometheus",), used_by="tests of metrics, rules and dashboards"),
)


def missing() -> list[Part]:
    return [part for part in PARTS if shutil.which(part.program) is None]


def absent(what: str) -> NoReturn:
    """Skip on a developer's machine, fail in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def main() -> int:
    """Install and build in CI, name elsewhere."""
    absent = missing()
    if os.environ.get("CI") != "true":
        for part in absent:
            print(
                f"{part.program} is missing: skipping {part.used_by}; install {' '.join(part.packages)}",
                file=sys.stderr,
            )
        return 0
    code = _install(absent) if absent else 0
    if code == 0:
        # Now, and not in a test, which has ten minutes.
        Lab().build()
    return code


def _install(absent: list[Part]) -> int:
    packages = [package for part in absent for package in part.packages]
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        names = ", ".join(part.program for part in absent)
        print(f"CI=true needs root on Debian, or these programs: {names}", file=sys.stderr)
        return 1
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages],
    ):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    still = [part.program for part in missing()]
    if still:
        print(f"still missing after the installation: {', '.join(still)}", file=sys.stderr)
    return bool(still)


if __name__ == "__main__":
    sys.exit(main())
