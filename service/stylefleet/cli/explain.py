"""`stylefleet explain`: what may stand in a field of a manifest, from the models themselves."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stylefleet.cli.output import print_table
from stylefleet.errors import SettingsInvalid
from stylefleet.manifest import json_schema

Schema = dict[str, Any]

WIDTH = 100
"""Of what goes to a file or a pager."""
_TYPES = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field, or the whole manifest."""

    path: str
    """As a manifest's errors name it, without indexes; empty for the whole."""
    schema: Schema
    """Without references."""
    required: bool
    default: object
    """None also where there is none."""
    fields: tuple[Field, ...] = ()
    """What may stand in it, one level deep."""

    @property
    def description(self) -> str:
        return " ".join(str(self.schema.get("description", "")).split())


def run(path: str) -> None:
    """Print one field. Raises SettingsInvalid with the nearest spelling where there is no such field."""
    field = find(path)
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="bold", no_wrap=True)
    facts.add_column(overflow="fold")
    facts.add_row("field", Text(field.path or "the manifest"))
    for label, text in (
        ("type", type_of(field.schema)),
        ("default", default_of(field)),
        ("allowed", allowed_of(field)),
    ):
        if text:
            facts.add_row(label, Text(text))
    parts: list[RenderableType] = [facts]
    if field.description:
        parts += ["", Text(field.description)]
    if field.fields:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(no_wrap=True, style="cyan")
        table.add_column(overflow="fold")
        for one in field.fields:
            table.add_row(one.path.rpartition(".")[2], type_of(one.schema), Text(_in_short(one)))
        parts += ["", table]
    print_table(Group(*parts), width=WIDTH)


def find(path: str) -> Field:
    """The field at `path`, such as `spec.recipe.size` or `spec.styles[0].weight`."""
    root = json_schema()
    definitions = root.get("$defs", {})
    assert isinstance(definitions, dict)
    found = _field("", root, definitions, required=True)
    for part in re.sub(r"\[\d*\]", "", path).split(".") if path else ():
        within = {one.path.rpartition(".")[2]: one for one in found.fields}
        if part not in within:
            raise SettingsInvalid(_not_there(path, part, found, within))
        chosen = within[part]
        found = _field(chosen.path, chosen.schema, definitions, required=chosen.required, default=chosen.default)
    return found


def _not_there(path: str, part: str, found: Field, within: dict[str, Field]) -> str:
    where = found.path or "the manifest"
    if not within:
        return f"{path}: {where} has no fields; it is {type_of(found.schema)}"
    nearest = difflib.get_close_matches(part, within, n=1)
    meant = f"did you mean {'.'.join(filter(None, [found.path, nearest[0]]))}? " if nearest else ""
    return f"{path}: found {part!r}; {meant}allowed in {where} are {', '.join(within)}"


def _field(path: str, schema: Schema, definitions: Schema, *, required: bool, default: object = None) -> Field:
    own = _resolved(schema, definitions)
    holder = _holder(own, definitions)
    fields = tuple(_fields(path, holder, definitions)) if holder else ()
    return Field(path=path, schema=own, required=required, default=default, fields=fields)


def _fields(path: str, holder: Schema, definitions: Schema) -> Iterator[Field]:
    for name, schema in holder["properties"].items():
        own = _resolved(schema, definitions)
        yield Field(
            path=f"{path}.{name}" if path else name,
            schema=own,
            required=name in holder.get("required", ()),
            default=schema.get("default"),
        )


def _resolved(schema: Schema, definitions: Schema) -> Schema:
    """References replaced by what they name, also in lists and choices; what stands beside a reference comes first."""
    if "$ref" in schema:
        named = definitions[schema["$ref"].rpartition("/")[2]]
        schema = {**named, **{key: value for key, value in schema.items() if key != "$ref"}}
    if "anyOf" in schema:
        schema = {**schema, "anyOf": [_resolved(one, definitions) for one in schema["anyOf"]]}
    if "items" in schema:
        schema = {**schema, "items": _resolved(schema["items"], definitions)}
    return schema


def _holder(schema: Schema, definitions: Schema) -> Schema | None:
    """The object whose fields may stand below this one: itself, or what a list has in it."""
    candidates: list[Schema] = [schema, *schema.get("anyOf", ())]
    for one in candidates:
        if "properties" in one:
            return one
        if "items" in one and (found := _holder(one["items"], definitions)):
            return found
    return None


def type_of(schema: Schema) -> str:
    """In words."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(type_of(one) for one in schema["anyOf"] if one.get("type") != "null"))
    if schema.get("type") == "array":
        return f"list of {_plural(type_of(schema['items']))}"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"names, each with a {type_of(values)}" if isinstance(values, dict) else "fields"
    return _TYPES.get(str(schema.get("type")), "text" if "const" in schema else "one of several")


def _plural(kind: str) -> str:
    return {"whole number": "whole numbers", "number": "numbers", "text": "texts", "fields": "groups of fields"}.get(
        kind, kind
    )


def default_of(field: Field) -> str:
    """As it would stand in a manifest; `required` where it must."""
    if field.required:
        return "none: the field is required" if field.path else ""
    if "properties" in field.schema:
        return "each field's own"
    return "none" if field.default is None else json.dumps(field.default)


def allowed_of(field: Field) -> str:
    """The rules of a value, in words; empty where the type says all."""
    return "; or ".join(filter(None, (_rules(one) for one in field.schema.get("anyOf", [field.schema]))))


def _rules(schema: Schema) -> str:
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return ", ".join(str(one) for one in schema["enum"])
    rules = []
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    for text, bound in (("at least", low), ("more than", above), ("at most", high), ("less than", below)):
        if bound is not None:
            rules.append(f"{text} {_number(bound)}")
    if "minItems" in schema or "maxItems" in schema:
        fewest, most = schema.get("minItems", 0), schema.get("maxItems")
        count = f"{fewest}" if fewest == most else f"{fewest} to {most}" if most is not None else f"{fewest} or more"
        rules.append(f"{count} of them")
    if "pattern" in schema:
        rules.append(f"of the form {schema['pattern']}")
    if "items" in schema and (each := _rules(schema["items"])):
        rules.append(f"each one of {each}" if "enum" in schema["items"] else f"each {each}")
    if isinstance(schema.get("additionalProperties"), dict) and (each := _rules(schema["additionalProperties"])):
        rules.append(f"each {each}")
    return ", ".join(rules)


def _number(bound: float) -> str:
    return f"{bound:,.0f}" if bound == int(bound) else f"{bound:g}"


def _in_short(field: Field) -> str:
    first = re.split(r"(?<=[.;])\s", field.description, maxsplit=1)[0].rstrip(";")
    return f"{first}{' Required.' if field.required else ''}".strip()
