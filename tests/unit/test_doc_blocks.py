"""What the documents show can be used as it stands: manifests, commands, links."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import typer
import yaml
from typer.core import TyperGroup

from stylefleet import manifest as manifests
from stylefleet.cli.main import app
from stylefleet.manifest import Manifest

ROOT = Path(__file__).parents[2]
_TRACKED = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
LISTED = subprocess.run(_TRACKED, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
PAGES = [ROOT / line for line in LISTED if (ROOT / line).exists()]
COMMENT = re.compile(r"(?m)(?:^|(?<=\s))#.*$")
FENCED = re.compile(r"(?ms)^ *```(\w*)[^\n]*\n(.*?)^ *```")
IN_LINE = re.compile(r"(?<!`)`stylefleet ([^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"(?m)^#+ (.+)$")
ROOT_COMMAND = typer.main.get_command(app)
USAGE_ERROR = typer.BadParameter.__bases__[0]
"""Typer has a click of its own, and no public name for this."""


def place(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(language: str) -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for found, text in FENCED.findall(page.read_text()):
            if found == language:
                yield page, text


def numbered(pairs: Iterator[tuple[Path, str]]) -> list[object]:
    return [
        pytest.param(text, id=f"{place(page)}-{number}")
        for page, found in itertools.groupby(pairs, key=lambda pair: pair[0])
        for number, (_, text) in enumerate(found)
    ]


# --- manifests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", numbered(blocks("yaml")))
def test_every_manifest_is_valid(text: str) -> None:
    for document in yaml.safe_load_all(text):
        if set(document) == {"spec"}:
            places = {"content": {"prefix": "s3://shop/photos/"}, "output": {"prefix": "s3://shop/new/"}}
            if "styles" in document["spec"]:
                whole = {"apiVersion": "stylefleet.dev/v1", "kind": "StyleJob", "metadata": {"name": "shown"}}
                Manifest.model_validate({**whole, "spec": {**places, **document["spec"]}})
                continue
        if document.get("kind") == "StyleJob":
            manifests.parse(text.encode(), name=document["metadata"]["name"])


def test_every_recipe_of_the_cookbook_is_a_whole_manifest() -> None:
    recipes = [yaml.safe_load(text) for page, text in blocks("yaml") if page.name == "recipes.md"]
    assert len(recipes) >= 5
    assert {recipe["kind"] for recipe in recipes} == {"StyleJob"}


def test_the_reference_is_what_its_script_makes_of_the_models() -> None:
    page = ROOT / "docs" / "manifest.md"
    assert page.read_text() == script("make_manifest").page(), "run: python docs/make_manifest.py"


def test_every_field_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "manifest.md").read_text()
    schema = manifests.json_schema()
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)
    names = {name for model in (schema, *definitions.values()) for name in model["properties"]}
    assert {name for name in names if f"| `{name}` |" not in page} == set()


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- commands -------------------------------------------------------------------------------------------------------


def commands_in(text: str) -> Iterator[list[str]]:
    """The arguments of each call of stylefleet in a block of shell."""
    lexer = shlex.shlex(COMMENT.sub("", text.replace("\\\n", " ")), posix=True, punctuation_chars="();<>|&\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t\r", "", True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("();<>|&\n"):
            yield from _called(words)
            words = []
        else:
            words.append(word)


def _called(words: list[str]) -> Iterator[list[str]]:
    while words and re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", words[0]):
        words = words[1:]
    if words and words[0].rpartition("/")[2] == "stylefleet":
        yield words[1:]


def parsed(arguments: list[str]) -> None:
    """Raises click's UsageError for a command or an option that is not there, or a value that cannot be."""
    command, context, rest = ROOT_COMMAND, ROOT_COMMAND.make_context("stylefleet", list(arguments)), arguments
    while isinstance(command, TyperGroup):
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, found.make_context(name, list(rest), parent=context)


SHOWN = [(page, " ".join(call)) for page, text in blocks("sh") for call in commands_in(text)]


@pytest.mark.parametrize("call", numbered(iter(SHOWN)))
def test_every_command_can_be_called_as_it_is_shown(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEFLEET_BUCKET", "shop")
    parsed(call.split())


def test_a_command_or_option_that_is_not_there_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STYLEFLEET_BUCKET", "shop")
    assert list(commands_in("A=b .venv/bin/stylefleet wait a && echo x | stylefleet \\\n  top --once  # all")) == [
        ["wait", "a"],
        ["top", "--once"],
    ]
    for wrong in (["sumbit", "a.yaml"], ["submit", "a.yaml", "--wiat"], ["submit"], ["doctor", "--gpus", "many"]):
        with pytest.raises(USAGE_ERROR):
            parsed(wrong)


@pytest.mark.parametrize("call", numbered((page, call) for page in PAGES for call in IN_LINE.findall(page.read_text())))
def test_every_command_in_a_sentence_has_its_name_and_options(call: str) -> None:
    command, words = ROOT_COMMAND, call.split()
    while isinstance(command, TyperGroup) and not words[0].startswith("--"):
        assert words[0] in command.commands, call
        command = command.commands[words[0]]
        words = [*words[1:], ""]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)} <= options


# --- Python ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", numbered(blocks("python")))
def test_every_python_block_is_python_and_imports_what_is_there(text: str) -> None:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "stylefleet":
            # Without importing TensorFlow: the engine's names are those that it lists.
            source = (ROOT / "service" / f"{node.module}".replace(".", "/") / "__init__.py").read_text()
            assert [alias.name for alias in node.names if f'"{alias.name}"' not in source] == []


# --- links ----------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    text = FENCED.sub("", page.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=place)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in LINK.findall(FENCED.sub("", page.read_text())):
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        file = page.parent / path if path else page
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in anchors(file)):
            broken.append(target)
    assert broken == []
