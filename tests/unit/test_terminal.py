"""What others wrote (names of fields, keys, sentences of a server) does nothing to the terminal of who reads it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stylefleet import manifest as manifests
from stylefleet import naming, status
from stylefleet.cli import bucket as commands
from stylefleet.cli import status as status_command
from stylefleet.cli.options import Output
from stylefleet.errors import FieldError, ManifestInvalid, printable
from stylefleet.naming import Ref
from stylefleet.price import Cost
from stylefleet.status import Phase, Status
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, manifest_data

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eelif\n0 errors: valid\r\x7f"
"""Clears the screen, names the window, colours, turns the direction, and adds a line of its own."""


def raw(text: str) -> set[str]:
    """The characters of `text` that a terminal might obey, but for our own line breaks."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp")} - {"\n"}


@given(st.text())
def test_printable_text_is_one_line_without_a_character_that_acts(text: str) -> None:
    shown = printable(text)
    assert raw(shown) == set()
    assert "\n" not in shown
    assert printable(shown) == shown


@given(st.text())
def test_json_that_was_made_printable_says_the_same(text: str) -> None:
    assert json.loads(printable(json.dumps(text, ensure_ascii=False))) == text


@pytest.mark.parametrize("text", ["straße", "星月夜", "naïve café", "a\u3000b", "🎨"])
def test_what_people_read_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


def hostile_manifests() -> dict[str, bytes]:
    data = manifest_data("spring")
    return {
        "the name of an unknown field": json.dumps({**data, HOSTILE: 1}).encode(),
        "the name of an unknown field of the recipe": json.dumps(
            {**data, "spec": {**data["spec"], "recipe": {HOSTILE: 1}}}
        ).encode(),
        "the name of a layer": json.dumps(
            {**data, "spec": {**data["spec"], "recipe": {"styleLayers": {HOSTILE: 1}}}}
        ).encode(),
        "a value": json.dumps({**data, "kind": HOSTILE}).encode(),
        "a place": json.dumps({**data, "spec": {**data["spec"], "protect": "s3://b/" + HOSTILE}}).encode(),
        "a place that is not allowed": json.dumps(
            {**data, "spec": {**data["spec"], "protect": "s3://b/\x9b31m\u202e/"}}
        ).encode(),
        "a key that stands twice": b'{"\\u001b[2J": 1, "\\u001b[2J": 2}',
        "a key that is no text": b'"\\e[2J": &a [*a]',
    }


@pytest.mark.parametrize("case", hostile_manifests())
def test_no_manifest_puts_a_control_character_into_an_error(case: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        manifests.parse(hostile_manifests()[case], name="spring", allowed=[Ref("shop", "")])
    for error in caught.value.errors:
        assert raw(str(error)) == set()
        assert "\n" not in str(error)


def test_validate_shows_a_hostile_manifest_and_is_not_fooled_by_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"{HOSTILE.replace('/', '')}.json"
    path.write_bytes(hostile_manifests()["the name of an unknown field"])
    with pytest.raises(SystemExit):
        commands.validate(path)
    told = capsys.readouterr()
    assert raw(told.out + told.err) == set()
    assert "there is no such field" in told.err
    assert not any(line.startswith("0 errors: valid") for line in told.err.splitlines())


@pytest.mark.parametrize("output", Output)
def test_a_hostile_status_is_shown_harmlessly(output: Output, capsys: pytest.CaptureFixture[str]) -> None:
    store = MemoryStore("service", clock=lambda: NOW)
    hostile = Status(
        name="spring",
        run="r",
        phase=Phase.REJECTED,
        message=HOSTILE,
        waiting_because=HOSTILE,
        output_prefix=f"s3://shop/{HOSTILE}",
        report=HOSTILE,
        cost=Cost(currency=HOSTILE, estimated=2.0, actual=1.5),
        errors=(FieldError(path=HOSTILE, message=HOSTILE), FieldError(path="", message="m")),
    )
    store.put(Ref("service", naming.status_key("spring")), status.to_json(hostile))
    status_command.status(store, "service", "spring", output=output, watch=False)
    told = capsys.readouterr().out
    assert raw(told) == set()
    if output in (Output.JSON, Output.YAML):
        parse = json.loads if output == Output.JSON else yaml.safe_load
        assert parse(told)["message"] == HOSTILE
    elif output != Output.NAME:
        assert "1.50, estimated" in told


def test_a_failure_of_a_command_is_told_harmlessly(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stylefleet.cli.main", "validate", str(tmp_path / "\x1b[2J\x9b1m.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "no such file" in done.stderr
    assert raw(done.stderr) == set()


LOG = """
import structlog
from stylefleet import logs

logs.configure(component="worker")
log = structlog.get_logger()
hostile = "\\x1b[2J\\x9b31m\\u202egreen\\n{}"
log.warning("picture_failed", content=hostile, error=hostile)
secret = "hush-hush"
try:
    raise RuntimeError("a bug")
except RuntimeError:
    log.exception("manifest_failed")
"""


def logged(*, terminal: bool) -> str:
    """What a process logs to a terminal, or to a pipe."""
    if not terminal:
        return subprocess.run([sys.executable, "-c", LOG], capture_output=True, text=True, check=True).stderr
    ours, its = pty.openpty()
    subprocess.run([sys.executable, "-c", LOG], stderr=its, check=True, env={**os.environ, "NO_COLOR": "1"})
    os.close(its)
    text = b""
    with open(ours, "rb", buffering=0) as file:
        try:
            while part := file.read(4096):
                text += part
        except OSError:  # Linux says so where the other end is closed
            pass
    return text.decode().replace("\r\n", "\n")


@pytest.mark.parametrize("terminal", [False, True])
def test_a_log_line_is_one_line_and_does_nothing_to_a_terminal(terminal: bool) -> None:
    text = logged(terminal=terminal)
    assert [line for line in text.splitlines() if "picture_failed" in line and "green" in line]
    assert raw(text.replace("\x1b[0m", "").replace("\x1b[1m", "")) <= ({"\x1b"} if terminal else set())
    assert "\x1b[2J" not in text
    assert "\x9b" not in text


@pytest.mark.parametrize("terminal", [False, True])
def test_a_traceback_in_the_log_shows_no_variable(terminal: bool) -> None:
    text = logged(terminal=terminal)
    assert "RuntimeError: a bug" in text
    assert "hush-hush" not in text
