"""Container images without a registry: built by buildah, kept as OCI archives, imported into the lab's containerd.

Layers are packed with zstd at its lightest: quicker to write than gzip and quicker to unpack. Not packing them at all
is no option: this buildah packs OCI layers whatever it is told, and containerd packs what comes in a Docker archive.
"""

import json
import os
import shlex
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import LabError
from .process import BOOT_ID
from .settings import CONTAINERD_NAMESPACE, LabPaths
from .shell import run

COMPRESSION = ("--compression-format=zstd", "--compression-level=1")
BUILD_TIMEOUT_SECONDS = 1800.0


def buildah(paths: LabPaths) -> list[str]:
    """buildah with storage of the lab's own; what is only valid until the next boot lies apart for each boot.

    It runs in a mount namespace of its own: an `up` meanwhile would copy its mounts into the lab and so keep them
    busy, and a killed build would leave them on the machine.
    """
    boot = BOOT_ID.read_text(encoding="ascii")[:8]
    driver = os.environ.get("STYLEFLEET_LAB_STORAGE_DRIVER", "overlay")
    roots = [f"--root={paths.cache / 'buildah'}", f"--runroot={paths.cache / f'buildah-run-{boot}'}"]
    alone = ["unshare", "--mount", "--propagation=private"]
    return [*alone, "buildah", *roots, f"--storage-driver={driver}"]


def full_name(tag: str) -> str:
    """A tag as containerd and Kubernetes will know it; a short name means a registry to them, so it gets localhost/."""
    first = tag.partition("/")[0]
    has_host = "/" in tag and ("." in first or ":" in first or first == "localhost")
    name = tag if has_host else f"localhost/{tag}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def bud_arguments(
    *, tag: str, context: Path, file: Path, target: str | None, build_args: Mapping[str, str], iidfile: Path
) -> list[str]:
    """buildah's arguments: chroot isolation needs no runtime; package registries are reached as the machine does."""
    arguments = ["bud", "--isolation=chroot", "--network=host", "--layers", f"--iidfile={iidfile}", f"--tag={tag}"]
    arguments += [f"--build-arg={key}={value}" for key, value in build_args.items()]
    if target is not None:
        arguments.append(f"--target={target}")
    return [*arguments, f"--file={file}", str(context)]


def build(
    paths: LabPaths,
    *,
    tag: str,
    context: Path,
    file: Path | None = None,
    target: str | None = None,
    build_args: Mapping[str, str] | None = None,
    show: bool = True,
) -> Path:
    """Build a Dockerfile's target and give its OCI archive; an image that did not change is not written again."""
    dockerfile = file or context / "Dockerfile"
    if not dockerfile.is_file():
        raise LabError(f"there is no Dockerfile at {dockerfile}: name it with --file, or its folder with --context")
    name = full_name(tag)
    paths.images.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="build-", dir=paths.cache) as scratch:
        iidfile = Path(scratch) / "iid"
        arguments = bud_arguments(
            tag=name, context=context, file=dockerfile, target=target, build_args=build_args or {}, iidfile=iidfile
        )
        run([*buildah(paths), *arguments], timeout_seconds=BUILD_TIMEOUT_SECONDS, show=show)
        image_id = iidfile.read_text(encoding="ascii").strip().removeprefix("sha256:")
        return _export(paths, name=name, image_id=image_id, scratch=Path(scratch))


def archive_stem(name: str) -> str:
    """An image's name as a file name."""
    return name.replace("/", "_").replace(":", "_")


def _export(paths: LabPaths, *, name: str, image_id: str, scratch: Path) -> Path:
    archive = paths.images / f"{archive_stem(name)}@{image_id[:16]}.tar"
    if not archive.exists():
        part = scratch / "image.tar"
        run(
            [*buildah(paths), "push", "--quiet", *COMPRESSION, image_id, f"oci-archive:{part}:{name}"],
            timeout_seconds=BUILD_TIMEOUT_SECONDS,
        )
        part.rename(archive)
    for other in paths.images.glob(f"{archive_stem(name)}@*.tar"):
        if other != archive:
            other.unlink()  # an earlier build of the same tag
    return archive


def known_image(paths: LabPaths, name: str) -> Path | None:
    """The archive of an image that is built, and still in buildah's storage as a base for others."""
    archives = sorted(paths.images.glob(f"{archive_stem(name)}@*.tar"))
    listed = run([*buildah(paths), "images", "--quiet", "--no-trunc", "--filter", f"reference={name}"])
    ids = [line.removeprefix("sha256:")[:16] for line in listed.split()]
    return next((archive for archive in archives if archive.stem.rpartition("@")[2] in ids), None)


def config(archive: Path) -> dict[str, Any]:
    """The image's configuration, as the OCI image specification has it: User, Entrypoint, Env, Labels."""
    with tarfile.open(archive, "r:") as tar:

        def blob(digest: str) -> dict[str, Any]:
            member = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert member is not None
            found: dict[str, Any] = json.load(member)
            return found

        _, digest = archive_identity(archive)
        found: dict[str, Any] = blob(blob(digest)["config"]["digest"])["config"]
        return found


def command_within(paths: LabPaths, archive: Path, script: str, *arguments: str) -> list[str]:
    """The argv of a shell script that finds the image's files at `$root`, mounted, and writable for root; what it
    writes there is thrown away."""
    prefix = buildah(paths)
    alone, tool = prefix[: prefix.index("buildah")], shlex.join(prefix[prefix.index("buildah") :])
    mounted = f"""set -e
name=$({tool} from {archive.stem.rpartition("@")[2]})
trap '{tool} rm "$name" > /dev/null' EXIT
root=$({tool} mount "$name")
{script}
"""
    return [*alone, "sh", "-c", mounted, "sh", *arguments]


def archive_identity(archive: Path) -> tuple[str, str]:
    """The image name and manifest digest that an OCI archive holds."""
    try:
        with tarfile.open(archive, "r:") as tar:
            member = tar.extractfile("index.json")
            index = json.load(member) if member is not None else {}
    except (OSError, tarfile.TarError, KeyError) as error:
        raise LabError(
            f"not an OCI archive: {archive} ({error}); make it with `python -m tests.lab image build`"
        ) from error
    manifests = index.get("manifests", [])
    name = manifests[0].get("annotations", {}).get("org.opencontainers.image.ref.name") if manifests else None
    if name is None:
        raise LabError(f"the OCI archive {archive} names no image: push it with `oci-archive:FILE:NAME`")
    return name, manifests[0]["digest"]


def load(paths: LabPaths, archive: Path) -> str:
    """Import an archive into the running lab, unless it is there; give the image's name."""
    if not paths.containerd_socket.exists():
        raise LabError("the lab is not up, so there is no containerd to load an image into: `python -m tests.lab up`")
    name, digest = archive_identity(archive)
    ctr = ["ctr", f"--address={paths.containerd_socket}", f"--namespace={CONTAINERD_NAMESPACE}", "images"]
    if digest not in run([*ctr, "list", f"name=={name}"]):
        run([*ctr, "import", archive], timeout_seconds=600)
    return name
