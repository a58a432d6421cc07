"""YAML 1.2 (and so JSON) to plain data, with the line and column of every value.

A document that comes from a bucket is hostile until proven otherwise: aliases (the "billion laughs" bomb),
duplicate keys, tags, several documents, deep nesting and large files are refused, each with its place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

from stylefleet.errors import FieldError, ManifestInvalid

BYTES_MAX = 1024 * 1024
DEPTH_MAX = 20
_KEY_SHOWN_MAX = 80
"""Characters; a damaged file may have keys of a megabyte, and every error names its place."""

Path = tuple[str | int, ...]


class _CoreSchemaLoader(yaml.CSafeLoader):
    """The YAML 1.2 core schema: `1e3` is a number, `no`, `12:30` and `2026-01-01` are strings (unlike YAML 1.1)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's hook


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", [*"tTfF"]),
    ("int", r"[-+]?[0-9]+", [*"-+0123456789"]),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        [*"-+.0123456789"],
    ),
):
    _CoreSchemaLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})$"), _first)


@dataclass(frozen=True, kw_only=True)
class Document:
    """A parsed document."""

    data: object
    """Plain dict, list, str, int, float, bool and None."""
    positions: dict[Path, tuple[int, int]] = field(default_factory=dict)
    """1-based line and column by path; a key's place where the value is a mapping entry."""

    def position(self, path: Path) -> tuple[int, int] | None:
        """The place of `path`, or of its nearest parent that stands in the document."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.positions:
                return self.positions[path[:length]]
        return None


def path_text(path: Path) -> str:
    """`spec.styles[0].weight` for `("spec", "styles", 0, "weight")`; a key that is no name is cut."""
    text = ""
    for part in path:
        name = part if isinstance(part, int) or len(part) <= _KEY_SHOWN_MAX else part[:_KEY_SHOWN_MAX] + "..."
        text += f"[{name}]" if isinstance(name, int) else f".{name}" if text else name
    return text


def parse(data: bytes) -> Document:
    """Parse one document; raises ManifestInvalid that names the first fault's line and column."""
    if len(data) > BYTES_MAX:
        raise _invalid("the manifest is too large", found=f"{len(data)} bytes", allowed=f"up to {BYTES_MAX} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _invalid("the manifest is not UTF-8 text", found=f"byte {error.start}: {error.reason}") from error
    text = _with_whole_characters(text)
    loader = _CoreSchemaLoader(text)
    try:
        _refuse_bombs(text)
        root = loader.get_single_node()
        if root is None:
            raise _invalid("the manifest is empty")
        positions: dict[Path, tuple[int, int]] = {(): _place(root)}
        return Document(data=_build(loader, root, (), positions), positions=positions)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else None
        raise _invalid(f"the manifest is not YAML: {error.problem or error.context}", place=place) from error
    except yaml.reader.ReaderError as error:
        raise _invalid(f"the manifest is not YAML: {error.reason}", found=f"character {error.position}") from error
    finally:
        loader.dispose()


_ESCAPE = re.compile(r"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|.)", re.DOTALL)


def _with_whole_characters(text: str) -> str:
    """JSON may write a character beyond U+FFFF as two escapes; YAML knows them as one only."""
    if not text.lstrip().startswith("{"):
        return text

    def whole(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        return f"\\U{0x10000 + ((int(match[1], 16) - 0xD800) << 10) + int(match[2], 16) - 0xDC00:08X}"

    return _ESCAPE.sub(whole, text)


def _refuse_bombs(text: str) -> None:
    """Before composing, which expands aliases and recurses into nested nodes."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        place = (event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _invalid("anchors (&) and aliases (*) are not allowed", place=place)
        tag = getattr(event, "tag", None)
        if tag is not None:
            # Also the harmless ones: `!!int abc` would only fail later, in a place that does not know where it is.
            raise _invalid("tags (!) are not allowed", place=place, found=str(tag))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_MAX:
            raise _invalid("the manifest is nested too deeply", place=place, allowed=f"{DEPTH_MAX} levels")


def _build(loader: yaml.CSafeLoader, node: yaml.Node, path: Path, positions: dict[Path, tuple[int, int]]) -> object:
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if key is None:
                raise _invalid("a key must be plain text", path=path, place=_place(key_node))
            if key in mapping:
                raise _invalid("the key stands twice", path=(*path, key), place=_place(key_node))
            positions[*path, key] = _place(key_node)
            mapping[key] = _build(loader, value_node, (*path, key), positions)
        return mapping
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            positions[*path, index] = _place(item)
            items.append(_build(loader, item, (*path, index), positions))
        return items
    return _scalar(loader, node, path)


def _scalar(loader: yaml.CSafeLoader, node: yaml.Node, path: Path) -> object:
    if node.tag.endswith(":int"):
        # Not PyYAML's constructor: it reads 010 as octal and 1_000 as a number, as YAML 1.1 does.
        if len(node.value) > 20:
            raise _invalid("the number is too long", path=path, place=_place(node))
        return int(node.value)
    if node.tag.endswith(":float"):
        return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return loader.construct_object(node)


def _place(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _invalid(
    message: str, *, path: Path = (), place: tuple[int, int] | None = None, found: str = "", allowed: str = ""
) -> ManifestInvalid:
    line, column = place or (None, None)
    error = FieldError(path=path_text(path), message=message, found=found, allowed=allowed, line=line, column=column)
    return ManifestInvalid([error])
