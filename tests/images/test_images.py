"""The images that are built from the Dockerfile, looked at from the inside as their own user."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest

import stylefleet
from tests.container_images import REPOSITORY, archive
from tests.lab import Lab, LabError, images

pytestmark = pytest.mark.timeout(2400)  # the first test builds the image

Target = Literal["controller", "worker-cpu"]
TARGETS: tuple[Target, ...] = ("controller", "worker-cpu")
PROBE = Path(__file__).parent / "probe.py"


def command_within(image: Path, *command: str, before: str = "", **environment: str) -> list[str]:
    """Runs a command on an image's files with its user and environment."""
    config = images.config(image)
    variables = [*config["Env"], *(f"{name}={value}" for name, value in environment.items())]
    line = shlex.join(["env", "-i", *variables, "chroot", f"--userspec={config['User']}"])
    return images.command_within(Lab().paths, image, f'{before} {line} "$root" "$@"', *command)


def output_of(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def run_within(image: Path, *command: str) -> str:
    return output_of(command_within(image, *command))


@functools.cache
def probed(target: Target) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run_within(archive(target), "python3", "-c", PROBE.read_text()))
    return found


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_has_its_user_entry_point_and_labels(target: Target) -> None:
    config = images.config(archive(target))
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["python3", "-m", "stylefleet.cli.main"]
    assert config["Cmd"] == [target.partition("-")[0]]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"stylefleet-{target}"
    assert labels["org.opencontainers.image.version"] == stylefleet.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert probed(target)["uid"] == 10001


@pytest.mark.parametrize("target", TARGETS)
def test_its_user_can_write_nothing_but_to_the_folders_for_scratch(target: Target) -> None:
    assert set(probed(target)["writable"]) <= {"/tmp", "/var/tmp", "/run/lock"}  # noqa: S108 - in the image


@pytest.mark.parametrize("target", TARGETS)
def test_no_program_changes_the_user_and_none_installs(target: Target) -> None:
    assert probed(target)["setuid"] == []
    assert probed(target)["installers"] == []
    with pytest.raises(subprocess.CalledProcessError) as caught:
        run_within(archive(target), "python3", "-m", "pip", "--version")
    assert "No module named pip" in caught.value.stderr


def test_the_controller_has_no_tensorflow_and_the_worker_has() -> None:
    names = ("tensorflow", "keras", "h5py", "kubernetes")
    look = f"import importlib.util as u; print([n for n in {names} if u.find_spec(n)])"
    assert run_within(archive("controller"), "python3", "-c", look).strip() == "['kubernetes']"
    assert "'tensorflow'" in run_within(archive("worker-cpu"), "python3", "-c", look)


@pytest.mark.parametrize("target", TARGETS)
def test_every_module_comes_with_its_bytecode(target: Target) -> None:
    """The root is read-only: what is not compiled now is compiled anew at every start, which takes three times as long.
    (Templates of packages and modules of other versions of Python are no modules here.)"""
    without = [path for path in probed(target)["without_bytecode"] if path.startswith("/opt/stylefleet-source/")]
    assert without == []
    assert len(probed(target)["without_bytecode"]) <= 5


@pytest.mark.parametrize("target", TARGETS)
def test_an_image_is_as_large_as_this(target: Target, capsys: pytest.CaptureFixture[str]) -> None:
    parts = {part: size / 1e6 for part, size in probed(target)["bytes"].items()}
    with capsys.disabled():
        told = ", ".join(f"{part.strip('/')} {size:.0f} MB" for part, size in sorted(parts.items()))
        packed = archive(target).stat().st_size / 1e6
        print(f"\n{target}: {sum(parts.values()):.0f} MB installed ({told}), {packed:.0f} MB packed", file=sys.stderr)
    # Generous: what this finds is TensorFlow in the controller, or a second copy of everything.
    assert sum(parts.values()) < {"controller": 700, "worker-cpu": 3500}[target]


@pytest.mark.parametrize("target", TARGETS)
def test_the_command_line_answers_in_every_image(target: Target) -> None:
    entry = images.config(archive(target))["Entrypoint"]
    assert run_within(archive(target), *entry, "--version").strip() == f"stylefleet {stylefleet.__version__}"


def test_the_default_weights_are_in_the_worker_and_are_the_pinned_ones() -> None:
    code = (
        "from stylefleet.engine.weights import HED_SHA256, read_weights;"
        "print(read_weights('vgg16-hed', ('block1_conv1',)).sha256 == HED_SHA256)"
    )
    assert run_within(archive("worker-cpu"), "python3", "-c", code).splitlines()[-1] == "True"


@pytest.fixture(scope="module")
def context_with_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository as a build sees it, with a file where the weights of VGG19 go."""
    context = tmp_path_factory.mktemp("context")
    for name in ("Dockerfile", ".dockerignore"):
        shutil.copy2(REPOSITORY / name, context)
    for name in ("locks", "service", "weights"):
        shutil.copytree(REPOSITORY / name, context / name, ignore=shutil.ignore_patterns("__pycache__", "*.h5"))
    (context / "weights/vgg19.h5").write_bytes(b"stands for the weights")
    return context


def build_weights(context: Path, **arguments: str) -> Path:
    return Lab().build_image(
        tag="localhost/stylefleet-weights:test", context=context, target="weights", build_args=arguments
    )


def listed(image: Path, folder: str) -> str:
    script = f'cd "$root{folder}" && find . -type f -exec stat -c "%n %a %u" {{}} +'
    return output_of(images.command_within(Lab().paths, image, script))


def test_weights_are_baked_in_where_their_hash_is_given(context_with_weights: Path) -> None:
    digest = hashlib.sha256(b"stands for the weights").hexdigest()
    image = build_weights(context_with_weights, VGG19_SHA256=digest)
    assert listed(image, "/opt/weights") == "./vgg19.h5 444 0\n"


def test_weights_with_another_hash_end_the_build(context_with_weights: Path) -> None:
    with pytest.raises(LabError):
        build_weights(context_with_weights, VGG19_SHA256="0" * 64)


def test_no_weights_go_into_an_image_that_nobody_asked_for(context_with_weights: Path) -> None:
    assert listed(build_weights(context_with_weights), "/opt/weights") == ""
    worker = images.config(archive("worker-cpu"))
    assert {"STYLEFLEET_VGG19_WEIGHTS=", "STYLEFLEET_VGG19_SHA256="} <= set(worker["Env"]), "empty means unset"
    assert listed(archive("worker-cpu"), "/opt/weights") == ""


SIGTERM_BIT = 1 << (signal.SIGTERM - 1)


def catches_sigterm(pid: int) -> bool:
    fields = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(fields["SigCgt"], 16) & SIGTERM_BIT)


@pytest.fixture
def first_process() -> Iterator[psutil.Popen]:
    """The controller's entry point as process 1, looking for a store that does not answer."""
    image = archive("controller")
    entry = images.config(image)["Entrypoint"]
    unreachable = {
        "STYLEFLEET_BUCKET": "shop",
        "STYLEFLEET_S3_ENDPOINT": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
    }
    own_processes = "unshare --pid --fork --kill-child"
    command = command_within(image, *entry, "controller", before=own_processes, **unreachable)
    with psutil.Popen(command) as process:
        yield process
        for left in process.children(recursive=True) if process.poll() is None else ():
            left.kill()


def test_process_1_ends_on_sigterm_also_before_it_has_begun_its_work(first_process: psutil.Popen) -> None:
    def python() -> psutil.Process | None:
        for process in first_process.children(recursive=True):
            # The shell's other programs come and go meanwhile.
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.name().startswith("python") and "stylefleet.cli.main" in process.cmdline():
                    return process
        return None

    deadline = time.monotonic() + 120
    while (process := python()) is None or not catches_sigterm(process.pid):
        assert first_process.poll() is None, "it ended by itself"
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert first_process.wait(timeout=60) == 128 + signal.SIGTERM
