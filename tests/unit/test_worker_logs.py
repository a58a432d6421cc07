"""`logs` shows the last lines of a run's workers, from pods or from files, or says which command does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stylefleet import naming, status
from stylefleet.naming import Ref
from stylefleet.status import Phase, Status
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, RUN
from tests.command_line import Type, typing_for
from tests.fake_kubernetes import NAMESPACE, FakeKubernetes, fake_kubernetes


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    store = MemoryStore("service", clock=lambda: NOW)
    found = Status(name="spring", run=RUN, phase=Phase.RUNNING)
    store.put(Ref("service", naming.status_key("spring")), status.to_json(found))
    monkeypatch.delenv("STYLEFLEET_CLUSTER", raising=False)
    return typing_for(store, monkeypatch, capsys)


def use_kubeconfig(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """As KUBECONFIG does, which the client reads once, when it is loaded."""
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeKubernetes]:
    monkeypatch.setenv("NO_PROXY", "*")
    with fake_kubernetes() as server:
        use_kubeconfig(monkeypatch, server.kubeconfig(tmp_path, "one"))
        yield server


def pod(name: str, created: str = "2026-03-01T12:00:00Z") -> dict[str, object]:
    return {"metadata": {"name": name, "creationTimestamp": created}, "status": {"phase": "Running"}}


def test_the_last_lines_of_each_pod_come_with_its_name(api: FakeKubernetes, typed: Type) -> None:
    api.pods[:] = [pod("later", "2026-03-01T12:05:00Z"), pod("first")]
    api.logs |= {"later": "l1\n", "first": "f1\nf2\nf3\n"}
    answer = typed("logs", "spring", "-n", NAMESPACE, "--tail", "2")
    assert answer.out == "[first] f2\n[first] f3\n[later] l1\n"
    assert "2 workers" in answer.err
    assert f"stylefleet.dev/run%3D{RUN}" in api.requests[0].query


def test_a_pod_that_has_no_log_yet_is_told_and_does_not_hide_the_others(api: FakeKubernetes, typed: Type) -> None:
    api.pods[:] = [pod("waits"), pod("works")]
    api.logs["works"] = "w1\n"
    answer = typed("logs", "spring", "-n", NAMESPACE)
    assert answer.code == 0
    assert "is waiting to start" in answer.out
    assert "[works] w1" in answer.out


def test_a_hostile_line_does_nothing_to_the_terminal(api: FakeKubernetes, typed: Type) -> None:
    api.pods[:] = [pod("one")]
    api.logs["one"] = "\x1b[2Jowned\r\u202e\n"
    answer = typed("logs", "spring", "-n", NAMESPACE)
    assert answer.out == "[one] \\u001b[2Jowned\\r\\u202e\n"


def test_no_pods_any_more_is_not_found(api: FakeKubernetes, typed: Type) -> None:
    answer = typed("logs", "spring", "-n", NAMESPACE)
    assert answer.code == 4
    assert "receipts and the report stay in the bucket" in answer.err


def test_without_a_cluster_the_command_for_who_has_one_is_told(
    typed: Type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    use_kubeconfig(monkeypatch, tmp_path / "nothing")
    answer = typed("logs", "spring", "-n", "art")
    assert answer.code == 2
    assert f"kubectl -n art logs -l stylefleet.dev/run={RUN} --tail=50 --prefix" in answer.err


def test_of_the_local_cluster_the_files_are_read(typed: Type, tmp_path: Path) -> None:
    job = naming.job_name("spring", RUN)
    (tmp_path / f"{job}-0-abc-1.log").write_text("one\ntwo\nthree\n")
    (tmp_path / "sf-another-0.log").write_text("not ours\n")
    answer = typed("logs", "spring", "--cluster", "local", "--folder", str(tmp_path), "--tail", "2")
    assert answer.out == f"[{job}-0-abc-1] two\n[{job}-0-abc-1] three\n"
    assert typed("logs", "spring", "--cluster", "local", "--folder", str(tmp_path / "no")).code == 4
