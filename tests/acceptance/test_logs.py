"""The logs of a real run: for machines, one line a picture, and nothing that nobody may know."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stylefleet.local_s3 import ACCESS_KEY, SECRET_KEY
from tests.acceptance.one_shard import SHORT, Shard, two_pictures
from tests.fleet import Fleet

pytestmark = pytest.mark.timeout(900)

HUSH = "hush-hush-of-the-collector"


def lines(*paths: Path) -> list[dict[str, Any]]:
    """Fails where one is no JSON object."""
    found = [json.loads(line) for path in paths for line in path.read_text().splitlines()]
    assert all(isinstance(line, dict) for line in found)
    return found


def test_every_line_of_a_run_is_json_and_says_whose_it_is_and_no_credential_is_in_any(fleet: Fleet) -> None:
    # A collector that is away, so that a library has something to say of what it was told.
    fleet.environment = {
        **fleet.environment,
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer {HUSH}",
    }
    fleet.put_shapes(2)
    fleet.put("catalog/broken.jpg", b"no picture")
    fleet.start()
    fleet.submit("spring")
    fleet.wait("spring", "PartiallySucceeded")
    fleet.stop()
    workers = sorted((fleet.folder / "jobs").glob("*.log"))
    text = "".join(path.read_text() for path in [*fleet.logs, *workers])
    for secret in (ACCESS_KEY, SECRET_KEY, HUSH):
        assert secret not in text

    of_controller, of_workers = lines(*fleet.logs), lines(*workers)
    for line in of_controller + of_workers:
        assert {"event", "level", "timestamp", "component"} <= set(line)
    run = fleet.status("spring")["run"]
    about_run = [line for line in of_controller if line["event"] in ("planned", "act", "finished")]
    assert {line["event"] for line in about_run} == {"planned", "act", "finished"}
    assert {(line["manifest"], line["run"]) for line in about_run} == {("spring", run)}
    assert {(line["component"], line["manifest"], line["run"]) for line in of_workers} == {("worker", "spring", run)}
    receipts = {r.task_id: (r.shard, r.attempt) for r in fleet.receipts("spring")}
    pictures = [line for line in of_workers if line["event"] in ("picture_done", "picture_failed")]
    assert len(pictures) == len(receipts) == 3
    assert {line["task"]: (line["shard"], line["attempt"]) for line in pictures} == receipts
    assert any(line["event"] == "library_message" for line in of_workers)


def test_credentials_that_the_store_refuses_are_in_no_line(shard: Shard) -> None:
    shard.plan(two_pictures(), SHORT)
    wrong = {
        "AWS_ACCESS_KEY_ID": "AKIDOFSOMEBODY",
        "AWS_SECRET_ACCESS_KEY": "hush-key",
        "AWS_SESSION_TOKEN": "hush-token",
    }
    attempt = shard.start(**wrong)
    assert attempt.exit_code(60) != 0
    assert lines(attempt.log_path)[-1]["event"] == "worker_failed"
    text = attempt.log_path.read_text()
    for secret in wrong.values():
        assert secret not in text


@pytest.mark.parametrize("variable", ["STYLEFLEET_S3_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
@pytest.mark.parametrize("command", ["worker", "controller"])
def test_a_password_in_an_endpoint_is_refused_and_in_no_line(shard: Shard, variable: str, command: str) -> None:
    environment = {
        "PATH": "/usr/bin:/bin",
        "STYLEFLEET_BUCKET": shard.bucket,
        "STYLEFLEET_NAME": "spring",
        "STYLEFLEET_RUN": "0123456789abcdef",
        "STYLEFLEET_ATTEMPT": "attempt-1",
        "JOB_COMPLETION_INDEX": "0",
        variable: "http://user:hush-hush@127.0.0.1:9",
    }
    done = subprocess.run(
        [sys.executable, "-m", "stylefleet.cli.main", command],
        env={**environment, "PYTHONPATH": ":".join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode != 0
    assert variable in done.stdout + done.stderr
    assert "hush-hush" not in done.stdout + done.stderr
