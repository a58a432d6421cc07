"""Building the lab's programs with Go: pinned by go.sum, cached under the digest of what they are made from."""

import hashlib
import os
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from .errors import LabError
from .settings import LabPaths
from .shell import find_tool, run, say

HERE = Path(__file__).resolve().parent
BUILD_TIMEOUT_SECONDS = 3600.0
GO_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"}
"""Whatever the person has set in these would change the result; module proxy and caches stay theirs."""


@dataclass(frozen=True, kw_only=True)
class GoModule:
    """A folder with go.mod and go.sum beside this file, and the commands to build from it."""

    folder: str
    """Its name in tests/lab."""
    commands: dict[str, str]
    """Program name -> import path of the command."""
    minutes: int
    """How long it takes on 2 cores; said before it begins."""
    stamps: tuple[str, ...] = ()
    """Further variables that are set at link time, `import/path.name=value`."""
    version_of: str | None = None
    """The required module whose version is stamped into Kubernetes' programs; unstamped they call themselves v0.0.0."""


KUBERNETES = GoModule(
    folder="go",
    version_of="k8s.io/kubernetes",
    commands={
        "etcd": "go.etcd.io/etcd/server/v3",
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
        "kubelet": "k8s.io/kubernetes/cmd/kubelet",
        "pause": "stylefleet.test/lab/pause",
    },
    minutes=6,
)
CHART = GoModule(
    folder="go-chart",
    commands={
        "helm": "helm.sh/helm/v4/cmd/helm",
        "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform",
        "kustomize": "sigs.k8s.io/kustomize/kustomize/v5",
        "podsecurity": "stylefleet.test/lab/chart/podsecurity",
    },
    stamps=(
        # The Kubernetes that charts are rendered for where there is no cluster to ask; unstamped it is 1.20.
        "helm.sh/helm/v4/pkg/chart/common.k8sVersionMajor=1",
        "helm.sh/helm/v4/pkg/chart/common.k8sVersionMinor=34",
    ),
    minutes=3,
)
"""What checks the Helm chart: needs no cluster, and Helm's requirements do not go together with Kubernetes' own."""
MODULES = (KUBERNETES, CHART)
"""Another tool is one more line here (and its import in the folder's tools.go), or, if its requirements do not go
together with Kubernetes' own, one more module."""


def required_version(go_mod: str, module: str) -> str:
    """The version of a directly required module."""
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)$", go_mod, re.MULTILINE)
    if found is None:
        raise LabError(f"go.mod does not require {module}")
    return found[1]


def linker_flags(version: str | None) -> str:
    """No debug tables (they double the link time and size), and Kubernetes' version where it looks for it."""
    flags = ["-s", "-w"]
    if version is not None:
        major, minor = version.removeprefix("v").split(".")[:2]
        stamp = {
            "gitVersion": version,
            "gitMajor": major,
            "gitMinor": minor,
            "gitTreeState": "clean",
        }
        for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
            flags += [f"-X {package}.{key}={value}" for key, value in stamp.items()]
    return " ".join(flags)


def build_arguments(module: GoModule, go_mod: str, output: Path) -> list[str]:
    """One `go build` for all commands: shared packages are compiled once and both cores stay busy."""
    version = required_version(go_mod, module.version_of) if module.version_of else None
    stamped = "".join(f" -X {stamp}" for stamp in module.stamps)
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", f"-ldflags={linker_flags(version)}{stamped}"]
    return ["go", "build", *flags, "-o", f"{output}/", *module.commands.values()]


def output_name(import_path: str) -> str:
    """How `go build -o FOLDER/` names a command: the last element that is not a major version."""
    parts = import_path.split("/")
    if re.fullmatch(r"v\d+", parts[-1]):
        parts.pop()
    return parts[-1]


def module_digest(module: GoModule) -> str:
    """What the programs are made from: requirements, hashes, own sources and flags; not the compiler's version."""
    folder = HERE / module.folder
    go_mod = (folder / "go.mod").read_text(encoding="utf-8")
    digest = hashlib.sha256(repr(build_arguments(module, go_mod, Path("out"))).encode())
    for name in ("go.mod", "go.sum"):
        digest.update((folder / name).read_bytes())
    for source in sorted(folder.rglob("*.go")):
        digest.update(f"{source.relative_to(folder)}\n".encode() + source.read_bytes())
    return digest.hexdigest()[:16]


def module_programs(paths: LabPaths, module: GoModule) -> Path:
    """The folder of a module's built programs, whether built or not."""
    return paths.cache / "bin" / f"{module.folder}-{module_digest(module)}"


def program(paths: LabPaths, name: str) -> Path:
    """The path of one built program."""
    for module in MODULES:
        if name in module.commands:
            path = module_programs(paths, module) / name
            if not path.is_file():
                raise LabError(f"{name} is not built yet: run `python -m tests.lab build`")
            return path
    raise LabError(f"the lab builds no program named {name}; tests/lab/build.py lists them")


def check_go(go_mod: str) -> None:
    """Refuse early, naming the version, when Go is absent or too old."""
    needed = re.search(r"^go (\d+)\.(\d+)", go_mod, re.MULTILINE)
    if needed is None:
        raise LabError("go.mod has no `go` line")
    wanted = (int(needed[1]), int(needed[2]))
    said = f"Go {needed[1]}.{needed[2]} or newer must be on PATH to build the lab's programs"
    if find_tool("go") is None:
        raise LabError(f"{said}, and there is no `go`: install it (Debian's bookworm has an older one)")
    have = run(["go", "env", "GOVERSION"], env={**os.environ, **GO_ENVIRONMENT}).strip()
    found = re.match(r"go(\d+)\.(\d+)", have)
    if found is None or (int(found[1]), int(found[2])) < wanted:
        raise LabError(f"{said}, and `go` is {have or 'of unknown version'}: install a newer one")


def build_module(paths: LabPaths, module: GoModule) -> bool:
    """Build a module's programs unless they are in the cache; say whether anything was built."""
    target = module_programs(paths, module)
    if all((target / name).is_file() for name in module.commands):
        return False
    folder = HERE / module.folder
    go_mod = (folder / "go.mod").read_text(encoding="utf-8")
    check_go(go_mod)
    say(f"building {', '.join(module.commands)} (about {module.minutes} minutes on 2 cores, once)")
    started = time.monotonic()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="building-", dir=target.parent) as scratch:
        made = Path(scratch) / "programs"
        made.mkdir()
        run(
            build_arguments(module, go_mod, made),
            env={**os.environ, **GO_ENVIRONMENT},
            cwd=folder,
            timeout_seconds=BUILD_TIMEOUT_SECONDS,
            show=True,
        )
        for name, import_path in module.commands.items():
            (made / output_name(import_path)).rename(made / name)
        if target.exists():
            shutil.rmtree(target)
        made.rename(target)  # the folder appears whole or not at all
    say(f"built in {time.monotonic() - started:.0f} s: {target}")
    return True


def build_all(paths: LabPaths) -> bool:
    """Build every module; say whether anything was built."""
    built = [build_module(paths, module) for module in MODULES]
    return any(built)
