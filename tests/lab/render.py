"""The configuration files of the components, as text: pure functions, so that a test can read what is written."""

import json
from pathlib import Path
from typing import Any

from .settings import (
    API_SERVER,
    BRIDGE,
    CNI_PLUGINS,
    GPU_RESOURCE,
    PAUSE_IMAGE,
    POD_RANGE,
    LabPaths,
)


def containerd_config(paths: LabPaths) -> str:
    """containerd's TOML; what is not named keeps containerd's default."""
    text = json.dumps  # a JSON string is a TOML string
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
root = {text(str(paths.image_store))}
state = {text(str(paths.containerd_state))}

[grpc]
  address = {text(str(paths.containerd_socket))}

# Its folder is /opt/containerd unless told.
[plugins."io.containerd.internal.v1.opt"]
  path = {text(str(paths.data / "opt"))}

[{cri}]
  sandbox_image = {text(PAUSE_IMAGE)}
  # A test machine may lack CAP_SYS_RESOURCE, without which a lower OOM score cannot be set.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"

[{cri}.cni]
  bin_dir = {text(CNI_PLUGINS)}
  conf_dir = {text(str(paths.config / "cni"))}
"""


def cni_config(paths: LabPaths) -> str:
    """Pods on one bridge, whose address is this machine to them; no masquerading, since nothing may leave."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": False,
        "ipam": {
            "type": "host-local",
            "dataDir": str(paths.state / "pod-addresses"),
            "ranges": [[{"subnet": POD_RANGE}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return _json({"cniVersion": "0.4.0", "name": "stylefleet-lab", "plugins": [bridge]})


def kubelet_config(paths: LabPaths) -> str:
    """The kubelet's configuration for a machine whose cgroups it may not arrange (cgroup v1, no systemd)."""
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            # Reachable inside the lab's network only.
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": f"unix://{paths.containerd_socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupsPerQOS": False,
            "enforceNodeAllocatable": [],
            "failCgroupV1": False,
            "failSwapOn": False,
            "oomScoreAdj": 0,
            "makeIPTablesUtilChains": False,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            # Images are loaded by hand and cannot be pulled again: never collect them.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "resolvConf": str(resolv_conf_path(paths)),
            "nodeStatusUpdateFrequency": "4s",
            "volumePluginDir": str(paths.data / "volume-plugins"),
        }
    )


def resolv_conf_path(paths: LabPaths) -> Path:
    """The pods' resolv.conf."""
    return paths.config / "resolv.conf"


def resolv_conf() -> str:
    """A name server that is refused at once: with none named, pods get the machine's own and wait 5 s for it."""
    return "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"


def kubeconfig(*, user: str, token: str, certificate_authority: Path) -> str:
    """A kubeconfig (JSON is YAML) for one user."""
    return _json(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": "lab",
                    "cluster": {"server": API_SERVER, "certificate-authority": str(certificate_authority)},
                }
            ],
            "users": [{"name": user, "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
            "current-context": "lab",
        }
    )


def token_table(tokens: dict[str, str], groups: dict[str, str]) -> str:
    """The API server's static tokens: token, user, user id, group."""
    return "".join(f'{token},{user},{user},"{groups[user]}"\n' for user, token in tokens.items())


def gpu_patch(count: int) -> str:
    """The JSON patch of a node's status that makes it have GPUs; a kubelet leaves resources it does not know alone."""
    key = GPU_RESOURCE.replace("~", "~0").replace("/", "~1")
    return json.dumps(
        [{"op": "add", "path": f"/status/{table}/{key}", "value": str(count)} for table in ("capacity", "allocatable")]
    )


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2) + "\n"
