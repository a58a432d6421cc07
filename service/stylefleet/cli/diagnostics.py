"""A manifest's errors as a compiler tells them: file, line, column, the line itself with what is meant underlined.

spring.yaml:12:5: error: spec.recipe.sise: there is no such field
 12 |     sise: 512
    |     ^^^^
    = found: sise
    = allowed: did you mean size?
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from stylefleet.errors import FieldError, ManifestInvalid, printable

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
"""As YAML breaks lines, by which places are counted."""
_TOKEN = re.compile(r"""\s*("(?:[^"\\]|\\.)*"|'[^']*'|[^\s:,\[\]{}]+|.)""")
_BEFORE, _LENGTH = 60, 120
"""Characters that are shown of a long line: before the place, and in all."""


def print_errors(path: Path, error: ManifestInvalid) -> None:
    """To stderr. Places that have meanwhile gone from the file are told without their line."""
    lines = _LINE_BREAK.split(path.read_bytes().decode("utf-8-sig", errors="replace"))
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for one in sorted(error.errors, key=lambda one: (one.line or 0, one.column or 0)):
        for line in rendered(path.name, one, lines):
            console.print(line)
    count = len(error.errors)
    console.print(Text(f"{printable(path.name)}: {count} error{'' if count == 1 else 's'}", style="bold"))


def rendered(file_name: str, error: FieldError, lines: list[str]) -> Iterator[Text]:
    """The lines about one error; `lines` are those of the file."""
    place = f":{error.line}:{error.column}" if error.line else ""
    about = f"{error.path}: " if error.path else ""
    yield Text.assemble(
        (f"{printable(file_name)}{place}: ", "bold"), ("error: ", "bold red"), f"{about}{error.message}"
    )
    number = str(error.line) if error.line else ""
    gutter = " " * (len(number) + 1)
    if error.line and error.column and error.line <= len(lines):
        before, token, after = _cut(lines[error.line - 1], error.column - 1)
        yield Text.assemble((f" {number} | ", "blue"), before, (token, "bold"), after)
        caret = " " * cell_len(before) + "^" * max(1, cell_len(token))
        yield Text.assemble((f"{gutter} | ", "blue"), (caret, "bold red"))
    for label, text in (("found", error.found), ("allowed", error.allowed)):
        if text:
            yield Text.assemble((f"{gutter} = ", "blue"), (f"{label}: ", "bold"), text)


def _cut(line: str, column: int) -> tuple[str, str, str]:
    """What of a line is shown before the place, at it, and after it, as a terminal may show it."""
    start = max(0, column - _BEFORE) if len(line) > _LENGTH else 0
    end = min(len(line), start + _LENGTH)
    found = _TOKEN.match(line, column)
    stop = min(found.end() if found else column, end)
    before = ("..." if start else "") + line[start:column].replace("\t", " ")
    return (
        printable(before),
        printable(line[column:stop]),
        printable(line[stop:end]) + ("..." if end < len(line) else ""),
    )
