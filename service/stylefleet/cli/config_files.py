"""Settings of users' commands in files: `stylefleet.toml` in the folder where one works, and the user's own.

Flags come before variables, these before the project's file, this before the user's, and that before what a command
does by itself. The files stand behind flags and variables as typer's own defaults do, so that it alone decides.

Only the folder itself counts, not those above it: somebody else's file in a shared folder must not lead our requests.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from stylefleet.cli import options
from stylefleet.errors import SettingsInvalid

PROJECT_FILE = Path("stylefleet.toml")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A value in a file."""

    value: str
    kind: Literal["project file", "user file"]
    file: Path


_RULES: dict[str, Callable[[str], str]] = {
    "bucket": options.bucket_fault,
    "endpoint": options.endpoint_fault,
    "region": lambda _: "",
    "output": options.output_fault,
}
"""What may stand in a file, and what is wrong with a value; empty where it is right."""
NAMES = tuple(_RULES)
VARIABLES = {
    "bucket": "STYLEFLEET_BUCKET",
    "endpoint": "STYLEFLEET_S3_ENDPOINT",
    "region": "AWS_REGION",
    "output": "STYLEFLEET_OUTPUT",
}
"""What each is called in the environment."""


def user_file(environment: Mapping[str, str]) -> Path:
    """Where XDG has it."""
    home = environment.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "stylefleet" / "config.toml"


def read(environment: Mapping[str, str]) -> dict[str, Setting]:
    """What the files say, the project's before the user's. Raises SettingsInvalid with file and rule."""
    return {**_read(user_file(environment), "user file"), **_read(PROJECT_FILE, "project file")}


def _read(path: Path, kind: Literal["project file", "user file"]) -> dict[str, Setting]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise SettingsInvalid(f"{path}: this is not UTF-8 text: {error.reason} at byte {error.start}") from error
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsInvalid(f"{path}: this is not TOML: {error}") from error
    return {name: Setting(value=_checked(path, name, value), kind=kind, file=path) for name, value in document.items()}


def _checked(path: Path, name: str, value: object) -> str:
    if name not in _RULES:
        nearest = difflib.get_close_matches(name, NAMES, n=1)
        meant = f"; did you mean {nearest[0]}?" if nearest else ""
        raise SettingsInvalid(f"{path}: found {name!r}, allowed are {', '.join(NAMES)}{meant}")
    if not isinstance(value, str):
        raise SettingsInvalid(f"{path}: {name}: found {value!r}, allowed is text in quotes")
    if fault := _RULES[name](value):
        raise SettingsInvalid(f"{path}: {name}: {fault}")
    return value


def takes_settings(command: Any) -> bool:
    """Whether a command, or one of a group, has an option that may stand in a file. The service's own have none."""
    if hasattr(command, "commands"):
        return any(takes_settings(one) for one in command.commands.values())
    return bool(_variables(command) & set(VARIABLES.values()))


def defaults_for(command: Any, found: Mapping[str, Setting]) -> dict[str, Any]:
    """What typer takes as defaults of a command's options, or of those of each command in a group."""
    if hasattr(command, "commands"):
        return {name: defaults_for(one, found) for name, one in command.commands.items()}
    return {name: setting.value for name, setting in found.items() if VARIABLES[name] in _variables(command)}


def _variables(command: Any) -> set[object]:
    """An option is known by its variable: one that only has the same name is another setting."""
    return {parameter.envvar for parameter in command.params}
