"""What the doctor's part in a worker says: with the real engine and weights, and an S3 server that takes everything."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stylefleet import doctor_worker
from stylefleet.checks import Check, from_json
from tests.integration.fault_server import FaultServer, fault
from tests.integration.test_doctor_store import everything_goes


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    server = FaultServer()
    server.respond = everything_goes
    yield server
    server.close()


def environment(server: FaultServer, **changes: str) -> dict[str, str]:
    return {
        "STYLEFLEET_BUCKET": "shop",
        "STYLEFLEET_S3_ENDPOINT": server.url,
        "STYLEFLEET_NAME": "doctor",
        "STYLEFLEET_RUN": "0123456789abcdef",
        "STYLEFLEET_ATTEMPT": "pod-7",
        "JOB_COMPLETION_INDEX": "0",
        **changes,
    }


def examine(server: FaultServer, *, gpus: int = 0, **changes: str) -> dict[str, Check]:
    return {check.id: check for check in doctor_worker.examine(environment(server, **changes), gpus)}


def failed(checks: dict[str, Check]) -> list[str]:
    return [check.id for check in checks.values() if check.outcome == "failed"]


def test_a_worker_that_has_all_it_needs_says_what_it_computes_on(server: FaultServer) -> None:
    checks = examine(server)
    assert list(checks) == ["worker-credentials", "worker-bucket", "weights", "engine"]
    assert failed(checks) == []
    assert "vgg16-hed with SHA-256 4502df9d0a88" in checks["weights"].found
    assert checks["engine"].found.startswith("TensorFlow 2.")


def test_a_worker_that_asked_for_a_gpu_and_sees_none_says_so(server: FaultServer) -> None:
    checks = examine(server, gpus=1)
    assert failed(checks) == ["engine"]
    assert "worker-gpu" in checks["engine"].remedy


def test_weights_with_a_wrong_hash_are_named_with_both_hashes(server: FaultServer, tmp_path: Path) -> None:
    path = tmp_path / "vgg19.h5"
    path.write_bytes(b"other weights")
    checks = examine(server, STYLEFLEET_VGG19_WEIGHTS=str(path), STYLEFLEET_VGG19_SHA256="ab" * 32)
    assert failed(checks) == ["weights"]
    assert f"expected {'ab' * 32}" in checks["weights"].found
    assert checks["engine"].outcome == "skipped"


def test_an_image_without_the_engine_is_told(server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stylefleet.looks", None)
    monkeypatch.delattr("stylefleet.looks", raising=False)
    checks = examine(server)
    assert failed(checks) == ["engine"]
    assert "worker-cpu or worker-gpu" in checks["engine"].remedy


def test_the_worst_answer_fits_into_a_pods_last_words(server: FaultServer, tmp_path: Path) -> None:
    server.respond = lambda _: fault(400, "InvalidArgument", "ü" * 9000)
    report = tmp_path / "termination-log"
    weights = {"STYLEFLEET_VGG19_WEIGHTS": f"/{'ü' * 4000}", "STYLEFLEET_VGG19_SHA256": "ab" * 32}
    code = doctor_worker.main(environment(server, **weights), report, gpus=0)
    assert code == 1
    assert len(report.read_bytes()) <= 4096
    checks = {check.id: check for check in from_json(report.read_text())}
    assert failed(checks) == ["worker-bucket", "weights"]
