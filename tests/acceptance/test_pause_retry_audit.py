"""Pause, resume, retry and audit with a real controller and real workers, by the commands as people type them."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from stylefleet import naming
from stylefleet.naming import Ref
from tests.acceptance.test_command_line import stylefleet
from tests.fleet import Fleet, eventually, picture

pytestmark = pytest.mark.timeout(900)


def test_a_paused_run_has_no_workers_and_goes_on_where_it_was(fleet: Fleet) -> None:
    fleet.put_shapes(6)
    fleet.submit("spring", recipe={"preset": "draft", "size": 128})
    fleet.start()
    eventually(lambda: fleet.receipts("spring"), "a first receipt")

    paused = stylefleet(fleet, "pause", "spring")
    assert paused.returncode == 0, paused.stderr
    status = fleet.wait("spring", "Paused")
    before = fleet.receipts("spring")
    assert 1 <= len(before) < 6
    assert status["progress"]["pending"] == 6 - len(before)
    assert "stylefleet resume spring goes on" in stylefleet(fleet, "status", "spring").stdout
    logs = list((fleet.folder / "jobs").glob("*.log"))
    assert any('"worker_stopped"' in log.read_text() for log in logs), "it was told to end and heard it"

    assert stylefleet(fleet, "resume", "spring").returncode == 0
    fleet.wait("spring", "Succeeded")
    receipts = fleet.receipts("spring")
    assert Counter(r.content for r in receipts).most_common(1)[0][1] == 1, "nothing is done twice"
    assert len(receipts) == 6
    assert {r.attempt for r in before} < {r.attempt for r in receipts}, "by another attempt"
    assert stylefleet(fleet, "resume", "spring").returncode == 4
    audit = stylefleet(fleet, "audit", "spring")
    assert audit.returncode == 0, audit.stdout + audit.stderr


def test_an_audit_of_real_results_finds_what_is_missing_and_what_does_not_belong(fleet: Fleet) -> None:
    fleet.put_shapes(3)
    fleet.put("out/spring/notes.txt", b"a file of the user's")
    fleet.submit("spring")
    fleet.start()
    assert stylefleet(fleet, "audit", "spring").returncode in (4, 5), "it goes on, or was not seen yet"
    fleet.wait("spring", "Succeeded")
    whole = stylefleet(fleet, "audit", "spring", "-o", "json")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert json.loads(whole.stdout)["notes"] == []

    results = [Ref(fleet.bucket, key) for key in fleet.result_keys("spring") if key.endswith(".jpg")]
    mark = fleet.store.head(results[0]).metadata
    fleet.store.put(results[0], fleet.store.get(results[1]).data, metadata=mark)
    fleet.store.delete(results[1])
    fleet.store.put(Ref(fleet.bucket, "out/spring/x.jpg"), b"x", metadata={naming.METADATA_TASK: "f" * 64})
    broken = stylefleet(fleet, "audit", "spring", "-o", "json")
    assert broken.returncode == 3
    assert [(f["check"], f["about"]) for f in json.loads(broken.stdout)["faults"]] == [
        ("output", f"s3://{fleet.bucket}/out/spring/x.jpg"),
        ("results", str(results[0])),
        ("results", str(results[1])),
    ]
    fleet.store.delete(Ref(fleet.bucket, "out/spring/x.jpg"))
    fleet.submit("spring")
    run = json.loads(whole.stdout)["run"]
    eventually(lambda: fleet.status("spring")["run"] != run, "the second submission is seen")
    fleet.wait("spring", "Succeeded")
    for arguments in ((), ("--run", run)):
        mended = stylefleet(fleet, "audit", "spring", *arguments)
        assert mended.returncode == 0, mended.stdout + mended.stderr


def test_a_retry_does_what_failed_and_leaves_alone_what_is_there(fleet: Fleet) -> None:
    fleet.put("catalog/good.jpg", picture(seed=1))
    fleet.put("catalog/mended.jpg", b"not a picture")
    fleet.submit("spring")
    fleet.start()
    assert stylefleet(fleet, "retry", "spring").returncode == 5, "it goes on"
    fleet.wait("spring", "PartiallySucceeded")

    again = stylefleet(fleet, "retry", "spring", "--wait")
    assert again.returncode == 3, again.stderr
    assert "1 failed, 1 already there" in again.stdout
    fleet.put("catalog/mended.jpg", picture(seed=2))
    mended = stylefleet(fleet, "retry", "spring", "--wait")
    assert mended.returncode == 0, mended.stderr
    assert [r.content.rpartition("/")[2] for r in fleet.receipts("spring")].count("good.jpg") == 1
    refused = stylefleet(fleet, "retry", "spring")
    assert refused.returncode == 2
    assert "nothing failed" in refused.stderr
