"""How data is printed: `-o table|wide|json|yaml|name`. It goes to stdout and does nothing to a terminal."""

from __future__ import annotations

import json
import re
import sys
import textwrap
from collections.abc import Iterable
from typing import Any

import yaml
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from stylefleet.cli.options import Output
from stylefleet.errors import printable, printable_lines

_WIDE_ENOUGH = 10_000
"""Columns of what is no terminal: a table that goes to a file or a pipe is never cut or folded."""


def shown(text: str) -> str:
    """Text from the bucket or the cluster, as a terminal may show it."""
    return escape(printable(text))


def print_document(document: Any, output: Output) -> None:
    """As JSON or as YAML; who parses it gets every character back."""
    text = _json(document) if output == Output.JSON else _yaml(document)
    print(printable_lines(text))


def stream_documents(documents: Iterable[Any]) -> None:
    """A JSON list, each member printed as soon as it is there: it may be longer than memory."""
    before = "["
    for document in documents:
        print(before)
        print(textwrap.indent(printable_lines(_json(document)), "  "), end="")
        before = ","
    print("[]" if before == "[" else "\n]")


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)


def _yaml(document: Any) -> str:
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120).rstrip("\n")
    if printable_lines(text) == text:
        return text
    # YAML leaves some invisible characters as they are, and our escapes would not be YAML's: so it escapes all.
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=120).rstrip("\n")


def print_table(table: RenderableType, *, width: int = _WIDE_ENOUGH, whole: bool = False) -> None:
    """As wide as the terminal is; where there is none, or `whole` is asked for, up to `width` columns."""
    console = Console(width=None if sys.stdout.isatty() and not whole else width, highlight=False)
    with console.capture() as captured:
        console.print(table)
    # Cells are filled up with spaces, which a terminal would break into empty lines.
    print("\n".join(_TRAILING.sub(_reset, line) for line in captured.get().rstrip("\n").split("\n")))


_TRAILING = re.compile(r"(?:\x1b\[[0-9;]*m| )+$")


def _reset(trailing: re.Match[str]) -> str:
    return "\x1b[0m" if "\x1b" in trailing[0] else ""


def plain_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """A table without lines, as `kubectl get` has them; columns named in `right` are flush right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def say(text: str) -> None:
    """A word to who sits there, beside the data."""
    Console(stderr=True, soft_wrap=True).print(printable_lines(text), markup=False, highlight=False)
