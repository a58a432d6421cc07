"""The lab as one object: what the command line and the cluster tests use."""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from . import bases, build, cluster, images, packages, schemas, teardown
from .cluster import LabStatus
from .components import API_SERVER_ALONE
from .errors import LabError
from .namespaces import foreign_processes, network_prefix
from .settings import BASE_IMAGE, HOST_IP_FOR_PODS, NAMESPACE, LabPaths
from .shell import require_root, run, say


def refuse_others(paths: LabPaths) -> None:
    """There is one network namespace, so there is one lab on a machine at a time."""
    if others := foreign_processes(paths):
        raise LabError(
            f"the network namespace {NAMESPACE} is in use, perhaps by a lab with another STYLEFLEET_LAB_STATE: "
            f"{', '.join(others)}; end that lab with its `down` first"
        )


@dataclass(frozen=True, kw_only=True)
class Lab:
    """A real single-node Kubernetes on this machine, in a network namespace of its own."""

    paths: LabPaths = field(default_factory=LabPaths.from_environment)
    """Where its cache and its state lie."""
    gpus: int = 2
    """How many `nvidia.com/gpu` its node claims to have."""

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; its server is reachable inside the namespace only."""
        return self.paths.kubeconfig

    @property
    def kubectl_program(self) -> Path:
        """The kubectl of the cluster's own version."""
        return build.program(self.paths, "kubectl")

    @property
    def netns(self) -> str:
        """The network namespace's name, as `ip netns` knows it."""
        return NAMESPACE

    @property
    def host_ip_for_pods(self) -> str:
        """Where pods reach servers that run in the namespace; it can be bound from `up` on."""
        return HOST_IP_FOR_PODS

    def nsenter_prefix(self) -> tuple[str, ...]:
        """An argv prefix that runs a command within the namespace, keeping /sys/fs/cgroup as it is."""
        return network_prefix(self.paths)

    def kubectl(self, *arguments: str, input_text: str | None = None, timeout_seconds: float = 60) -> str:
        """Run kubectl as administrator and give what it prints."""
        return cluster.kubectl(self.paths, *arguments, input_text=input_text, timeout_seconds=timeout_seconds)

    def build(self) -> bool:
        """Install and build what is missing; say whether there was anything to do."""
        with self._alone("build"):
            installed = packages.install_missing()
            built = build.build_all(self.paths)
            return bool(installed) or built

    def chart_tool(self, name: str) -> Path:
        """A program that checks the Helm chart, built where it is missing; it needs Go, and neither root nor a lab."""
        with self._alone("build"):
            build.build_module(self.paths, build.CHART)
        return build.program(self.paths, name)

    def schemas(self) -> Path:
        """JSON Schemas of Kubernetes' objects, a folder for each version; as `chart_tool`."""
        with self._alone("build"):
            return schemas.ensure(self.paths)

    def up(self) -> LabStatus:
        """Start what does not run yet, load the pause image, and wait until pods can start."""
        require_root("the lab")
        self.build()
        pause = self._pause_image()
        with self._alone("run"):
            status = cluster.read_status(self.paths)
            if not status.any_up:
                if not self.paths.state.exists():
                    refuse_others(self.paths)
                teardown.tear_down(self.paths)  # what a reboot, or an `up` or `down` that was killed, may have left
            if not status.all_up:
                cluster.prepare(self.paths)
                cluster.start_missing(self.paths)
                images.load(self.paths, pause)
                cluster.wait_until_ready(self.paths)
                status = cluster.read_status(self.paths)
            if status.gpus != self.gpus:
                cluster.set_gpus(self.paths, self.gpus)
                status = cluster.read_status(self.paths)
            return status

    def up_without_node(self) -> None:
        """Start an API server that nobody works for: objects stay as they are put. For measurements of many objects."""
        require_root("the lab")
        self.build()
        with self._alone("run"):
            teardown.tear_down(self.paths)
            cluster.prepare(self.paths)
            cluster.start_missing(self.paths, API_SERVER_ALONE)
            cluster.wait_for_api_server(self.paths)

    def down(self) -> list[str]:
        """End and remove the lab; give `pid name` of processes of others that still run in its network."""
        require_root("the lab")
        with self._alone("run"):
            return teardown.tear_down(self.paths)

    def status(self) -> LabStatus:
        """What runs now."""
        return cluster.read_status(self.paths)

    def versions(self) -> dict[str, str]:
        """What the parts call themselves."""
        etcd = run([build.program(self.paths, "etcd"), "--version"]).splitlines()[0]
        return {
            "kubernetes": run([build.program(self.paths, "kubelet"), "--version"]).split()[-1],
            "etcd": etcd.split()[-1],
            "containerd": run(["containerd", "--version"]).split()[2],
            "runc": run(["runc", "--version"]).split()[2],
        }

    def build_base_images(self) -> list[Path]:
        """Make the pause image and the Python base image; give their archives."""
        require_root("building images")
        self.build()
        with self._alone("images"):
            return [bases.ensure_pause_image(self.paths), bases.ensure_base_image(self.paths)]

    def build_image(
        self,
        *,
        tag: str,
        context: Path,
        file: Path | None = None,
        target: str | None = None,
        build_args: Mapping[str, str] | None = None,
    ) -> Path:
        """Build a Dockerfile on the Python base and give its OCI archive; images are built outside the namespace."""
        require_root("building images")
        with self._alone("build"):
            packages.install_missing()
        with self._alone("images"):
            base = bases.ensure_base_image(self.paths)
            say(f"base: {base.name}")
            arguments = {"BASE_IMAGE": BASE_IMAGE, **(build_args or {})}
            return images.build(self.paths, tag=tag, context=context, file=file, target=target, build_args=arguments)

    def load_image(self, archive: Path) -> str:
        """Import an OCI archive into the running lab and give the image's name, which pods then use."""
        require_root("loading images")
        return images.load(self.paths, archive)

    def _pause_image(self) -> Path:
        if (archive := bases.find_pause_image(self.paths)) is not None:
            return archive  # without waiting for a long image build
        with self._alone("images"):
            return bases.ensure_pause_image(self.paths)

    @contextmanager
    def _alone(self, work: str) -> Iterator[None]:
        """One command at a time for each kind of work, over all processes of the machine."""
        lock = self.paths.lock(work)
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w", encoding="ascii") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waiting for another command of the lab, which holds {lock}")
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
