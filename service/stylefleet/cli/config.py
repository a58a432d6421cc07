"""`stylefleet config show`: the settings of users' commands, and where each comes from. Secrets are masked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from stylefleet.cli.config_files import VARIABLES, Setting
from stylefleet.cli.options import Output
from stylefleet.cli.output import plain_table, print_document, print_table, shown
from stylefleet.errors import printable

_DEFAULTS = {"bucket": "", "endpoint": "AWS", "region": "as AWS tools find it", "output": "table"}
_CREDENTIALS = {"access key": "AWS_ACCESS_KEY_ID", "secret key": "AWS_SECRET_ACCESS_KEY", "token": "AWS_SESSION_TOKEN"}
_SHOWN_OF_SECRETS = 4
"""Characters of an access key's name, by which people know it; of secrets none."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One setting as it counts."""

    name: str
    value: str
    source: str


def rows(
    values: Mapping[str, str | None],
    sources: Mapping[str, str],
    files: Mapping[str, Setting],
    environment: Mapping[str, str],
) -> list[Row]:
    """All settings. `sources` are typer's words for where each value came from."""
    found = [
        Row(name=name, value=value or _DEFAULTS[name], source=_source(name, sources[name], files))
        for name, value in values.items()
    ]
    for name, variable in _CREDENTIALS.items():
        if environment.get(variable):
            found.append(Row(name=name, value=_masked(name, environment[variable]), source=f"environment, {variable}"))
    if not environment.get("AWS_ACCESS_KEY_ID"):
        profile = environment.get("AWS_PROFILE")
        source = f"environment, AWS_PROFILE={profile}" if profile else "default"
        found.append(Row(name="credentials", value="as AWS tools find them", source=source))
    return found


def _source(name: str, source: str, files: Mapping[str, Setting]) -> str:
    if source == "COMMANDLINE":
        return "flag"
    if source == "ENVIRONMENT":
        return f"environment, {VARIABLES[name]}"
    if source == "DEFAULT_MAP":
        return f"{files[name].kind}, {files[name].file}"
    return "default"


def _masked(name: str, value: str) -> str:
    return f"{value[:_SHOWN_OF_SECRETS]}****" if name == "access key" and len(value) > 12 else "****"


def show(found: list[Row], *, with_sources: bool, output: Output) -> None:
    """Print them."""
    if output == Output.NAME:
        print("\n".join(printable(row.name) for row in found))
    elif output in (Output.JSON, Output.YAML):
        print_document(
            {row.name: {"value": row.value, "source": row.source} if with_sources else row.value for row in found},
            output,
        )
    else:
        table = plain_table("SETTING", "VALUE", *(["SOURCE"] if with_sources else []))
        for row in found:
            table.add_row(row.name, shown(row.value), *([shown(row.source)] if with_sources else []))
        print_table(table)
