"""The images of this repository's Dockerfile, built on the lab's base once in a test session."""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Literal

from tests.lab import Lab, packages
from tests.requirements import absent

REPOSITORY = Path(__file__).parents[1]
TAGS = {"controller": "localhost/stylefleet-controller:test", "worker-cpu": "localhost/stylefleet-worker:test"}


@functools.cache
def archive(target: Literal["controller", "worker-cpu"]) -> Path:
    """The OCI archive of one target; skips, or fails in CI, where images cannot be built."""
    if sys.platform != "linux" or os.geteuid() != 0:
        absent("images are built as root on Debian")
    missing = packages.missing_packages()
    if missing and os.environ.get("CI") != "true":  # in CI the lab installs them itself
        absent(f"images are built with Debian packages: apt-get install {' '.join(missing)}")
    return Lab().build_image(tag=TAGS[target], context=REPOSITORY, target=target)
