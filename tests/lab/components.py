"""The processes of the lab in the order in which they start: each one's arguments, as pure data."""

from collections.abc import Callable
from dataclasses import dataclass

from .settings import NODE, NODE_IP, SERVICE_RANGE, LabPaths

ADMIN = "admin"
KUBELET = f"system:node:{NODE}"
CONTROLLER_MANAGER = "system:kube-controller-manager"
SCHEDULER = "system:kube-scheduler"
USER_GROUPS = {
    ADMIN: "system:masters",
    KUBELET: "system:nodes",
    CONTROLLER_MANAGER: "system:authenticated",
    SCHEDULER: "system:authenticated",
}
"""The users that the API server knows by token, and the group that each is in."""


@dataclass(frozen=True, kw_only=True)
class Component:
    """One long-running process of the lab."""

    name: str
    """Its name, of its log and its record too."""
    program: str
    """A program that `build` made, or one of the machine's."""
    built: bool
    """Whether `build` made it."""
    arguments: Callable[[LabPaths], list[str]]
    """What follows the program."""


def user_kubeconfig(paths: LabPaths, user: str) -> str:
    """The kubeconfig of one of the components."""
    return str(paths.credentials / f"{user.replace(':', '-')}.kubeconfig")


def etcd_arguments(paths: LabPaths) -> list[str]:
    """One member on the namespace's loopback, which pods cannot reach; no fsync, since nothing is to be kept."""
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    return [
        "--name=lab",
        f"--data-dir={paths.data / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=lab={peer}",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def api_server_arguments(paths: LabPaths) -> list[str]:
    """Port 443 on all addresses, so that the `kubernetes` Service's address is the server itself and needs no proxy."""
    return [
        "--etcd-servers=http://127.0.0.1:2379",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--secure-port=443",
        "--bind-address=0.0.0.0",
        f"--advertise-address={NODE_IP}",
        f"--cert-dir={paths.api_certificates}",
        "--allow-privileged=true",
        "--authorization-mode=Node,RBAC",
        f"--token-auth-file={paths.credentials / 'tokens.csv'}",
        f"--service-account-key-file={paths.credentials / 'service-account.pub'}",
        f"--service-account-signing-key-file={paths.credentials / 'service-account.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--kubelet-preferred-address-types=InternalIP",
        "--profiling=false",
    ]


def controller_manager_arguments(paths: LabPaths) -> list[str]:
    """All controllers, each under its own service account's rights, as a real cluster has them."""
    return [
        f"--kubeconfig={user_kubeconfig(paths, CONTROLLER_MANAGER)}",
        f"--service-account-private-key-file={paths.credentials / 'service-account.key'}",
        f"--root-ca-file={paths.api_ca}",
        "--use-service-account-credentials=true",
        f"--flex-volume-plugin-dir={paths.data / 'volume-plugins'}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--profiling=false",
    ]


def scheduler_arguments(paths: LabPaths) -> list[str]:
    """The default scheduler."""
    return [
        f"--kubeconfig={user_kubeconfig(paths, SCHEDULER)}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
    ]


def containerd_arguments(paths: LabPaths) -> list[str]:
    """Debian's containerd with folders, socket and configuration of the lab's own."""
    return [f"--config={paths.config / 'containerd.toml'}"]


def kubelet_arguments(paths: LabPaths) -> list[str]:
    """The node."""
    return [
        f"--config={paths.config / 'kubelet.json'}",
        f"--kubeconfig={user_kubeconfig(paths, KUBELET)}",
        f"--hostname-override={NODE}",
        f"--node-ip={NODE_IP}",
        f"--cert-dir={paths.state / 'kubelet-certificates'}",
    ]


COMPONENTS = (
    Component(name="etcd", program="etcd", built=True, arguments=etcd_arguments),
    Component(name="containerd", program="containerd", built=False, arguments=containerd_arguments),
    Component(name="kube-apiserver", program="kube-apiserver", built=True, arguments=api_server_arguments),
    Component(
        name="kube-controller-manager",
        program="kube-controller-manager",
        built=True,
        arguments=controller_manager_arguments,
    ),
    Component(name="kube-scheduler", program="kube-scheduler", built=True, arguments=scheduler_arguments),
    Component(name="kubelet", program="kubelet", built=True, arguments=kubelet_arguments),
)
AFTER_API_SERVER = frozenset({"kube-controller-manager", "kube-scheduler", "kubelet"})
"""They read the API server's certificate at their start, so they wait for it."""
API_SERVER_ALONE = tuple(each for each in COMPONENTS if each.name in ("etcd", "kube-apiserver"))
