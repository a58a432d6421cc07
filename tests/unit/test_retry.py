"""`retry` puts the manifest's own bytes again where something failed, and says why where it does not."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from stylefleet import following, naming, status
from stylefleet.cli import exit_codes
from stylefleet.cli import retry as command
from stylefleet.errors import ExitCode, NotFound, NothingToDo, RunUnderWay, StylefleetError
from stylefleet.naming import Ref
from stylefleet.policies.retry import retry_refused
from stylefleet.status import Phase, Status
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, RUN, manifest_bytes
from tests.fake_cluster import HookedStore

FAILED = Status(name="spring", run=RUN, phase=Phase.PARTIALLY_SUCCEEDED, pictures=2, done=1, failed=1)
MANIFEST = Ref("service", "jobs/spring.yaml")


@pytest.mark.parametrize(
    ("found", "refused", "later"),
    [
        (None, "no controller has looked", True),
        (replace(FAILED, run="older"), "no controller has looked", True),
        (replace(FAILED, phase=Phase.PENDING), r"still going on \(Pending\)", True),
        (replace(FAILED, phase=Phase.RUNNING), r"still going on \(Running\)", True),
        (replace(FAILED, phase=Phase.PAUSED), "stylefleet resume spring", True),
        (replace(FAILED, phase=Phase.SUCCEEDED, message="all 2 have a result"), "nothing failed, all 2 have", False),
        (replace(FAILED, phase=Phase.SUCCEEDED), "nothing failed, all pictures have a result", False),
    ],
)
def test_a_run_is_not_retried(found: Status | None, refused: str, later: bool) -> None:
    refusal = retry_refused("spring", found, submitted_run=RUN)
    assert refusal is not None
    assert re.search(refused, refusal.message)
    assert refusal.later is later


@pytest.mark.parametrize("phase", [Phase.PARTIALLY_SUCCEEDED, Phase.FAILED, Phase.CANCELLED, Phase.REJECTED])
def test_a_run_that_ended_otherwise_is_retried(phase: Phase) -> None:
    assert retry_refused("spring", replace(FAILED, phase=phase), submitted_run=RUN) is None


class Bucket:
    """A bucket whose clock goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = NOW
        self.store = MemoryStore("service", clock=lambda: self.now)
        self.store.put(MANIFEST, manifest_bytes("spring"))
        self.run = self.submitted()

    def submitted(self) -> str:
        run = following.submitted_run(self.store, "service", "spring")
        assert run is not None
        return run

    def ended(self, phase: Phase = Phase.PARTIALLY_SUCCEEDED) -> None:
        found = replace(FAILED, run=self.run, phase=phase)
        self.store.put(Ref("service", naming.status_key("spring")), status.to_json(found))

    def retry(self) -> ExitCode:
        return command.retry(self.store, "service", "spring", wait_for_end=False)


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    bucket = Bucket()

    def sleep(seconds: float) -> None:
        bucket.now += timedelta(seconds=seconds)

    monkeypatch.setattr(command.time, "sleep", sleep)
    return bucket


@pytest.mark.parametrize("later", [timedelta(0), timedelta(milliseconds=900), timedelta(hours=1)], ids=str)
def test_the_same_bytes_become_a_new_run_also_in_the_same_second(
    bucket: Bucket, later: timedelta, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket.ended()
    bucket.now += later
    assert bucket.retry() is ExitCode.OK
    assert bucket.store.get(MANIFEST).data == manifest_bytes("spring")
    assert bucket.submitted() != bucket.run
    assert "stylefleet wait spring" in capsys.readouterr().err


def test_a_cancel_marker_is_taken_away_and_a_pause_is_told(bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    bucket.ended(Phase.CANCELLED)
    bucket.store.put(Ref("service", "jobs/spring.cancel"), b"")
    bucket.store.put(Ref("service", "jobs/spring.pause"), b"")
    bucket.retry()
    assert [o.ref.key for o in bucket.store.list(Ref("service", "jobs/"))] == ["jobs/spring.pause", "jobs/spring.yaml"]
    assert "stylefleet resume spring" in capsys.readouterr().err


def test_a_manifest_that_is_gone_is_not_found(bucket: Bucket) -> None:
    bucket.ended(Phase.CANCELLED)
    bucket.store.delete(MANIFEST)
    with pytest.raises(NotFound, match="no manifest in s3://service/jobs/"):
        bucket.retry()


@pytest.mark.parametrize(
    ("phase", "error", "code"), [(Phase.RUNNING, RunUnderWay, 5), (Phase.SUCCEEDED, NothingToDo, 2)]
)
def test_a_refusal_changes_nothing_and_has_its_exit_code(
    bucket: Bucket, phase: Phase, error: type[StylefleetError], code: int
) -> None:
    bucket.ended(phase)
    bucket.now += timedelta(hours=1)
    with pytest.raises(error) as caught:
        bucket.retry()
    assert exit_codes.of_error(caught.value) == code
    assert bucket.submitted() == bucket.run


def test_a_manifest_that_is_changed_at_that_moment_is_not_overwritten(bucket: Bucket) -> None:
    bucket.ended()
    changed = manifest_bytes("spring", run={"parallelism": 7})
    hooked = HookedStore(bucket.store)

    def before(method: str, ref: object) -> None:
        if (method, ref) == ("put", MANIFEST):
            bucket.store.put(MANIFEST, changed)

    hooked.before = before
    with pytest.raises(RunUnderWay, match="somebody else changed it"):
        command.retry(hooked, "service", "spring", wait_for_end=False)
    assert bucket.store.get(MANIFEST).data == changed
