"""Starting the components, and asking the running cluster how it is."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import render
from .build import program
from .components import AFTER_API_SERVER, COMPONENTS, Component
from .credentials import ensure_credentials
from .errors import LabError
from .namespaces import COVERED_FOLDERS, ensure_mounts, ensure_network, lab_prefix, network_prefix
from .process import alive, load_record, start
from .settings import GPU_RESOURCE, NETWORK_NAMESPACES, NODE, SYSTEM_PATH, LabPaths
from .shell import run
from .teardown import note_created_folders

TIMEOUT_SECONDS = 180.0  # 10 s on an idle machine
LOG_TAIL_LINES = 15


@dataclass(frozen=True, kw_only=True)
class LabStatus:
    """What runs now."""

    components: dict[str, int | None]
    """Component -> its process id, or None if it does not run."""
    api_ready: bool
    """Whether the API server says that it is ready."""
    node_ready: bool
    """Whether the node says that it takes pods."""
    gpus: int
    """How many GPUs pods can have on the node."""

    @property
    def any_up(self) -> bool:
        """Whether anything of the lab runs."""
        return any(pid is not None for pid in self.components.values())

    @property
    def all_up(self) -> bool:
        """Whether everything runs and pods can start."""
        return self.api_ready and self.node_ready and None not in self.components.values()


def component_pid(paths: LabPaths, component: Component) -> int | None:
    """The process id of a component that runs."""
    record = load_record(paths.records, component.name)
    return record.pid if record is not None and alive(record) else None


def kubectl(paths: LabPaths, *arguments: str, input_text: str | None = None, timeout_seconds: float = 60) -> str:
    """The lab's own kubectl as administrator, in the lab's network."""
    command: list[str | Path] = [
        *network_prefix(paths),
        program(paths, "kubectl"),
        f"--kubeconfig={paths.kubeconfig}",
        *arguments,
    ]
    return run(command, input_text=input_text, timeout_seconds=timeout_seconds)


def read_status(paths: LabPaths) -> LabStatus:
    """Look at processes first, so that nothing waits for a server that is not there."""
    components = {component.name: component_pid(paths, component) for component in COMPONENTS}
    ready, node = False, None
    if components["kube-apiserver"] is not None:
        ready = answers(lambda: kubectl(paths, "get", "--raw", "/readyz") == "ok")
        node = _node(paths) if ready else None
    conditions = node["status"].get("conditions", []) if node else []
    allocatable = node["status"].get("allocatable", {}) if node else {}
    return LabStatus(
        components=components,
        api_ready=ready,
        node_ready=any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
        gpus=int(allocatable.get(GPU_RESOURCE, 0)),
    )


def answers(question: Callable[[], bool]) -> bool:
    """A question to the cluster, where no answer is a no: the server may be starting or gone."""
    try:
        return question()
    except LabError:
        return False


def _node(paths: LabPaths) -> dict[str, Any] | None:
    listed = json.loads(kubectl(paths, "get", "nodes", "--output=json"))["items"]
    nodes: dict[str, dict[str, Any]] = {item["metadata"]["name"]: item for item in listed}
    return nodes.get(NODE)


def prepare(paths: LabPaths) -> None:
    """Namespaces, configuration files and credentials: all that must be there before the first process."""
    for folder in (paths.state, paths.data, paths.config / "cni", paths.api_certificates):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    note_created_folders(paths, (*COVERED_FOLDERS, str(NETWORK_NAMESPACES)))
    ensure_network(paths)
    ensure_mounts(paths)
    ensure_credentials(paths)
    files = {
        paths.config / "containerd.toml": render.containerd_config(paths),
        paths.config / "cni" / "10-stylefleet-lab.conflist": render.cni_config(paths),
        paths.config / "kubelet.json": render.kubelet_config(paths),
        render.resolv_conf_path(paths): render.resolv_conf(),
    }
    for path, text in files.items():
        path.write_text(text, encoding="utf-8")


def start_missing(paths: LabPaths, components: Sequence[Component] = COMPONENTS) -> None:
    """Start every component that does not run, and wait until the API server answers before those that need it."""
    for component in components:
        if component.name in AFTER_API_SERVER:
            wait_for_api_server(paths)
        if component_pid(paths, component) is not None:
            continue
        executable = str(program(paths, component.program)) if component.built else component.program
        start(
            name=component.name,
            argv=[*lab_prefix(paths), executable, *component.arguments(paths)],
            env={"PATH": SYSTEM_PATH, "HOME": str(paths.state)},
            log=paths.logs / f"{component.name}.log",
            records=paths.records,
        )


def wait_for_api_server(paths: LabPaths) -> None:
    """Wait until it answers."""
    wait_for(paths, "the API server to be ready", lambda: kubectl(paths, "get", "--raw", "/readyz") == "ok")


def wait_until_ready(paths: LabPaths) -> None:
    """Wait until a pod could start: the node is ready and the default service account is there."""
    wait_for(paths, "the node to be ready", lambda: read_status(paths).node_ready)
    account = ("get", "serviceaccount", "default", "--namespace=default")
    wait_for(paths, "the default service account", lambda: bool(kubectl(paths, *account)))


def set_gpus(paths: LabPaths, count: int) -> None:
    """Give the node its GPUs; they are numbers to the scheduler, no device is behind them."""
    patch = render.gpu_patch(count)
    kubectl(paths, "patch", "node", NODE, "--subresource=status", "--type=json", f"--patch={patch}")


def wait_for(paths: LabPaths, what: str, question: Callable[[], bool]) -> None:
    """Ask until yes; stop early, with the end of its log, when a component has died."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not answers(question):
        dead = [component for component in COMPONENTS if _has_died(paths, component)]
        if dead:
            raise LabError("\n".join(f"{each.name} ended: {_log_tail(paths, each.name)}" for each in dead))
        if time.monotonic() > deadline:
            raise LabError(f"waited {TIMEOUT_SECONDS:g} s for {what}; the logs are in {paths.logs}")
        time.sleep(0.2)


def _has_died(paths: LabPaths, component: Component) -> bool:
    record = load_record(paths.records, component.name)
    return record is not None and not alive(record)


def _log_tail(paths: LabPaths, name: str) -> str:
    log = paths.logs / f"{name}.log"
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return "\n".join([f"the end of {log}:", *lines[-LOG_TAIL_LINES:]])
