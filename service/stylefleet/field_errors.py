"""Pydantic's errors in a user's words: the place in the file, what was found, what is allowed, the nearest spelling."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from stylefleet import yaml_positions
from stylefleet.errors import FieldError

ERRORS_MAX = 100
"""Errors that are told one by one; a file of nothing but errors must not become a status of many megabytes."""


def at_most(errors: list[FieldError]) -> list[FieldError]:
    if len(errors) <= ERRORS_MAX:
        return errors
    return [*errors[:ERRORS_MAX], FieldError(path="", message=f"there are more than {ERRORS_MAX} errors")]


def placed(
    path: yaml_positions.Path, message: str, found: str, allowed: str, document: yaml_positions.Document
) -> FieldError:
    line, column = document.position(path) or (None, None)
    return FieldError(
        path=yaml_positions.path_text(path),
        message=message,
        found=found,
        allowed=allowed,
        line=line,
        column=column,
    )


def explained(error: ErrorDetails, document: yaml_positions.Document, root: type[BaseModel]) -> FieldError:
    """One error of validating `document` as `root`."""
    path: yaml_positions.Path = tuple(error["loc"])
    context = error.get("ctx", {})
    message, found, allowed = error["msg"], _shorten(error["input"]), str(context.get("allowed", ""))
    match error["type"]:
        case "missing":
            message, found = "this field is required", ""
        case "extra_forbidden":
            message, found = "there is no such field", _shorten(str(path[-1])).strip("'")
            names = _field_names(root, path[:-1])
            nearest = difflib.get_close_matches(str(path[-1]), names, n=1)
            allowed = f"did you mean {nearest[0]}?" if nearest else ", ".join(names)
        case "literal_error":
            message, allowed = "the value is not one of the choices", str(context["expected"])
            choices = re.findall(r"'([^']*)'", allowed)
            if len(choices) > 1 and (nearest := difflib.get_close_matches(str(error["input"]), choices, n=1)):
                allowed += f"; did you mean {nearest[0]}?"
        case "string_pattern_mismatch":
            message, allowed = "the text is not of this form", str(context["pattern"])
        case "model_type":
            message, allowed = "fields are expected here", ", ".join(_field_names(root, path))
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            message, allowed = "the number is out of range", error["msg"].removeprefix("Input should be ")
        case _ if not isinstance(error["input"], dict):
            message = message.replace("Input should be", "the value should be")
        case _:
            found = ""
    if "found" in context:
        found = _shorten_text(str(context["found"]))
    if "field" in context:
        path = (*path, str(context["field"]))
    return placed(path, message, found, allowed, document)


def _field_names(model: type[BaseModel], path: yaml_positions.Path) -> list[str]:
    """The fields that may stand in the mapping at `path` below `model`."""
    for part in path:
        if isinstance(part, int):
            continue
        fields = {f.alias or n: f.annotation for n, f in model.model_fields.items()}
        model = next(_models_in(fields[part]))
    return [f.alias or n for n, f in model.model_fields.items()]


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The models in a type such as `list[Style]` or `list[ScaleSpec] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _shorten(value: object) -> str:
    return _shorten_text(repr(value) if isinstance(value, str) else str(value))


def _shorten_text(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
