"""What the documents say is what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from typer.testing import CliRunner

from stylefleet import doctor, doctor_cluster, settings
from stylefleet.cli import options
from stylefleet.cli.main import app
from stylefleet.manifest import json_schema

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_committed_schema_is_the_one_that_the_models_give() -> None:
    committed = json.loads((ROOT / "docs/stylejob.schema.json").read_text())
    assert committed == json_schema(), "run: stylefleet schema > docs/stylejob.schema.json"


def test_every_variable_that_the_code_reads_is_in_the_readme_and_the_reverse() -> None:
    pattern = re.compile(r"\b(?:STYLEFLEET|AWS|JOB|TF)_[A-Z0-9_]+\b")
    read = {name for module in (settings, options) for name in pattern.findall(Path(module.__file__).read_text())}
    told = set(pattern.findall(README))
    credentials = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert read - told == set()
    assert told - read - credentials == set()


def test_every_command_in_the_readme_exists() -> None:
    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    names |= {group.name for group in app.registered_groups if group.name}
    told = set(re.findall(r"(?m)^(?:\.venv/bin/)?stylefleet ([a-z]+)", README))
    assert told <= names
    assert told, "the README shows commands"


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))
    told = set(re.findall(r"`?make ([a-z]+)", README)) - {"in"}
    assert {"demo", "test"} <= told <= targets


def test_every_command_has_an_example_in_its_help() -> None:
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        if name == "worker":
            continue  # started by the cluster, not by people
        text = CliRunner().invoke(app, [name, "--help"]).output
        assert f"Example: {'STYLEFLEET_BUCKET' if name == 'controller' else f'stylefleet {name}'}" in text, name


def test_every_claim_of_the_threat_model_names_tests_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    threats = text.partition("## Threats")[2].partition("\n## ")[0]
    rows = [line for line in threats.splitlines() if line.startswith("| ") and not line.startswith("| could |")]
    assert len(rows) > 20
    for row in rows:
        could, stops, tests = (cell.strip() for cell in row.strip("|").split(" | "))
        assert could
        assert stops
        named = re.findall(r"`([^`]+)`", tests)
        assert named, f"no test for: {could}"
        for place in named:
            path, _, name = place.partition("::")
            assert re.search(rf"(?m)^def {name}\(", (ROOT / path).read_text()), place


def test_every_file_that_the_threat_model_points_to_exists() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "SECURITY.md").read_text()):
        assert (ROOT / target).exists(), target


def test_every_check_of_the_doctor_is_in_its_page_and_the_reverse() -> None:
    table = re.findall(r"(?m)^\| (`.+?) \|", (ROOT / "docs/doctor.md").read_text())
    told = {id for cell in table for id in re.findall(r"`([a-z-]+)`", cell)}
    assert told == {"settings", *doctor.STORE_IDS, *doctor_cluster.CLUSTER_IDS}


def test_every_test_that_the_page_on_reliability_names_is_there() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    named = set(re.findall(r"`(tests/[\w/.]+)`", page))
    assert len(named) > 10
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
