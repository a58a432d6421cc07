"""The lab's own network and mount namespace.

Network: nothing in the lab can reach, or be reached from, anything outside it, and no address of the host is touched.
Mounts: every overlay, tmpfs and shm that containerd and the kubelet mount exists only inside, so that it is gone by
itself when the last process is, even after a SIGKILL of everything. The folders whose paths those programs do not let
one choose, and the kernel settings that the kubelet would change for the whole machine, are covered by own copies.
"""

import os
import re
from pathlib import Path

from .errors import LabError
from .settings import BRIDGE, HOST_IP_FOR_PODS, NAMESPACE, NETWORK_NAMESPACES, NODE_IP, POD_RANGE, SERVICE_IP, LabPaths
from .shell import run

COVERED_FOLDERS = (
    "/run/containerd",  # the shims' sockets and runc's state
    "/var/lib/cni",
    "/var/lib/kubelet",  # its sockets for device plugins
    "/var/log/containers",
    "/var/log/pods",
)
IMAGE_STORE_BYTES = 6 * 2**30
"""Room for containerd's images in memory: a worker image takes 2.5 GB of it; memory is only used as it fills."""
COVERED_KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}
"""What the kubelet insists on, by name under /proc/sys: it reads these from our files and so writes nothing."""


def network_prefix(paths: LabPaths) -> tuple[str, ...]:
    """An argv prefix that runs a command in the lab's network, with the machine's own mounts.

    Not `ip netns exec`: that mounts a new /sys, and /sys/fs/cgroup is gone.
    """
    return ("nsenter", f"--net={paths.network_namespace}", "--")


def lab_prefix(paths: LabPaths) -> tuple[str, ...]:
    """An argv prefix for the lab's own processes: its network and its mounts."""
    return ("nsenter", f"--net={paths.network_namespace}", f"--mount={paths.mount_namespace}", "--")


def is_mount_point(path: Path) -> bool:
    """Whether something is mounted exactly here, in our own view.

    A namespace handle is such a mounted file; an interrupted start can leave an empty plain file in its place.
    """
    return any(line.split()[4] == str(path) for line in _mounts())


def mounts_below(folder: Path) -> list[str]:
    """All mount points in a folder, deepest first."""
    found = [point for line in _mounts() if Path(point := line.split()[4]).is_relative_to(folder)]
    return sorted(found, key=len, reverse=True)


def _mounts() -> list[str]:
    return Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()


def ensure_network(paths: LabPaths) -> None:
    """Make the network namespace and its addresses; whatever is there already stays."""
    if not is_mount_point(paths.network_namespace):
        paths.network_namespace.unlink(missing_ok=True)
        run(["ip", "netns", "add", NAMESPACE])
    ip = ("ip", "-n", NAMESPACE)
    run([*ip, "link", "set", "lo", "up"])
    for address in (SERVICE_IP, NODE_IP):
        run([*ip, "addr", "replace", f"{address}/32", "dev", "lo"])
    if BRIDGE not in run([*ip, "-o", "link", "show", "type", "bridge"]):
        # The bridge plugin would make it with the first pod; made here, servers can bind its address before.
        run([*ip, "link", "add", BRIDGE, "type", "bridge"])
    run([*ip, "addr", "replace", f"{HOST_IP_FOR_PODS}/{POD_RANGE.rpartition('/')[2]}", "dev", BRIDGE])
    run([*ip, "link", "set", BRIDGE, "up"])
    run([*network_prefix(paths), "sysctl", "-q", "-w", "net.ipv4.ip_forward=1"])
    if run([*ip, "route", "show", "default"]).strip():
        raise LabError(f"the network namespace {NAMESPACE} has a default route: `down` and `up` again")


def ensure_mounts(paths: LabPaths) -> None:
    """Make the mount namespace: a private copy of the machine's mounts, the lab's own folders over the fixed ones."""
    covers = paths.data / "covers"
    if not is_mount_point(paths.mount_namespace):
        paths.namespaces.mkdir(parents=True, exist_ok=True)
        if not is_mount_point(paths.namespaces):
            # The kernel wants the handle of a mount namespace to lie on a private mount.
            run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", paths.namespaces])
            run(["mount", "--make-private", paths.namespaces])
        paths.mount_namespace.touch()
        run(["unshare", f"--mount={paths.mount_namespace}", "--propagation", "private", "true"])
    inside = ("nsenter", f"--mount={paths.mount_namespace}", "--")
    covered = {line.split()[4] for line in run([*inside, "cat", "/proc/self/mountinfo"]).splitlines()}
    paths.image_store.mkdir(parents=True, exist_ok=True)
    if str(paths.image_store) not in covered and images_in_memory():
        run([*inside, "mount", "-t", "tmpfs", "-o", f"size={IMAGE_STORE_BYTES},mode=0711", "tmpfs", paths.image_store])
    for folder in COVERED_FOLDERS:
        cover = covers / folder.strip("/").replace("/", "-")
        if folder not in covered:
            cover.mkdir(parents=True, exist_ok=True)
            run([*inside, "mount", "--bind", cover, folder])
    for name, value in COVERED_KERNEL_SETTINGS.items():
        setting = Path("/proc/sys", name)
        if setting.exists() and str(setting) not in covered:
            cover = covers / name.replace("/", "-")
            cover.write_text(f"{value}\n", encoding="ascii")
            run([*inside, "mount", "--bind", cover, setting])


def images_in_memory() -> bool:
    """Whether containerd unpacks images into memory.

    An image is tens of thousands of files: on a disk (above all one that discards freed blocks at once) unpacking and
    later removing them takes most of a minute, in memory seconds, and it goes by itself with the last process.
    """
    wanted = os.environ.get("STYLEFLEET_LAB_IMAGES_IN")
    if wanted not in {None, "memory", "disk"}:
        raise LabError(f"STYLEFLEET_LAB_IMAGES_IN is {wanted!r}; it may be memory or disk")
    if wanted is not None:
        return wanted == "memory"
    free = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    return free is not None and int(free[1]) * 1024 >= 2 * IMAGE_STORE_BYTES


def foreign_processes(paths: LabPaths) -> list[str]:
    """`pid name` of what runs in the network when the lab's own does not: servers that a test forgot, another lab."""
    if not is_mount_point(paths.network_namespace):
        return []
    pids = run(["ip", "netns", "pids", NAMESPACE]).split()
    return [f"{pid} {_command_name(pid)}" for pid in pids if int(pid) != os.getpid()]


def _command_name(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
    except (FileNotFoundError, ProcessLookupError):
        return "(just ended)"


def remove_namespaces(paths: LabPaths) -> None:
    """Drop both handles; the kernel takes the rest away with the last process."""
    if is_mount_point(paths.mount_namespace):
        run(["umount", paths.mount_namespace])
    if is_mount_point(paths.namespaces):
        run(["umount", paths.namespaces])
    if paths.network_namespace.exists():
        run(["ip", "netns", "del", NAMESPACE])


def release_folder(folder: Path) -> None:
    """Undo the mount that `ip netns` puts on its folder, once nobody has a namespace there any more."""
    if folder == NETWORK_NAMESPACES and is_mount_point(folder) and not any(folder.iterdir()):
        run(["umount", folder])
