"""`wait` speaks of the submission that is in the inbox, not of an older one, and does not wait for nobody."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from stylefleet import following, naming, status
from stylefleet.cli import bucket as commands
from stylefleet.errors import AccessDenied, ExitCode, NotFound, SettingsInvalid
from stylefleet.naming import Ref
from stylefleet.status import Phase, Status
from stylefleet.store import Object
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, manifest_bytes


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("service", clock=lambda: NOW)


def put_status(store: MemoryStore, run: str, phase: Phase, reason: str = "") -> None:
    found = Status(name="spring", run=run, phase=phase, reason=reason, pictures=2, done=2)
    store.put(Ref("service", naming.status_key("spring")), status.to_json(found))


def put_manifest(store: MemoryStore, suffix: str = ".yaml") -> str:
    store.put(Ref("service", f"jobs/spring{suffix}"), manifest_bytes("spring"))
    run = following.submitted_run(store, "service", "spring")
    assert run is not None
    return run


def test_the_end_of_an_older_run_is_not_taken_for_the_end_of_the_new(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = put_manifest(store)
    put_status(store, "an-older-run", Phase.SUCCEEDED)
    sleeps: list[float] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            put_status(store, run, Phase.PARTIALLY_SUCCEEDED)

    monkeypatch.setattr(following.time, "sleep", sleep)
    assert commands.wait(store, "service", "spring") is ExitCode.PARTLY_FAILED
    assert len(sleeps) == 3


@pytest.mark.parametrize("older", [True, False])
def test_nobody_answers_is_said_after_a_while(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, older: bool) -> None:
    put_manifest(store)
    if older:
        put_status(store, "an-older-run", Phase.SUCCEEDED)
    monkeypatch.setattr(following.time, "sleep", lambda _: None)
    with pytest.raises(NotFound, match="no controller has answered"):
        commands.wait(store, "service", "spring")


def test_a_run_whose_manifest_was_deleted_is_told_by_its_status(store: MemoryStore) -> None:
    put_status(store, "r", Phase.CANCELLED)
    assert commands.wait(store, "service", "spring") is ExitCode.CANCELLED


@pytest.mark.parametrize("reason", ["DeadlineExceeded", "TooManyFailures"])
@pytest.mark.parametrize("phase", [Phase.PARTIALLY_SUCCEEDED, Phase.FAILED])
def test_a_run_that_a_policy_ended_has_an_exit_code_of_its_own(store: MemoryStore, phase: Phase, reason: str) -> None:
    put_status(store, put_manifest(store), phase, reason)
    assert commands.wait(store, "service", "spring") == 7


def test_a_name_that_nobody_knows_is_not_found(store: MemoryStore) -> None:
    with pytest.raises(NotFound, match="nobody: no status"):
        commands.wait(store, "service", "nobody")


def test_to_who_may_list_a_folder_only_a_refusal_is_that_nothing_is_there_yet(store: MemoryStore) -> None:
    class Narrow(MemoryStore):
        """Refuses to say what is not there, as S3 does without an unconditional s3:ListBucket."""

        refuses_all = False

        def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
            if self.refuses_all or not list(self.list(ref)):
                raise AccessDenied(f"{ref}: the store refuses these credentials (AccessDenied)")
            return super().get(ref, if_match=if_match)

    narrow = Narrow("service", clock=lambda: NOW)
    with pytest.raises(NotFound, match="spring: no status"):
        following.read_status(narrow, "service", "spring")
    put_status(narrow, "r", Phase.RUNNING)
    assert following.read_status(narrow, "service", "spring").phase is Phase.RUNNING
    narrow.refuses_all = True
    with pytest.raises(AccessDenied):
        following.read_status(narrow, "service", "spring")


def test_ctrl_c_leaves_the_run_and_does_not_look_like_its_end(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_status(store, put_manifest(store), Phase.RUNNING)

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(following.time, "sleep", interrupted)
    assert commands.wait(store, "service", "spring") == 130
    assert "come back with:  stylefleet wait spring" in capsys.readouterr().err


def test_where_nobody_sits_a_line_tells_of_each_tenth_and_of_what_it_waits_for(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = put_manifest(store)
    found = Status(name="spring", run=run, phase=Phase.RUNNING, pictures=1000, eta_seconds=300, updated_at=NOW)
    steps = [replace(found, done=done) for done in (1, 2, 99, 100, 101, 550)]
    steps += [replace(steps[-1], waiting_because="no GPU is free"), replace(found, phase=Phase.SUCCEEDED, done=1000)]
    coming = iter(steps)

    def sleep(_seconds: float) -> None:
        store.put(Ref("service", naming.status_key("spring")), status.to_json(next(coming)))

    monkeypatch.setattr(following.time, "sleep", sleep)
    assert commands.wait(store, "service", "spring") is ExitCode.OK
    assert capsys.readouterr().err.splitlines() == [
        "spring: Running, 1 of 1,000 pictures, ready in about 5 min",
        "spring: Running, 100 of 1,000 pictures, ready in about 5 min",
        "spring: Running, 550 of 1,000 pictures, ready in about 5 min",
        "spring: Running, 550 of 1,000 pictures, no GPU is free",
        "spring: Succeeded, 1,000 of 1,000 pictures",
    ]


def test_submit_refuses_a_second_file_of_one_name(store: MemoryStore, tmp_path_factory: pytest.TempPathFactory) -> None:
    put_manifest(store, ".json")
    path = tmp_path_factory.mktemp("manifests") / "spring.yaml"
    path.write_bytes(manifest_bytes("spring"))
    with pytest.raises(SettingsInvalid, match=r"s3://service/jobs/spring\.json has this name already"):
        commands.submit(store, "service", commands.read_manifest(path), wait_for_end=False)


def test_the_estimate_counts_down_between_two_statuses() -> None:
    found = Status(name="a", run="r", phase=Phase.RUNNING, eta_seconds=60, updated_at=NOW)
    assert commands.ready_in(found, NOW + timedelta(seconds=20)) == "ready in about 40 s"
    assert commands.ready_in(found, NOW + timedelta(seconds=90)) == "ready in about 0 s"
