"""The doctor against a real S3 server, and against servers that do what no healthy one does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from stylefleet import doctor
from stylefleet.checks import Check, to_json
from stylefleet.local_s3 import SECRET_KEY, LocalS3
from stylefleet.naming import Ref
from stylefleet.settings import controller_settings
from stylefleet.store_s3 import S3Store
from tests.integration.fault_server import Answer, FaultServer, Request, fault, page

TOKEN = "a-session-token-of-somebody"


def examine(endpoint_url: str, bucket: str) -> dict[str, Check]:
    settings = controller_settings(
        {"STYLEFLEET_BUCKET": bucket, "STYLEFLEET_S3_ENDPOINT": endpoint_url, "STYLEFLEET_CLUSTER": "local"}
    )
    checks = doctor.examine_store(settings)
    for secret in (SECRET_KEY, TOKEN):
        assert secret not in to_json(checks)
    return {check.id: check for check in checks}


def failed(checks: dict[str, Check]) -> list[str]:
    return [check.id for check in checks.values() if check.outcome == "failed"]


# --- a real server --------------------------------------------------------------------------------------------------


def test_a_good_bucket_passes_and_nothing_is_left_in_it(s3_server: LocalS3, s3_store: S3Store) -> None:
    s3_server.create_bucket("healthy")
    checks = examine(s3_server.endpoint_url, "healthy")
    assert failed(checks) == []
    assert "exactly one won" in checks["conditional-writes"].found
    assert list(s3_store.list(Ref("healthy", ""))) == []


def test_a_bucket_that_is_not_there(s3_server: LocalS3) -> None:
    checks = examine(s3_server.endpoint_url, "nowhere")
    assert failed(checks) == ["bucket"]
    assert "no such bucket" in checks["bucket"].found
    assert checks["credentials"].outcome == "ok"


@pytest.mark.parametrize(
    ("variable", "code"),
    [("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"), ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch")],
)
def test_wrong_credentials(s3_server: LocalS3, monkeypatch: pytest.MonkeyPatch, variable: str, code: str) -> None:
    monkeypatch.setenv(variable, "of-somebody-else")
    checks = examine(s3_server.endpoint_url, "test-bucket")
    assert failed(checks) == ["credentials"]
    assert code in checks["credentials"].found
    assert "of-somebody-else" not in to_json(list(checks.values()))


def test_no_credentials_at_all(s3_server: LocalS3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    checks = examine(s3_server.endpoint_url, "test-bucket")
    assert failed(checks) == ["credentials"]
    assert "by a Secret, or a role" in checks["credentials"].remedy


# --- servers that are not well --------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    server = FaultServer()
    yield server
    server.close()


def test_an_expired_token(server: FaultServer) -> None:
    server.respond = lambda _: fault(400, "ExpiredToken", "The provided token has expired.")
    checks = examine(server.url, "shop")
    assert failed(checks) == ["credentials"]
    assert "ExpiredToken" in checks["credentials"].found
    assert "Renew the temporary credentials (from: env)" in checks["credentials"].remedy


def everything_goes(request: Request) -> Answer:
    """A server that stores whatever it gets and heeds no condition."""
    stored = Answer(headers={"ETag": '"e"', "Last-Modified": "Sun, 01 Mar 2026 12:00:00 GMT"})
    return page([]) if "list-type=2" in request.path else stored


def test_a_store_that_ignores_conditions(server: FaultServer) -> None:
    server.respond = everything_goes
    checks = examine(server.url, "shop")
    assert failed(checks) == ["conditional-writes"]
    assert "exactly one must succeed, but 8 did" in checks["conditional-writes"].found


def test_a_store_that_does_not_know_conditions(server: FaultServer) -> None:
    server.respond = lambda r: fault(501, "NotImplemented") if r.headers["If-None-Match"] else everything_goes(r)
    checks = examine(server.url, "shop")
    assert failed(checks) == ["conditional-writes"]
    assert "501 NotImplemented" in checks["conditional-writes"].found


def test_a_bucket_that_may_only_be_read(server: FaultServer) -> None:
    server.respond = lambda r: fault(403, "AccessDenied") if r.command == "PUT" else everything_goes(r)
    checks = examine(server.url, "shop")
    assert failed(checks) == ["bucket"]
    assert "s3:PutObject" in checks["bucket"].remedy


def test_a_server_that_is_not_there(server: FaultServer) -> None:
    server.close()
    checks = examine(server.url, "shop")
    assert failed(checks) == ["bucket"]
    assert server.url in checks["bucket"].remedy
