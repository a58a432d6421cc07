"""Taking a lab away whatever state it is in: whole, half started, or with half of it killed.

Every step looks for what is there and takes it; none trusts that another one ran. Nothing is ended that is not the
lab's: recorded processes by id and start time, shims by this lab's socket in their arguments, pods by the container ids
in this lab's containerd.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from .errors import LabError
from .namespaces import foreign_processes, mounts_below, release_folder, remove_namespaces
from .process import ProcessRecord, kill_all, load_records, record_of
from .settings import CONTAINERD_NAMESPACE, LabPaths

CGROUPS = Path("/sys/fs/cgroup")
TIMEOUT_SECONDS = 30.0


def tear_down(paths: LabPaths) -> list[str]:
    """End and remove all of the lab; give what still runs in its network and is not the lab's own."""
    kill_all(load_records(paths.records))  # first, so that nothing starts anything any more
    containers = container_ids(paths)
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while left := [*pod_processes(containers), *shims(paths)]:
        if time.monotonic() > deadline:
            raise LabError(f"pods' processes keep coming: {', '.join(str(record.pid) for record in left)}")
        kill_all(left)
    remove_cgroups(containers)
    foreign: list[str] = []
    if paths.state.exists():  # without it, a network namespace is that of a lab with another state folder
        foreign = foreign_processes(paths)
        remove_namespaces(paths)
    for folder in (paths.data, paths.state):
        if folder == paths.state:
            remove_created_folders(paths)
        remove_folder(folder)
    return foreign


def container_ids(paths: LabPaths) -> list[str]:
    """The ids of all containers that this lab's containerd has not cleaned up itself."""
    bundles = paths.containerd_state / "io.containerd.runtime.v2.task" / CONTAINERD_NAMESPACE
    return sorted(path.name for path in bundles.glob("*") if path.is_dir())


def container_cgroups(containers: list[str]) -> list[Path]:
    """The control groups of these containers in every hierarchy (cgroup v1 has many, v2 one)."""
    return [
        group
        for hierarchy in (CGROUPS, *sorted(CGROUPS.glob("*/")))
        for container in containers
        if (group := hierarchy / CONTAINERD_NAMESPACE / container).is_dir()
    ]


def pod_processes(containers: list[str]) -> Iterator[ProcessRecord]:
    """What runs in these containers."""
    seen: set[int] = set()
    for group in container_cgroups(containers):
        for listing in [group / "cgroup.procs", *group.rglob("*/cgroup.procs")]:
            with suppress(FileNotFoundError):  # the group went with its last process
                seen.update(int(pid) for pid in listing.read_text(encoding="ascii").split())
    for pid in sorted(seen):
        if (record := record_of("pod", pid)) is not None:
            yield record


def shims(paths: LabPaths) -> Iterator[ProcessRecord]:
    """containerd's shims of this lab, known by the socket they were told to report to."""
    for entry in Path("/proc").glob("[0-9]*"):
        record = record_of("containerd-shim", int(entry.name))
        try:
            arguments = (entry / "cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended while we looked
        if record is not None and is_shim_of(arguments, paths):
            yield record


def is_shim_of(arguments: list[bytes], paths: LabPaths) -> bool:
    """Whether a command line is that of a shim of this lab."""
    socket = str(paths.containerd_socket).encode()
    pairs = pairwise(arguments)
    return b"containerd-shim" in arguments[0] and (b"-address", socket) in pairs


def remove_cgroups(containers: list[str]) -> None:
    """Remove the containers' control groups, and the folder they lay in when it is empty."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    for group in container_cgroups(containers):
        inner = sorted((path for path in group.rglob("*") if path.is_dir()), key=lambda path: -len(path.parts))
        for folder in [*inner, group]:
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError as error:  # busy until the kernel has put away its last process
                    if time.monotonic() > deadline:
                        raise LabError(f"the control group {folder} stays busy: {error}") from error
                    time.sleep(0.05)
    for parent in [CGROUPS / CONTAINERD_NAMESPACE, *CGROUPS.glob(f"*/{CONTAINERD_NAMESPACE}")]:
        with suppress(OSError):  # another containerd of this machine may have groups there, or it is not there
            parent.rmdir()


def remove_folder(folder: Path) -> None:
    """Remove a folder, never through a mount."""
    if not folder.exists():
        return
    if mounts := mounts_below(folder):
        raise LabError(f"not removing {folder}, something is mounted in it: {', '.join(mounts)}; unmount it first")
    shutil.rmtree(folder)


def note_created_folders(paths: LabPaths, folders: tuple[str, ...]) -> None:
    """Make the folders that the lab mounts over, writing down first which of them it makes."""
    missing = [folder for folder in folders if not Path(folder).exists()]
    note = paths.state / "created-folders.json"
    known = json.loads(note.read_text(encoding="utf-8")) if note.exists() else []
    note.write_text(json.dumps(sorted({*known, *missing})), encoding="utf-8")
    for folder in missing:
        Path(folder).mkdir(parents=True)


def remove_created_folders(paths: LabPaths) -> None:
    """Remove the folders that the lab made on the machine, if they are as empty as it made them."""
    note = paths.state / "created-folders.json"
    if note.exists():
        for folder in json.loads(note.read_text(encoding="utf-8")):
            release_folder(Path(folder))
            with suppress(OSError):  # somebody else has put something there since, or has removed it
                Path(folder).rmdir()
