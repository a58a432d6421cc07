"""The pure parts of the lab: what would be run and written, without a cluster."""

import json
import os
import re
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from . import build, cli, components, images, namespaces, process, render, teardown
from .errors import LabError
from .settings import HOST_IP_FOR_PODS, PAUSE_IMAGE, LabPaths

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the lab is made of Linux namespaces")
GO_MOD = """module example.test/lab

go 1.24.0

require (
\tgo.etcd.io/etcd/server/v3 v3.6.4
\tk8s.io/kubernetes v1.34.3
)
"""


@pytest.fixture
def paths(tmp_path: Path) -> LabPaths:
    return LabPaths(cache=tmp_path / "cache", state=Path("/run/lab-test"))


def test_folders_come_from_the_environment_or_the_usual_places() -> None:
    usual = LabPaths.from_environment({"HOME": "/home/someone"})
    assert usual == LabPaths(cache=Path("/home/someone/.cache/stylefleet/lab"), state=Path("/run/stylefleet-lab"))
    xdg = LabPaths.from_environment({"HOME": "/home/someone", "XDG_CACHE_HOME": "/big"})
    assert xdg.cache == Path("/big/stylefleet/lab")
    own = LabPaths.from_environment({"STYLEFLEET_LAB_CACHE": "/c", "STYLEFLEET_LAB_STATE": "/s"})
    assert own == LabPaths(cache=Path("/c"), state=Path("/s"))


def test_a_state_path_too_long_for_sockets_is_refused_at_the_door() -> None:
    with pytest.raises(LabError, match="STYLEFLEET_LAB_STATE"):
        LabPaths.from_environment({"HOME": "/h", "STYLEFLEET_LAB_STATE": "/" + "x" * 100})


def test_all_programs_are_built_by_one_command_with_the_required_version(tmp_path: Path) -> None:
    module = build.KUBERNETES
    arguments = build.build_arguments(module, GO_MOD, tmp_path)
    assert arguments[:3] == ["go", "build", "-mod=readonly"]
    assert arguments[-len(module.commands) :] == list(module.commands.values())
    assert "-X k8s.io/component-base/version.gitVersion=v1.34.3" in " ".join(arguments)
    assert "-X k8s.io/component-base/version.gitMinor=34" in " ".join(arguments)


def test_the_committed_go_module_requires_what_is_built() -> None:
    for module in build.MODULES:
        folder = build.HERE / module.folder
        tools = (folder / "tools.go").read_text(encoding="utf-8")
        own = re.search(r"^module (\S+)", (folder / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
        assert own is not None
        foreign = [path for path in module.commands.values() if not path.startswith(own[1])]
        assert [path for path in foreign if f'_ "{path}"' not in tools] == []
        names = [build.output_name(path) for path in module.commands.values()]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("import_path", "name"),
    [("k8s.io/kubernetes/cmd/kubelet", "kubelet"), ("go.etcd.io/etcd/server/v3", "server")],
)
def test_output_names_are_those_of_go(import_path: str, name: str) -> None:
    assert build.output_name(import_path) == name


def test_a_module_that_is_not_required_is_named() -> None:
    with pytest.raises(LabError, match=r"helm\.sh/helm/v4"):
        build.required_version(GO_MOD, "helm.sh/helm/v4")


def test_a_program_not_built_yet_says_what_to_run(paths: LabPaths) -> None:
    with pytest.raises(LabError, match=r"python -m tests\.lab build"):
        build.program(paths, "kubectl")
    with pytest.raises(LabError, match="builds no program named k3s"):
        build.program(paths, "k3s")


def test_containerd_config_is_toml_with_own_folders(paths: LabPaths) -> None:
    config = tomllib.loads(render.containerd_config(paths))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert config["grpc"]["address"] == str(paths.containerd_socket)
    assert cri["sandbox_image"] == PAUSE_IMAGE
    assert cri["restrict_oom_score_adj"] is True
    assert cri["cni"]["conf_dir"] == str(paths.config / "cni")


def test_pods_are_on_a_bridge_whose_address_is_the_hosts_and_nothing_is_masqueraded(paths: LabPaths) -> None:
    (bridge,) = json.loads(render.cni_config(paths))["plugins"]
    assert (bridge["isGateway"], bridge["ipMasq"]) == (True, False)
    subnet = bridge["ipam"]["ranges"][0][0]["subnet"]
    assert HOST_IP_FOR_PODS.rpartition(".")[0] == subnet.rpartition(".")[0]


def test_kubelet_takes_cgroup_v1_and_never_collects_images(paths: LabPaths) -> None:
    config = json.loads(render.kubelet_config(paths))
    assert config["failCgroupV1"] is False
    assert config["cgroupsPerQOS"] is False
    assert config["imageGCHighThresholdPercent"] == 100
    assert config["containerRuntimeEndpoint"] == f"unix://{paths.containerd_socket}"


def test_gpu_patch_escapes_the_slash_of_the_resource() -> None:
    assert [step["path"] for step in json.loads(render.gpu_patch(2))] == [
        "/status/capacity/nvidia.com~1gpu",
        "/status/allocatable/nvidia.com~1gpu",
    ]


def test_each_user_has_its_token_and_group_in_the_table() -> None:
    table = render.token_table({"admin": "t0ken"}, {"admin": "system:masters"})
    assert table == 't0ken,admin,admin,"system:masters"\n'


def test_every_component_is_told_folders_of_the_lab_only(paths: LabPaths) -> None:
    for component in components.COMPONENTS:
        for argument in component.arguments(paths):
            value = argument.partition("=")[2]
            if value.startswith("/"):
                assert Path(value).is_relative_to(paths.state) or Path(value).is_relative_to(paths.data)


def test_only_loopback_is_offered_by_what_pods_must_not_reach(paths: LabPaths) -> None:
    text = " ".join(components.etcd_arguments(paths))
    assert set(re.findall(r"http://([0-9.]+):", text)) == {"127.0.0.1"}
    assert "--bind-address=127.0.0.1" in components.scheduler_arguments(paths)
    assert "--bind-address=127.0.0.1" in components.controller_manager_arguments(paths)


def test_a_test_enters_the_network_only_and_the_lab_its_mounts_too(paths: LabPaths) -> None:
    assert namespaces.network_prefix(paths) == ("nsenter", "--net=/run/netns/stylefleet-lab", "--")
    assert f"--mount={paths.mount_namespace}" in namespaces.lab_prefix(paths)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("worker", "localhost/worker:latest"),
        ("team/worker:1", "localhost/team/worker:1"),
        ("localhost/worker:1", "localhost/worker:1"),
        ("registry.example.test:5000/worker", "registry.example.test:5000/worker:latest"),
    ],
)
def test_short_tags_get_a_name_that_no_registry_claims(tag: str, name: str) -> None:
    assert images.full_name(tag) == name


def test_buildah_is_told_target_base_and_isolation(tmp_path: Path) -> None:
    arguments = images.bud_arguments(
        tag="localhost/worker:1",
        context=tmp_path,
        file=tmp_path / "Dockerfile",
        target="worker-cpu",
        build_args={"BASE_IMAGE": "localhost/base:1"},
        iidfile=tmp_path / "iid",
    )
    assert arguments[0] == "bud"
    assert {"--isolation=chroot", "--layers", "--target=worker-cpu", "--build-arg=BASE_IMAGE=localhost/base:1"} <= set(
        arguments
    )
    assert arguments[-1] == str(tmp_path)


def test_a_missing_dockerfile_is_named(paths: LabPaths, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no Dockerfile at"):
        images.build(paths, tag="x", context=tmp_path)


def test_archive_identity_is_read_from_the_index(tmp_path: Path) -> None:
    annotations = {"org.opencontainers.image.ref.name": "localhost/worker:1"}
    index = tmp_path / "index.json"
    index.write_text(json.dumps({"manifests": [{"digest": "sha256:abc", "annotations": annotations}]}))
    with tarfile.open(tmp_path / "image.tar", "w") as tar:
        tar.add(index, "index.json")
    assert images.archive_identity(tmp_path / "image.tar") == ("localhost/worker:1", "sha256:abc")


def test_what_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_text("no")
    with pytest.raises(LabError, match="not an OCI archive"):
        images.archive_identity(tmp_path / "image.tar")


def test_loading_without_a_lab_says_so(paths: LabPaths, tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"python -m tests\.lab up"):
        images.load(paths, tmp_path / "image.tar")


def test_a_process_id_that_is_used_again_is_not_the_recorded_process() -> None:
    record = process.record_of("me", os.getpid())
    assert record is not None
    assert process.alive(record)
    again = process.ProcessRecord(name="me", pid=record.pid, start_ticks=record.start_ticks + 1, boot_id=record.boot_id)
    other_boot = process.ProcessRecord(
        name="me", pid=record.pid, start_ticks=record.start_ticks, boot_id="another boot"
    )
    assert not process.alive(again)
    assert not process.alive(other_boot)


def test_a_started_process_outlives_its_starter_and_is_stopped_by_its_record(tmp_path: Path) -> None:
    record = process.start(
        name="sleeper", argv=["sleep", "60"], env={}, log=tmp_path / "log", records=tmp_path / "records"
    )
    assert process.load_records(tmp_path / "records") == [record]
    assert os.getsid(record.pid) == record.pid
    process.kill_all([record])
    assert not process.alive(record)


def test_only_shims_of_this_lab_are_its_own(paths: LabPaths) -> None:
    shim = [b"/usr/bin/containerd-shim-runc-v2", b"-namespace", b"k8s.io", b"-address"]
    assert teardown.is_shim_of([*shim, str(paths.containerd_socket).encode(), b""], paths)
    assert not teardown.is_shim_of([*shim, b"/run/containerd/containerd.sock", b""], paths)
    assert not teardown.is_shim_of([b""], paths)


def test_taking_away_a_lab_that_never_was_is_no_error(tmp_path: Path) -> None:
    nothing = LabPaths(cache=tmp_path / "cache", state=tmp_path / "state")
    assert teardown.container_ids(nothing) == []
    teardown.remove_folder(nothing.state)


def test_build_arg_options_are_pairs() -> None:
    assert cli.build_arguments(["A=1", "B=x=y"]) == {"A": "1", "B": "x=y"}
    with pytest.raises(LabError, match="KEY=VALUE"):
        cli.build_arguments(["A"])


@pytest.mark.parametrize("command", [["up", "--gpus", "4"], ["down"], ["status"], ["build"], ["image", "base"]])
def test_the_command_line_knows_its_commands(command: list[str]) -> None:
    assert cli.parser().parse_args(command).command == command[0]
