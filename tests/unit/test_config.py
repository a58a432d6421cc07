"""Flags come before variables, these before the project's file, this before the user's, that before defaults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from stylefleet import naming, status
from stylefleet.naming import Ref
from stylefleet.status import Phase, Status
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, RUN
from tests.command_line import Type, typing_for

SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE")


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("service", "from-project", clock=lambda: NOW)


@pytest.fixture
def typed(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Type:
    typed = typing_for(store, monkeypatch, capsys)
    for name in ("STYLEFLEET_BUCKET", "STYLEFLEET_OUTPUT", *SECRETS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    (tmp_path / "home/stylefleet").mkdir(parents=True)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return typed


def write(folder: Path, *, project: str = "", user: str = "") -> None:
    (folder / "work/stylefleet.toml").write_text(project)
    (folder / "home/stylefleet/config.toml").write_text(user)


def shown(typed: Type, *arguments: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(typed("config", "show", "--sources", "-o", "json", *arguments).out)
    return found


def test_each_source_comes_before_the_next(typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(typed)["bucket"] == {"value": "", "source": "default"}
    write(tmp_path, user='bucket = "from-user"')
    user_file = tmp_path / "home/stylefleet/config.toml"
    assert shown(typed)["bucket"] == {"value": "from-user", "source": f"user file, {user_file}"}
    write(tmp_path, user='bucket = "from-user"', project='bucket = "from-project"')
    assert shown(typed)["bucket"] == {"value": "from-project", "source": "project file, stylefleet.toml"}
    monkeypatch.setenv("STYLEFLEET_BUCKET", "from-environment")
    assert shown(typed)["bucket"] == {"value": "from-environment", "source": "environment, STYLEFLEET_BUCKET"}
    assert shown(typed, "--bucket", "from-flag")["bucket"] == {"value": "from-flag", "source": "flag"}


def test_commands_go_by_the_files(store: MemoryStore, typed: Type, tmp_path: Path) -> None:
    found = Status(name="spring", run=RUN, phase=Phase.SUCCEEDED)
    store.put(Ref("from-project", naming.status_key("spring")), status.to_json(found))
    write(tmp_path, project='bucket = "from-project"\noutput = "name"')
    assert typed("list").out == "spring\n"
    assert typed("status", "spring").out == "spring\n"
    assert "Succeeded" in typed("list", "-o", "table").out
    assert json.loads(typed("top", "-o", "json").out)["runs"]
    assert typed("top", "--once").code == 0, "a form that a command does not have is no default of it"


def test_the_file_of_a_folder_above_leads_nobody(typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, project='bucket = "from-project"')
    (tmp_path / "work/deeper").mkdir()
    monkeypatch.chdir(tmp_path / "work/deeper")
    assert shown(typed)["bucket"]["source"] == "default"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('buckt = "a"', "found 'buckt', allowed are bucket, endpoint, region, output; did you mean bucket?"),
        ("bucket = 7", "bucket: found 7, allowed is text in quotes"),
        ('bucket = "A b"', "bucket: found 'A b', allowed are 3 to 63"),
        ('output = "xml"', "output: found 'xml', allowed are table, wide, json, yaml, name"),
        ("bucket = ", "this is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_told_with_the_file(typed: Type, tmp_path: Path, text: str, told: str) -> None:
    write(tmp_path, project=text)
    answer = typed("list")
    assert answer.code == 2
    assert f"stylefleet.toml: {told}" in answer.err


def test_a_password_in_a_file_is_refused_and_not_repeated(typed: Type, tmp_path: Path) -> None:
    write(tmp_path, project='endpoint = "http://me:hush@minio:9000"')
    answer = typed("config", "show")
    assert answer.code == 2
    assert "hush" not in answer.err + answer.out


def test_secrets_are_masked(typed: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    for output in ("table", "json", "yaml"):
        answer = typed("config", "show", "--sources", "-o", output)
        assert "AKIA****" in answer.out
        assert "FODNN" not in answer.out
        assert "hush" not in answer.out
        assert "AWS_SECRET_ACCESS_KEY" in answer.out


@pytest.mark.parametrize("project", ['bucket = "from-project"', "broken"])
def test_the_service_reads_no_file(typed: Type, tmp_path: Path, project: str) -> None:
    write(tmp_path, project=project)
    answer = typed("controller", "--once")
    assert answer.code == 2
    assert answer.err == "stylefleet: STYLEFLEET_BUCKET is not set\n"
    assert typed("explain", "spec").code == 0


def test_shells_complete_the_commands() -> None:
    environment = {
        **os.environ,
        "_STYLEFLEET_COMPLETE": "complete_bash",
        "COMP_WORDS": "stylefleet re",
        "COMP_CWORD": "1",
    }
    code = "import sys; sys.argv[0] = 'stylefleet'; from stylefleet.cli.main import app; app(prog_name='stylefleet')"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert set(done.stdout.split()) == {"resume", "retry", "retire", "results"}
