"""What the Dockerfile says, and for the GPU image, which is too large to build here, all that is checked of it."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest

import stylefleet
from stylefleet import jobs

ROOT = Path(__file__).parents[2]
TARGETS = ("controller", "worker-cpu", "worker-gpu")
Step = tuple[str, str]


def stages() -> dict[str, list[Step]]:
    """(instruction, rest) of every stage by its name; the FROM is the first."""
    text = re.sub(r"(?m)^#.*\n", "", (ROOT / "Dockerfile").read_text())
    found: dict[str, list[Step]] = {"": []}
    name = ""
    for line in filter(None, text.replace("\\\n", " ").splitlines()):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            name = rest.split(" AS ")[1]
            found[name] = []
        found[name].append((instruction, " ".join(rest.split())))
    return found


def lineage(target: str) -> list[Step]:
    """The steps that a target is made of, those of the stages below it first; the base image left out."""
    (_, origin), *_ = steps = stages()[target]
    base = origin.split(" AS ")[0]
    return [*(lineage(base) if base in stages() else []), *steps]


def packages(lock: str) -> set[str]:
    return set(re.findall(r"(?m)^[a-z0-9][^ ]+", lock))


@pytest.mark.parametrize("target", TARGETS)
def test_every_image_runs_as_the_user_of_the_pods_and_starts_python_itself(target: str) -> None:
    steps = lineage(target)
    assert [rest for name, rest in steps if name == "USER"] == [f"{jobs.USER_ID}:{jobs.USER_ID}"]
    # The exec form: no shell between the kubelet's SIGTERM and Python.
    assert [rest for name, rest in steps if name == "ENTRYPOINT"] == ['["python3", "-m", "stylefleet.cli.main"]']
    assert [rest for name, rest in steps if name == "CMD"] == [f'["{target.partition("-")[0]}"]']


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_is_run_after_the_user_is_no_longer_root(target: str) -> None:
    names = [name for name, _ in lineage(target)]
    assert "RUN" not in names[names.index("USER") :]
    assert "ADD" not in names, "nothing comes from a network but through the locks"


@pytest.mark.parametrize("target", TARGETS)
def test_every_image_says_what_it_is(target: str) -> None:
    labels = dict(pair.split("=", 1) for name, rest in lineage(target) if name == "LABEL" for pair in shlex.split(rest))
    assert {label.removeprefix("org.opencontainers.image.") for label in labels} == {
        *("title", "description", "version", "revision", "source", "licenses")
    }
    assert labels["org.opencontainers.image.title"] == f"stylefleet-{target}"
    assert ("ARG", f"VERSION={stylefleet.__version__}") in lineage(target)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == stylefleet.__version__
    assert labels["org.opencontainers.image.licenses"] == project["license"]


def test_whatever_is_installed_is_named_with_its_hash_in_a_lock() -> None:
    installs = [rest for steps in stages().values() for name, rest in steps if name == "RUN" and "install " in rest]
    (installer,) = [rest for name, rest in stages()["builder"] if rest.startswith("INSTALL=")]
    for command in (installer, *(rest for rest in installs if "pip" in rest)):
        assert "--require-hashes" in command
        assert "--only-binary :all:" in command
    assert not [rest for rest in installs if "apt" in rest]


@pytest.fixture
def halves(tmp_path: Path) -> tuple[str, str]:
    """The lock of the GPU image in CUDA wheels and others, split by the Dockerfile's own command in a real shell."""
    (command,) = [rest for name, rest in stages()["worker-gpu-locks"] if name == "RUN"]
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/worker-gpu.txt").write_bytes((ROOT / "locks/worker-gpu.txt").read_bytes())
    subprocess.run(["sh", "-c", command.replace("/build/", f"{tmp_path}/")], check=True)
    return (tmp_path / "cuda.txt").read_text(), (tmp_path / "other.txt").read_text()


def test_the_cuda_wheels_are_a_layer_of_their_own_and_nothing_is_lost(halves: tuple[str, str]) -> None:
    cuda, other = halves
    lock = (ROOT / "locks/worker-gpu.txt").read_text()
    assert packages(cuda) == {name for name in packages(lock) if name.startswith("nvidia-")}
    assert len(packages(cuda)) >= 10
    assert packages(cuda) | packages(other) == packages(lock)
    assert sorted(cuda.splitlines() + other.splitlines()) == sorted(lock.splitlines())
    for half in halves:
        # Each package has kept its own hashes.
        blocks = re.split(r"(?m)^(?=[a-z0-9])", half)[1:]
        assert blocks
        assert all(block in lock and "--hash=sha256:" in block for block in blocks)


def test_the_cuda_layer_depends_on_nothing_but_the_cuda_half_of_the_lock() -> None:
    inputs = [rest for name, rest in stages()["worker-gpu-cuda"] if name == "COPY"]
    assert inputs == ["--from=worker-gpu-locks /build/cuda.txt /build/"]
    copies = [rest for name, rest in stages()["worker-gpu"] if name == "COPY"]
    assert [c.split()[0].removeprefix("--from=") for c in copies] == [
        *("worker-gpu-cuda", "worker-gpu-environment", "weights", "source")
    ], "what changes least comes first"


def test_no_pod_sees_a_gpu_that_it_did_not_ask_for() -> None:
    environment = " ".join(rest for name, rest in lineage("worker-gpu") if name == "ENV")
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in environment
    assert "NVIDIA_VISIBLE_DEVICES" not in environment


@pytest.mark.parametrize("target", ["worker-cpu", "worker-gpu"])
def test_the_workers_take_weights_that_were_checked_and_are_told_their_hash(target: str) -> None:
    steps = stages()[target]
    assert ("COPY", "--from=weights /opt/weights /opt/weights") in steps
    assert ("ARG", 'VGG19_SHA256=""') in steps
    variables = (
        "STYLEFLEET_VGG19_WEIGHTS=${VGG19_SHA256:+/opt/weights/vgg19.h5} STYLEFLEET_VGG19_SHA256=${VGG19_SHA256}"
    )
    assert ("ENV", variables) in steps


def test_the_context_has_what_is_copied_and_nothing_else() -> None:
    copied = {
        rest.split()[0].split("/")[0]
        for steps in stages().values()
        for name, rest in steps
        if name == "COPY" and "--from" not in rest
    }
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[0] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == copied
