"""values.yaml -> values.schema.json: types from defaults, descriptions from comments, the rest from `# @schema`.

A comment above a key is its description; a line `# @schema {...}` in it is merged over what the default says. Objects
with fields refuse other fields, empty ones are maps of texts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

Json = dict[str, Any]
VALUES = Path(__file__).parent / "stylefleet" / "values.yaml"
SCHEMA = VALUES.with_name("values.schema.json")
DIRECTIVE = "@schema "
OWN_LABELS = (
    r"^(app\.kubernetes\.io/(name|instance|component|managed-by|version)|helm\.sh/chart|job-name|controller-uid"
    r"|kueue\.x-k8s\.io/queue-name|(stylefleet\.dev|batch\.kubernetes\.io)/.*)$"
)
"""Labels that select pods or say whose they are: never the operator's."""
LOOSENING_ANNOTATIONS = (
    r"^(container\.apparmor\.security\.beta|(container\.)?seccomp\.security\.alpha)\.kubernetes\.io/?"
)
"""Annotations that would lift what the restricted Pod Security Standard asks for."""


def schema(text: str) -> Json:
    """The JSON Schema of a values file. Raises ValueError where a value is not documented."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(node, yaml.MappingNode)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the chart stylefleet",
        # Helm adds `global` to the values of every chart.
        **_object(node, text.splitlines(), path="", more={"global": {"type": "object"}}),
    }


def _object(node: yaml.MappingNode, lines: list[str], *, path: str, more: Json | None = None) -> Json:
    properties: Json = {}
    for key_node, value_node in node.value:
        place = f"{path}{key_node.value}"
        description, directive = _comment(lines, key_node.start_mark.line)
        if not description and key_node.start_mark.line != node.start_mark.line:
            raise ValueError(f"values.yaml: {place} has no comment")
        properties[key_node.value] = {
            **({"description": description} if description else {}),
            **_of_default(
                value_node, lines, place=place, name=key_node.value, nested="additionalProperties" in directive
            ),
            **directive,
        }
    return {"type": "object", "additionalProperties": False, "properties": properties | (more or {})}


def _of_default(node: yaml.Node, lines: list[str], *, place: str, name: str, nested: bool) -> Json:
    if isinstance(node, yaml.MappingNode) and node.value and not nested and not node.flow_style:
        return _object(node, lines, path=f"{place}.")
    if isinstance(node, yaml.MappingNode):
        if nested:
            return {"type": "object"}
        texts: Json = {"type": "object", "additionalProperties": {"type": "string"}}
        if name.lower().endswith("labels"):
            texts["propertyNames"] = {"not": {"pattern": OWN_LABELS}}
        if name.lower().endswith("annotations"):
            texts["propertyNames"] = {"not": {"pattern": LOOSENING_ANNOTATIONS}}
        return texts
    if isinstance(node, yaml.SequenceNode):
        return {"type": "array"}
    value = yaml.safe_load(yaml.serialize(node))
    return {"type": {bool: "boolean", int: "integer", str: "string"}[type(value)]}


def _comment(lines: list[str], line: int) -> tuple[str, Json]:
    """Description and directive of the key that stands on this line."""
    words: list[str] = []
    directive: Json = {}
    while line > 0 and lines[line - 1].lstrip().startswith("#"):
        line -= 1
        text = lines[line].lstrip().removeprefix("#").strip()
        if text.startswith(DIRECTIVE):
            directive = json.loads(text.removeprefix(DIRECTIVE))
        else:
            words.insert(0, text)
    return " ".join(words), directive


def write() -> None:
    SCHEMA.write_text(json.dumps(schema(VALUES.read_text()), indent=2) + "\n")


if __name__ == "__main__":
    write()
