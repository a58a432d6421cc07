from __future__ import annotations

import contextlib
import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stylefleet import yaml_positions
from stylefleet.errors import FieldError, ManifestInvalid
from stylefleet.yaml_positions import BYTES_MAX, DEPTH_MAX, parse, path_text


def only_error(data: bytes | str) -> FieldError:
    with pytest.raises(ManifestInvalid) as caught:
        parse(data if isinstance(data, bytes) else data.encode())
    (error,) = caught.value.errors
    return error


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0),
        ("1.0e+3", 1000.0),
        ("1E-2", 0.01),
        (".5", 0.5),
        ("-2.", -2.0),
        ("7", 7),
        ("+7", 7),
        ("-7", -7),
        ("010", 10),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("no", "no"),
        ("No", "No"),
        ("on", "on"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'true'", "true"),
        ('"1e3"', "1e3"),
        ("e3", "e3"),
        ("1e", "1e"),
        (".", "."),
        (".inf", math.inf),
        ("-.Inf", -math.inf),
        ("|\n  1\n", "1\n"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse(f"a: {text}".encode()).data
    assert found == {"a": value}
    assert type(found["a"]) is type(value)  # type: ignore[index]  # 1000 == 1000.0 and 1 == True


def test_not_a_number_is_a_float() -> None:
    found = parse(b"a: .nan").data
    assert math.isnan(found["a"])  # type: ignore[index]


def test_every_value_has_the_line_and_column_of_its_key_or_list_item() -> None:
    text = "metadata:\n  name: spring\nspec:\n  styles:\n    - image: a\n      weight: 2\n    - {image: b}\n"
    positions = parse(text.encode()).positions
    assert positions == {
        (): (1, 1),
        ("metadata",): (1, 1),
        ("metadata", "name"): (2, 3),
        ("spec",): (3, 1),
        ("spec", "styles"): (4, 3),
        ("spec", "styles", 0): (5, 7),
        ("spec", "styles", 0, "image"): (5, 7),
        ("spec", "styles", 0, "weight"): (6, 7),
        ("spec", "styles", 1): (7, 7),
        ("spec", "styles", 1, "image"): (7, 8),
    }


def test_what_is_missing_has_the_place_of_its_nearest_parent() -> None:
    document = parse(b"\n\na:\n  b: 1\n")
    assert document.position(("a", "c", 0)) == (3, 1)
    assert document.position(("z",)) == (3, 1)
    assert yaml_positions.Document(data=None).position(("a",)) is None


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    document = parse(b"\xef\xbb\xbfa: 1\n")
    assert document.data == {"a": 1}
    assert document.positions["a",] == (1, 1)


def test_windows_line_ends_count_as_one_line() -> None:
    assert parse(b"a: 1\r\nb: 2\r\n").positions["b",] == (2, 1)


def test_json_is_read_too_with_tabs_escapes_and_characters_beyond_the_basic_plane() -> None:
    data = {"a": [1, 2.5, None, True, "x\ty \\ud83d é 😀 \\\\"], "b": {}, "c": []}
    assert parse(json.dumps(data).encode()).data == data
    assert parse(json.dumps(data, indent="\t", ensure_ascii=False).encode()).data == data


def test_half_a_character_in_json_is_refused_with_its_place() -> None:
    error = only_error('{"a": "\\ud83d"}')
    assert (error.line, error.column) == (1, 10)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, 1, "the key stands twice"),
        ("a: {x: 1, 'x': 2}", 1, 11, "the key stands twice"),
        ("a: &one 1\nb: 2\n", 1, 4, "anchors (&) and aliases (*) are not allowed"),
        ("a: &one [1]\nb: *one\n", 1, 4, "anchors (&) and aliases (*) are not allowed"),
        ("a: *one\n", 1, 4, "anchors (&) and aliases (*) are not allowed"),
        ("a: !!python/object:os.system x", 1, 4, "tags (!) are not allowed"),
        ("a: !!int abc", 1, 4, "tags (!) are not allowed"),
        ("a: !!bool abc", 1, 4, "tags (!) are not allowed"),
        ("a: !own [1]", 1, 4, "tags (!) are not allowed"),
        ("--- !!set {a: 1}", 1, 5, "tags (!) are not allowed"),
        ("? [a, b]\n: 1", 1, 3, "a key must be plain text"),
        ("a: 1\n---\nb: 2\n", 2, 1, "the manifest is not YAML: but found another document"),
        ("a: [1\nb: 2", 2, 2, "the manifest is not YAML: did not find expected ',' or ']'"),
        ("a:\n\t- 1", 2, 1, "the manifest is not YAML: found character that cannot start any token"),
        ("a: 123456789012345678901", 1, 4, "the number is too long"),
    ],
)
def test_a_fault_is_told_with_its_line_and_column(text: str, line: int, column: int, message: str) -> None:
    error = only_error(text)
    assert (error.line, error.column, error.message) == (line, column, message)


def test_a_key_that_stands_twice_is_named_by_its_path() -> None:
    assert only_error("spec:\n  styles:\n    - {image: a, image: b}\n").path == "spec.styles[0].image"


@pytest.mark.parametrize("data", [b"", b"\n", b"# only a comment\n", b"\xef\xbb\xbf"])
def test_an_empty_manifest_is_told_as_such(data: bytes) -> None:
    assert only_error(data).message == "the manifest is empty"


def test_bytes_that_are_not_utf_8_are_refused_with_their_place() -> None:
    error = only_error(b"a: \xff\xfe")
    assert (error.message, error.found) == ("the manifest is not UTF-8 text", "byte 3: invalid start byte")


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x1b"])
def test_control_characters_are_refused(character: str) -> None:
    error = only_error(f"a: x{character}")
    assert error.message == "the manifest is not YAML: control characters are not allowed"
    assert error.found == "character 4"


def test_a_manifest_may_be_as_large_as_the_limit_and_not_a_byte_larger() -> None:
    filler = b"a: " + b"x" * (BYTES_MAX - 3)
    assert parse(filler).data == {"a": "x" * (BYTES_MAX - 3)}
    error = only_error(filler + b"x")
    assert error.message == "the manifest is too large"
    assert error.found == f"{BYTES_MAX + 1} bytes"


def test_nesting_is_allowed_down_to_the_limit_and_no_further() -> None:
    assert parse(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX).data
    error = only_error(b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1))
    assert (error.message, error.allowed) == ("the manifest is nested too deeply", f"{DEPTH_MAX} levels")


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_very_deep_nesting_is_refused_without_harm(opening: str) -> None:
    assert only_error(opening * 100_000).message == "the manifest is nested too deeply"


def test_the_billion_laughs_bomb_is_refused() -> None:
    lines = ["a0: &a0 [lol, lol]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    assert only_error("\n".join(lines)).line == 1


def test_a_key_of_any_length_leaves_its_path_readable() -> None:
    text = yaml_positions.path_text(("spec", "x" * 100_000, 0))
    assert text.startswith("spec.xxx")
    assert text.endswith("...[0]")
    assert len(text) < 100


def test_paths_read_as_a_user_would_write_them() -> None:
    assert path_text(("spec", "styles", 0, "weight")) == "spec.styles[0].weight"
    assert path_text(()) == ""


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda t: t.encode("utf-8", "surrogatepass")))
@example(b"!!int abc")
@example(b"!!null x: 1")
@example(b"!!float [1]")
@example(b"{")
def test_any_bytes_parse_or_are_invalid_and_nothing_else(data: bytes) -> None:
    with contextlib.suppress(ManifestInvalid):
        parse(data)


@given(st.text(alphabet="ab01.e-+:,[]{}&*!|>'\"%@`#?~ \n\t\\ud8/<=", max_size=60))
def test_anything_that_looks_like_yaml_parses_or_is_invalid_and_nothing_else(text: str) -> None:
    with contextlib.suppress(ManifestInvalid):
        parse(text.encode())


_PLAIN_DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)


@given(_PLAIN_DATA)
def test_whatever_json_can_say_is_read_back(data: object) -> None:
    text = json.dumps({"a": data})
    assert parse(text.encode()).data == json.loads(text)
