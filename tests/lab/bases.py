"""The two images that everything else stands on, made once from this machine's own means."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from . import images
from .build import program
from .errors import LabError
from .settings import BASE_IMAGE, PAUSE_IMAGE, LabPaths
from .shell import run, say

SUITE = "bookworm"
PACKAGES = "python3,python3-venv,ca-certificates"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
PAUSE_DOCKERFILE = """\
FROM scratch
COPY pause /pause
USER 65535:65535
ENTRYPOINT ["/pause"]
"""
BASE_DOCKERFILE = f"""\
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 SSL_CERT_FILE={CA_BUNDLE}
CMD ["python3"]
"""


def _cached(paths: LabPaths, name: str, key: str) -> Path | None:
    """The archive of an image made by `ensure_*` from exactly these inputs."""
    marker = paths.images / f"{images.archive_stem(name)}.key"
    if not marker.exists() or marker.read_text(encoding="ascii") != key:
        return None
    return images.known_image(paths, name)


def _remember(paths: LabPaths, name: str, key: str) -> None:
    (paths.images / f"{images.archive_stem(name)}.key").write_text(key, encoding="ascii")


def _pause_key(paths: LabPaths) -> str:
    return hashlib.sha256(PAUSE_DOCKERFILE.encode() + program(paths, "pause").read_bytes()).hexdigest()


def find_pause_image(paths: LabPaths) -> Path | None:
    """The pause image's archive, if it is made."""
    return _cached(paths, PAUSE_IMAGE, _pause_key(paths))


def ensure_pause_image(paths: LabPaths) -> Path:
    """The image that holds each pod's namespaces, from the lab's own static program."""
    if (archive := find_pause_image(paths)) is not None:
        return archive
    paths.images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pause-", dir=paths.cache) as scratch:
        context = Path(scratch)
        shutil.copy2(program(paths, "pause"), context / "pause")
        (context / "Dockerfile").write_text(PAUSE_DOCKERFILE, encoding="utf-8")
        archive = images.build(paths, tag=PAUSE_IMAGE, context=context, show=False)
    _remember(paths, PAUSE_IMAGE, _pause_key(paths))
    return archive


def ca_bundle() -> Path:
    """The certificates that this machine trusts: on a machine behind a proxy of its own they are not Debian's."""
    bundle = Path(os.environ.get("SSL_CERT_FILE") or CA_BUNDLE)
    if not bundle.is_file():
        raise LabError(f"no certificate bundle at {bundle}: install ca-certificates, or set SSL_CERT_FILE")
    return bundle


def ensure_base_image(paths: LabPaths) -> Path:
    """Debian with Python, instead of python:3.11-slim-bookworm, which is in a registry out of reach here.

    SSL_CERT_FILE belongs to this test base only: without it uv inside a build refuses the machine's own certificates.
    """
    bundle = ca_bundle()
    key = hashlib.sha256(f"{SUITE} {PACKAGES} {BASE_DOCKERFILE}".encode() + bundle.read_bytes()).hexdigest()
    if (archive := _cached(paths, BASE_IMAGE, key)) is not None:
        return archive
    paths.images.mkdir(parents=True, exist_ok=True)
    say(f"making {BASE_IMAGE} with debootstrap (about half a minute, once)")
    with tempfile.TemporaryDirectory(prefix="base-", dir=paths.cache) as scratch:
        context = Path(scratch)
        _make_rootfs(context / "rootfs", bundle)
        _pack_rootfs(context / "rootfs", context / "rootfs.tar")
        shutil.rmtree(context / "rootfs")
        (context / "Dockerfile").write_text(BASE_DOCKERFILE, encoding="utf-8")
        archive = images.build(paths, tag=BASE_IMAGE, context=context, show=False)
    _remember(paths, BASE_IMAGE, key)
    return archive


def _make_rootfs(rootfs: Path, bundle: Path) -> None:
    mirror = os.environ.get("STYLEFLEET_LAB_MIRROR")
    command: list[str | Path] = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, rootfs]
    run([*command, mirror] if mirror else command, timeout_seconds=images.BUILD_TIMEOUT_SECONDS)
    shutil.copyfile(bundle, rootfs / CA_BUNDLE.lstrip("/"))
    # The image that this one stands for has `python` too.
    (rootfs / "usr/local/bin/python").symlink_to("/usr/bin/python3")


def _pack_rootfs(rootfs: Path, target: Path) -> None:
    """A tar, because buildah's COPY gives every file to root; without what a container gets anew or never needs."""
    without = ("dev/*", "proc/*", "sys/*", "var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*")
    excludes = [f"--exclude=./{pattern}" for pattern in without]
    run(["tar", "-C", rootfs, "--numeric-owner", *excludes, "-cf", target, "."], timeout_seconds=600)
