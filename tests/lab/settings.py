"""Where everything of the lab lies, and the numbers that are the same in every file.

Two folders: the *cache* keeps what is slow to make (binaries, images) and survives `down`; the *state* is one running
lab, and is gone after `down`. Pods' own data lies on the cache's disk, since the state is often in memory.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError

NAMESPACE = "stylefleet-lab"
NODE = "node1"
NODE_IP = "10.250.0.1"
SERVICE_IP = "10.0.0.1"
SERVICE_RANGE = "10.0.0.0/24"
POD_RANGE = "10.244.0.0/24"
HOST_IP_FOR_PODS = "10.244.0.1"
BRIDGE = "cni0"
API_SERVER = f"https://{NODE_IP}:443"
GPU_RESOURCE = "nvidia.com/gpu"
PAUSE_IMAGE = "localhost/stylefleet-pause:1"
BASE_IMAGE = "localhost/stylefleet-python-base:1"
CONTAINERD_NAMESPACE = "k8s.io"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CNI_PLUGINS = "/usr/lib/cni"
NETWORK_NAMESPACES = Path("/run/netns")
"""Where `ip netns` keeps its handles."""
MAX_SOCKET_PATH = 107
"""Linux refuses longer paths of Unix sockets."""


@dataclass(frozen=True, kw_only=True)
class LabPaths:
    """The folders of the lab; every file of it is named here once."""

    cache: Path
    """What is slow to make and survives `down`: binaries, images, build layers."""
    state: Path
    """One running lab: configuration, credentials, sockets, logs, process records."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> "LabPaths":
        """Read $STYLEFLEET_LAB_CACHE and $STYLEFLEET_LAB_STATE, or take the usual places."""
        env = os.environ if environment is None else environment
        home_cache = env.get("XDG_CACHE_HOME") or str(Path(env.get("HOME") or Path.home()) / ".cache")
        cache = env.get("STYLEFLEET_LAB_CACHE") or f"{home_cache}/stylefleet/lab"
        state = env.get("STYLEFLEET_LAB_STATE") or f"/run/{NAMESPACE}"
        paths = cls(cache=Path(cache).absolute(), state=Path(state).absolute())
        if len(str(paths.containerd_socket)) > MAX_SOCKET_PATH:
            raise LabError(
                f"the state folder's path is too long for Unix sockets: {paths.state}; set STYLEFLEET_LAB_STATE"
            )
        return paths

    @property
    def data(self) -> Path:
        """Bulky data of the running lab, on the cache's disk, its name bound to the state's; removed by `down`."""
        return self.cache / f"running-{hashlib.sha256(str(self.state).encode()).hexdigest()[:8]}"

    @property
    def image_store(self) -> Path:
        """containerd's images and layers, imported anew by each lab."""
        return self.data / "containerd"

    def lock(self, work: str) -> Path:
        """Held by one command at a time that does this kind of work: `build`, `images` or `run`."""
        return self.cache / f"{work}.lock"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def records(self) -> Path:
        return self.state / "processes"

    @property
    def config(self) -> Path:
        return self.state / "config"

    @property
    def credentials(self) -> Path:
        return self.state / "credentials"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig: what tests and `kubectl` use."""
        return self.state / "kubeconfig"

    @property
    def api_certificates(self) -> Path:
        return self.state / "api-certificates"

    @property
    def api_ca(self) -> Path:
        """The API server's self-signed certificate, which it writes at its first start."""
        return self.api_certificates / "apiserver.crt"

    @property
    def containerd_state(self) -> Path:
        return self.state / "containerd"

    @property
    def containerd_socket(self) -> Path:
        return self.containerd_state / "containerd.sock"

    @property
    def namespaces(self) -> Path:
        """A small private mount that holds the handle of the lab's mount namespace."""
        return self.state / "namespaces"

    @property
    def mount_namespace(self) -> Path:
        return self.namespaces / "mnt"

    @property
    def network_namespace(self) -> Path:
        return NETWORK_NAMESPACES / NAMESPACE

    @property
    def images(self) -> Path:
        """OCI archives."""
        return self.cache / "images"
