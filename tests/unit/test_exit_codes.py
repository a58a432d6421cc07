"""Every exit code that the README promises, from the command that gives it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stylefleet import errors, following, naming, status
from stylefleet.cli import exit_codes
from stylefleet.errors import ExitCode, StoreUnavailable, StylefleetError
from stylefleet.naming import Ref
from stylefleet.status import Phase, Status
from stylefleet.store import Object
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, manifest_bytes
from tests.command_line import Type, typing_for

README = (Path(__file__).parents[2] / "README.md").read_text()


class Store(MemoryStore):
    """One that can be away."""

    away = False

    def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
        if self.away:
            raise StoreUnavailable(f"{ref}: the store answered 503")
        return super().get(ref, if_match=if_match)


@pytest.fixture
def store() -> Store:
    return Store("service", clock=lambda: NOW)


@pytest.fixture
def typed(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    return typing_for(store, monkeypatch, capsys)


def put_status(store: MemoryStore, phase: Phase, *, reason: str = "") -> None:
    found = Status(name="spring", run="r", phase=phase, reason=reason, pictures=2, done=1, failed=1)
    store.put(Ref("service", naming.status_key("spring")), status.to_json(found))


def test_the_table_in_the_readme_is_the_list_of_codes() -> None:
    told = {int(code) for code in re.findall(r"(?m)^\| `(\d+)` \|", README)}
    of_workers = {ExitCode.SHARD_INVALID, ExitCode.TERMINATED}
    assert told == {int(code) for code in ExitCode} - of_workers


@pytest.mark.parametrize(
    ("phase", "reason", "code"),
    [
        (Phase.SUCCEEDED, "", 0),
        (Phase.REJECTED, "", 2),
        (Phase.PARTIALLY_SUCCEEDED, "", 3),
        (Phase.FAILED, "", 3),
        (Phase.CANCELLED, "", 6),
        (Phase.FAILED, "DeadlineExceeded", 7),
        (Phase.PARTIALLY_SUCCEEDED, "TooManyFailures", 7),
    ],
)
def test_wait_says_how_the_run_ended(store: Store, typed: Type, phase: Phase, reason: str, code: int) -> None:
    put_status(store, phase, reason=reason)
    assert typed("wait", "spring").code == code


def test_every_final_phase_has_a_code() -> None:
    for phase in Phase:
        if phase.final:
            assert exit_codes.of_ending(Status(name="a", run="r", phase=phase)) in set(ExitCode)


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "wrong.yaml"],
        ["submit", "wrong.yaml"],
        ["plan", "wrong.yaml"],
        ["submit", "right.yaml", "--tenant", "No!"],
        ["status"],
        ["status", "spring", "--endpoint", "nonsense"],
        ["status", "spring", "--bucket", "A b"],
        ["nonsense"],
        ["status", "spring", "--nonsense"],
    ],
    ids=" ".join,
)
def test_invalid_input_is_2_and_no_traceback(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wrong.yaml").write_text("apiVersion: 1\n")
    Path("right.yaml").write_bytes(manifest_bytes("spring"))
    answer = typed(*arguments)
    assert answer.code == 2
    assert answer.err
    assert answer.out == "", "data goes to stdout, talk to stderr"


def test_a_status_that_cannot_be_read_is_invalid_and_named(store: Store, typed: Type) -> None:
    store.put(Ref("service", naming.status_key("spring")), b'{"by": "hand"}')
    answer = typed("status", "spring")
    assert answer.code == 2
    assert "s3://service/status/spring.json: this is no status" in answer.err


@pytest.mark.parametrize(
    "arguments",
    [
        [command, "nobody"]
        for command in ("status", "wait", "cancel", "pause", "resume", "retry", "results", "logs", "audit")
    ]
    + [["validate", "nothing.yaml"], ["submit", "nothing.yaml"], ["stylize", "nothing.jpg", "nothing.jpg", "no/a.png"]]
    + [["gallery", "nobody", "--to", "page"], ["compare", "nobody", "none", "--to", "page"]],
    ids=" ".join,
)
def test_what_is_not_there_is_4(
    typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed(*arguments).code == 4


def test_a_store_that_is_away_is_5(store: Store, typed: Type) -> None:
    put_status(store, Phase.RUNNING)
    store.away = True
    assert typed("status", "spring").code == 5


def test_a_run_that_is_still_going_on_cannot_be_retried_yet(store: Store, typed: Type) -> None:
    store.put(Ref("service", "jobs/spring.yaml"), manifest_bytes("spring"))
    put_status(store, Phase.RUNNING)
    assert typed("retry", "spring").code == 5


def test_ctrl_c_while_waiting_is_130_and_says_how_to_come_back(
    store: Store, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_status(store, Phase.RUNNING)

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(following.time, "sleep", interrupted)
    answer = typed("wait", "spring")
    assert answer.code == 130
    assert "stylefleet wait spring" in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("a"), 4),
        (errors.ManifestInvalid([]), 2),
        (errors.AccessDenied("a"), 2),
        (errors.StoreUnavailable("a"), 5),
        (errors.PreconditionFailed("somebody wrote first"), 5),
        (FileNotFoundError("a"), 4),
        (PermissionError("a"), 2),
        (StylefleetError("a bug of ours"), 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_kind_of_failure_has_its_code(error: StylefleetError | OSError, code: int) -> None:
    assert exit_codes.of_error(error) == code
