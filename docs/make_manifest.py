"""Makes docs/manifest.md, the reference of every field, from the manifest's models: `python docs/make_manifest.py`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stylefleet.manifest import json_schema

PAGE = Path(__file__).parent / "manifest.md"
Schema = Mapping[str, Any]

HEAD = """# The manifest's fields

Made from the models that check manifests, by `python docs/make_manifest.py`. Unknown fields are errors, and so are
values of another type: `"8"` is no number. Editors understand the same as a [JSON Schema](stylejob.schema.json), which
`stylefleet schema` prints. What each field of a recipe does to a picture is shown in [effects](effects.md); whole
manifests are in [recipes](recipes.md).

```yaml
apiVersion: stylefleet.dev/v1
kind: StyleJob
metadata: {name: spring-catalog}
spec:
  content: {prefix: s3://shop/catalog/}
  styles: [{image: s3://shop/styles/starry_night.jpg}]
  output: {prefix: s3://shop/restyled/spring/}
```
"""


def page() -> str:
    """The text of docs/manifest.md."""
    schema = json_schema()
    return "\n".join([HEAD, *(_section(path, model, schema) for path, model in _models("", schema, schema))])


def _models(path: str, model: Schema, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """The model and all that it is made of, by where they stand in a manifest."""
    yield path, model
    for name, field in model["properties"].items():
        here = f"{path}.{name}" if path else name
        for part in _alternatives(field):
            if "$ref" in part:
                yield from _models(here, _resolved(part, schema), schema)
            elif "$ref" in part.get("items", {}):
                yield from _models(f"{here}[]", _resolved(part["items"], schema), schema)


def _part_of(field: Schema, schema: Schema) -> Schema:
    """The model that stands in the field; the field itself where there is none."""
    return _resolved(field, schema) if "$ref" in field else field


def _resolved(part: Schema, schema: Schema) -> Schema:
    found: Schema = schema["$defs"][part["$ref"].rpartition("/")[2]]
    return found


def _section(path: str, model: Schema, schema: Schema) -> str:
    required = model.get("required", ())
    rows = [
        f"| `{name}` | {_allowed(path, name, field)} | {_default(field, required=name in required)} | "
        f"{_meaning(field) or _meaning(_part_of(field, schema))} |"
        for name, field in model["properties"].items()
    ]
    title = f"`{path}`" if path else "The whole document"
    head = ["| field | what may stand there | left out | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {title}", "", _meaning(model), "", *head, *rows, ""])


def _meaning(part: Schema) -> str:
    return " ".join(part.get("description", "").split()).replace("|", "\\|")


def _default(field: Schema, *, required: bool) -> str:
    if required:
        return "required"
    default = field.get("default")
    if default is None or isinstance(default, dict):
        return ""
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _alternatives(field: Schema) -> list[Schema]:
    """What may stand there but nothing."""
    return [part for part in field.get("anyOf", [field]) if part.get("type") != "null"]


def _allowed(path: str, name: str, field: Schema) -> str:
    here = f"{path}.{name}" if path else name
    return " or ".join(_words(here, part) for part in _alternatives(field))


def _words(here: str, part: Schema) -> str:
    if "$ref" in part:
        return f"[fields](#{_anchor(here)})"
    if "const" in part or "enum" in part:
        return ", ".join(f"`{value}`" for value in part.get("enum", [part.get("const")]))
    match part["type"]:
        case "array":
            words = "list of " + _words(f"{here}[]", part["items"]).replace("text", "texts")
            words = words.replace("number", "numbers")
            least, most = part.get("minItems", 0), part.get("maxItems")
            return f"{words}, {_span(least, most)}" if most else words
        case "object":
            return f"names with a {_words(here, part['additionalProperties'])} each"
        case "integer" | "number" as kind:
            return f"{'whole number' if kind == 'integer' else kind} {_range(part)}"
    return "text"


def _range(part: Schema) -> str:
    above, least = part.get("exclusiveMinimum"), part.get("minimum")
    below, most = part.get("exclusiveMaximum"), part.get("maximum")
    ends = [
        f"above {above:g}" if above is not None else "",
        f"from {least:g}" if least is not None else "",
        f"below {below:,}" if below is not None else "",
        f"to {most:,.10g}" if most is not None else "",
    ]
    return " ".join(end for end in ends if end)


def _span(least: int, most: int) -> str:
    return f"{most:,}" if least == most else f"{least} to {most:,}"


def _anchor(path: str) -> str:
    """As MkDocs and GitHub make it of a title in code."""
    return "".join(c for c in path.lower() if c.isalnum() or c in "-_")


if __name__ == "__main__":
    PAGE.write_text(page())
