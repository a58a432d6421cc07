"""`list` and `status` say the same in every form, to people, pipes and programs."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import pytest
import yaml

from stylefleet import following, naming, status, status_reading
from stylefleet.cli.options import Output
from stylefleet.errors import printable
from stylefleet.inbox import Submission
from stylefleet.naming import Ref
from stylefleet.price import Cost
from stylefleet.status import Phase, Status
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, RUN, manifest_bytes
from tests.command_line import Type, typing_for

AT_WORK = Status(
    name="spring",
    run=RUN,
    phase=Phase.RUNNING,
    submission=Submission("etag", NOW - timedelta(hours=3)),
    pictures=1200,
    done=1000,
    failed=7,
    eta_seconds=600,
    started_at=NOW - timedelta(hours=2),
    updated_at=NOW,
    cost=Cost(currency="EUR", estimated=9.0, actual=4.5),
    output_prefix="s3://shop/" + "a-rather-long-folder/" * 8,
)
ENDED = replace(AT_WORK, name="autumn", phase=Phase.SUCCEEDED, done=1193, eta_seconds=None, finished_at=NOW)


def put(store: MemoryStore, *found: Status) -> None:
    for one in found:
        store.put(Ref("service", naming.status_key(one.name)), status.to_json(one))


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("service", clock=lambda: NOW)


@pytest.fixture
def typed(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    return typing_for(store, monkeypatch, capsys)


def test_runs_at_work_come_first_with_their_figures(store: MemoryStore, typed: Type) -> None:
    put(store, ENDED, AT_WORK)
    lines = typed("list").out.splitlines()
    assert lines[0].split() == ["NAME", "PHASE", "DONE", "FAILED", "LEFT", "AGE", "COST"]
    assert lines[1].split() == ["spring", "Running", "1,000", "7", "193", "3.0", "h", "EUR", "4.50"]
    assert lines[2].split()[:4] == ["autumn", "Succeeded", "1,193", "7"]


def test_a_table_in_a_pipe_is_whole_and_plain(store: MemoryStore, typed: Type) -> None:
    put(store, AT_WORK)
    answer = typed("list", "-o", "wide")
    assert AT_WORK.output_prefix in answer.out
    assert "\x1b" not in answer.out
    assert all(line == line.rstrip() for line in answer.out.splitlines())


@pytest.mark.parametrize("parse", [json.loads, yaml.safe_load], ids=["json", "yaml"])
def test_programs_get_the_statuses_as_they_lie_in_the_bucket(
    store: MemoryStore, typed: Type, parse: type, request: pytest.FixtureRequest
) -> None:
    put(store, AT_WORK, ENDED)
    output = "json" if parse is json.loads else "yaml"
    document = parse(typed("list", "-o", output).out)
    assert document["notRead"] == 0
    in_bucket = json.loads(store.get(Ref("service", "status/spring.json")).data)
    assert document["runs"][0] == in_bucket
    assert parse(typed("status", "spring", "-o", output).out) == in_bucket


@pytest.mark.parametrize("text", ["\u202eno quotes", "\u2028", "straße", "\x1b[2J", "yes: no", "🎨 \u200b"])
@pytest.mark.parametrize("output", ["json", "yaml"])
def test_programs_get_every_character_back_and_terminals_none_that_acts(
    store: MemoryStore, typed: Type, output: str, text: str
) -> None:
    put(store, replace(AT_WORK, message=text))
    told = typed("status", "spring", "-o", output).out
    assert (json.loads if output == "json" else yaml.safe_load)(told)["message"] == text
    assert all(printable(line) == line for line in told.split("\n"))


def test_names_come_one_a_line(store: MemoryStore, typed: Type) -> None:
    put(store, AT_WORK, ENDED, replace(ENDED, name="fashion/winter"))
    assert set(typed("list", "-o", "name").out.splitlines()) == {"spring", "autumn", "fashion/winter"}
    assert typed("list", "--tenant", "fashion", "-o", "name").out == "fashion/winter\n"
    assert typed("status", "spring", "-o", "name").out == "spring\n"


def test_of_very_many_runs_the_newest_are_read_and_the_rest_is_told_on_stderr(
    store: MemoryStore, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_reading, "STATUSES_MAX", 2)
    put(store, *(replace(ENDED, name=f"run-{number}") for number in range(5)))
    answer = typed("list", "-o", "name")
    assert len(answer.out.splitlines()) == 2
    assert "3 left out" in answer.err


@pytest.mark.parametrize("output", Output)
def test_where_there_is_no_run_nothing_but_talk_is_said(typed: Type, output: Output) -> None:
    answer = typed("list", "-o", output)
    assert answer.code == 0
    if output in (Output.TABLE, Output.WIDE):
        assert answer.out == ""
        assert "no run has a status in s3://service/status/" in answer.err


def test_another_form_is_refused_with_those_that_there_are(typed: Type) -> None:
    answer = typed("list", "-o", "xml")
    assert answer.code == 2
    for output in Output:
        assert output in answer.err


def test_the_form_can_be_set_once_for_all(store: MemoryStore, typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, AT_WORK)
    monkeypatch.setenv("STYLEFLEET_OUTPUT", "name")
    assert typed("list").out == "spring\n"
    assert typed("list", "-o", "json").out.startswith("{")


def test_a_wide_status_has_the_run_and_its_times(store: MemoryStore, typed: Type) -> None:
    put(store, AT_WORK)
    assert RUN not in typed("status", "spring").out
    wide = typed("status", "spring", "-o", "wide").out
    assert RUN in wide
    assert "2026-03-01 09:00:00+00:00" in wide


def test_watching_shows_each_change_once_and_ends_as_wait_does(
    store: MemoryStore, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, AT_WORK)
    later = iter([AT_WORK, replace(AT_WORK, eta_seconds=1), replace(AT_WORK, done=1100)])

    def sleep(_seconds: float) -> None:
        put(store, next(later, replace(AT_WORK, phase=Phase.PARTIALLY_SUCCEEDED, done=1193)))

    monkeypatch.setattr(following.time, "sleep", sleep)
    answer = typed("status", "spring", "--watch", "-o", "yaml")
    documents = list(yaml.safe_load_all(answer.out))
    assert [d["progress"]["done"] for d in documents] == [1000, 1100, 1193]
    assert answer.code == 3


def test_ctrl_c_while_watching_leaves_the_run_and_says_how_to_come_back(
    store: MemoryStore, typed: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(Ref("service", "jobs/spring.yaml"), manifest_bytes("spring"))

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(following.time, "sleep", interrupted)
    answer = typed("status", "spring", "--watch")
    assert answer.code == 130
    assert "stylefleet status spring --watch" in answer.err


ON_A_TERMINAL = """
import sys
from stylefleet.cli import bucket, main
from tests.unit.test_listing import AT_WORK, MemoryStore, NOW, put
store = MemoryStore("service", clock=lambda: NOW)
put(store, AT_WORK)
bucket.open_store = lambda *_: store
main.main()
"""


def on_a_terminal(*arguments: str, **environment: str) -> str:
    """What a command says on a terminal of 80 columns."""
    ours, its = pty.openpty()
    names = ("NO_COLOR", "FORCE_COLOR", "STYLEFLEET_OUTPUT")
    own = {name: value for name, value in os.environ.items() if name not in names}
    own |= {"TERM": "xterm-256color", "COLUMNS": "80", "STYLEFLEET_BUCKET": "service", **environment}
    subprocess.run([sys.executable, "-c", ON_A_TERMINAL, *arguments], stdout=its, stderr=its, env=own, check=False)
    os.close(its)
    text = b""
    with open(ours, "rb", buffering=0) as file:
        try:
            while part := file.read(4096):
                text += part
        except OSError:  # Linux says so where the other end is closed
            pass
    return text.decode().replace("\r", "")


@pytest.mark.parametrize("arguments", [["list"], ["status", "spring"], ["status", "nobody"]], ids=" ".join)
def test_a_terminal_has_colours_and_no_color_takes_them_away(arguments: list[str]) -> None:
    assert "\x1b[3" in on_a_terminal(*arguments)
    assert "\x1b[3" not in on_a_terminal(*arguments, NO_COLOR="1")


def test_on_a_terminal_a_table_fits_and_a_wide_one_is_whole() -> None:
    narrow = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal("list"))
    assert max(len(line) for line in narrow.splitlines()) <= 80
    wide = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal("list", "-o", "wide"))
    assert AT_WORK.output_prefix in wide
    assert not any(line.endswith(" ") for line in wide.splitlines())
