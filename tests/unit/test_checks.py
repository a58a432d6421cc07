from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from stylefleet import checks
from stylefleet.cli.doctor import table
from stylefleet.errors import RecordUnreadable

CHECKS = [
    checks.ok("bucket", "it can be used"),
    checks.failed("image", "ImagePullBackOff: [no] such image", "Push it"),
    *checks.skipped(["weights", "engine"], "there is no image to run"),
]


def test_checks_survive_the_way_through_json() -> None:
    text = checks.to_json(CHECKS)
    assert checks.from_json(text) == CHECKS
    assert json.loads(text)["ok"] is False


def test_all_is_well_where_nothing_failed_though_something_was_skipped() -> None:
    assert not checks.all_well(CHECKS)
    assert checks.all_well([c for c in CHECKS if c.outcome != "failed"])
    assert json.loads(checks.to_json(CHECKS[:1]))["ok"] is True


@pytest.mark.parametrize("text", ["", "Killed", "[]", '{"checks": [{"id": "a"}]}', '{"checks": [1]}', '{"ok": true}'])
def test_words_that_are_no_answer_are_told_apart(text: str) -> None:
    with pytest.raises(RecordUnreadable, match="no answer of a doctor"):
        checks.from_json(text)


def test_the_table_shows_each_check_with_what_to_do() -> None:
    console = Console(file=io.StringIO(), width=120)
    console.print(table(CHECKS))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    lines = [line.split() for line in text.splitlines()]
    assert lines[1][:2] == ["bucket", "ok"]
    assert lines[2][:2] == ["image", "failed"]
    assert "[no] such image" in text, "square brackets are words, not markup"
    assert lines[3] == ["To", "do:", "Push", "it"]
    assert lines[5][:2] == ["engine", "skipped"]
