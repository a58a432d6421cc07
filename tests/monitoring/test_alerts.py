"""promtool says that the rules are right, that each alert fires when it must, and that it is silent when it must be."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.conftest import Json
from tests.monitoring.alert_cases import CASES, Case
from tests.requirements import absent

DAYS = ("24h", "25h", "26h", "73h")


def promtool(*arguments: str | Path) -> tuple[int, str]:
    if shutil.which("promtool") is None:
        absent("promtool is not installed; it comes with Prometheus")
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=120)
    return done.returncode, done.stdout + done.stderr


def judged(case: Case, rules: Json, folder: Path) -> tuple[int, str]:
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    expected = [
        {"exp_labels": {"namespace": "art", **labels}, "exp_annotations": told(case, labels["severity"], rules)}
        for labels in case.fires
    ]
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
        "alert_rule_test": [{"alertname": case.alert, "eval_time": case.at, "exp_alerts": expected}],
    }
    # Days take long by the minute.
    every = "5m" if case.at.startswith(DAYS) else "1m"
    document = {"rule_files": ["rules.yaml"], "evaluation_interval": every, "tests": [test]}
    (folder / "test.yaml").write_text(yaml.safe_dump(document))
    return promtool("test", "rules", folder / "test.yaml")


def told(case: Case, severity: str, rules: Json) -> dict[str, str]:
    """The texts of the alert, with what the case shows in them."""
    (annotations,) = [
        rule["annotations"]
        for group in rules["groups"]
        for rule in group["rules"]
        if (rule.get("alert"), rule.get("labels", {}).get("severity")) == (case.alert, severity)
    ]
    shows = iter(case.shows)
    description = re.sub(r"\{\{.*?\}\}", lambda _: next(shows), annotations["description"])
    assert list(shows) == [], "the description shows less"
    return {**annotations, "description": description}


def named(case: Case) -> str:
    return f"{case.alert}: {case.says}"


def test_promtool_takes_the_rules(rules: Json, tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    code, said = promtool("check", "rules", tmp_path / "rules.yaml")
    assert code == 0, said
    assert "FAILED" not in said


@pytest.mark.parametrize("case", CASES, ids=named)
def test_an_alert_fires_when_it_must_and_only_then(case: Case, rules: Json, tmp_path: Path) -> None:
    code, said = judged(case, rules, tmp_path)
    assert code == 0, said


def test_every_alert_has_a_case_that_fires_and_one_that_must_not(rules: Json) -> None:
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule}
    assert {case.alert for case in CASES if case.fires} == alerts
    assert {case.alert for case in CASES if not case.fires} == alerts
