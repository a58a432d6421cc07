"""The Debian packages that the lab needs, installed when missing and only by root."""

import os

from .errors import LabError
from .settings import CNI_PLUGINS
from .shell import find_tool, run, say

PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    f"{CNI_PLUGINS}/bridge": "containernetworking-plugins",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "sysctl": "procps",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "openssl": "openssl",
}
"""Program that must be there -> the package that brings it. Programs are looked for, not packages, so that a
machine which has them from elsewhere needs no apt."""


def missing_packages() -> list[str]:
    """Packages whose programs are not on this machine."""
    return sorted({package for program, package in PROGRAMS.items() if find_tool(program) is None})


def install_missing() -> list[str]:
    """Install what is missing and give its names; an empty list means that nothing had to be done."""
    missing = missing_packages()
    if not missing:
        return []
    wanted = " ".join(missing)
    if os.geteuid() != 0 or find_tool("apt-get") is None:
        raise LabError(f"missing on this machine: {wanted}; install them (Debian 12: apt-get install {wanted})")
    say(f"installing {wanted}")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        run(["apt-get", "update", "-qq"], env=env, timeout_seconds=600)
    except LabError as error:
        # One unreachable third-party source fails the whole update; the install below says if it mattered.
        say(f"apt-get update reported a problem, going on: {error}")
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], env=env, timeout_seconds=1200)
    still = missing_packages()
    if still:
        raise LabError(
            f"installed, yet their programs are not found: {' '.join(still)}; see `apt-get install {wanted}`"
        )
    return missing
