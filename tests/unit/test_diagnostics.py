"""A wrong manifest is told as a compiler tells it: place, line, caret, what was found, what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stylefleet.cli.diagnostics import rendered
from stylefleet.errors import FieldError
from stylefleet.store_memory import MemoryStore
from tests.command_line import Type, typing_for

WRONG = """\
apiVersion: stylefleet.dev/v1
kind: StyleJob
metadata: {name: spring}
spec:
  content: {prefix: s3://shop/catalog/}
  styles: [{image: s3://shop/styles/waves.jpg}]
  output: {prefix: s3://shop/out/}
  recipe:
    sise: 512
    preset: "drafft"
"""


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    return typing_for(MemoryStore("service"), monkeypatch, capsys)


def test_every_error_has_its_line_with_a_caret_what_was_found_and_what_is_allowed(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "spring.yaml").write_text(WRONG)
    answer = typed("validate", str(tmp_path / "spring.yaml"))
    assert answer.code == 2
    assert answer.err.splitlines() == [
        "spring.yaml:9:5: error: spec.recipe.sise: there is no such field",
        " 9 |     sise: 512",
        "   |     ^^^^",
        "   = found: sise",
        "   = allowed: did you mean size?",
        "spring.yaml:10:5: error: spec.recipe.preset: the value is not one of the choices",
        ' 10 |     preset: "drafft"',
        "    |     ^^^^^^",
        "    = found: 'drafft'",
        "    = allowed: 'draft', 'balanced', 'fine', 'impressionist' or 'portrait'; did you mean draft?",
        "spring.yaml: 2 errors",
    ]


def lines_of(error: FieldError, *lines: str) -> list[str]:
    return [text.plain for text in rendered("a.yaml", error, list(lines))]


def test_the_caret_stands_below_what_is_meant_also_after_wide_letters_and_tabs() -> None:
    error = FieldError(path="a", message="m", line=1, column=8)
    line, caret = lines_of(error, '"星月": \tx: 1')[1:3]
    # Two wide letters: two columns more than characters.
    assert (line, caret) == (' 1 | "星月":  x: 1', "   | " + " " * 9 + "^")


def test_of_a_very_long_line_the_part_around_the_place_is_shown() -> None:
    error = FieldError(path="a", message="m", line=1, column=5001)
    line, caret = lines_of(error, "x" * 5000 + '"here": 1,' + "y" * 5000)[1:3]
    assert '"here"' in line
    assert len(line) < 150
    assert line[caret.index("^") : caret.rindex("^") + 1] == '"here"'


def test_a_place_that_has_gone_from_the_file_is_told_without_its_line() -> None:
    error = FieldError(path="a", message="m", line=9, column=1)
    assert lines_of(error, "short") == ["a.yaml:9:1: error: a: m"]


def test_a_line_that_tries_to_act_on_the_terminal_is_shown_harmlessly() -> None:
    for column in (1, 5, 6, 9, 11):
        error = FieldError(path="a", message="m", line=1, column=column)
        line, caret = lines_of(error, "\x1b[2J\u202e'a': '\x07'")[1:3]
        assert not {"\x1b", "\u202e", "\x07"} & set(line)
        assert caret.endswith("^")


def test_a_file_that_is_not_yaml_is_told_with_its_place(typed: Type, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("spec:\n  - [1, 2\n")
    answer = typed("validate", str(tmp_path / "a.yaml"))
    assert answer.code == 2
    assert answer.err.startswith("a.yaml:")
    assert "the manifest is not YAML" in answer.err
    assert " | ^" in answer.err
