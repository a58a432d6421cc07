from __future__ import annotations

import json
from typing import Any

import pytest

from stylefleet.terms import Terms, terms_from_json, terms_of, terms_to_json
from tests.builders import make_manifest


def terms(*, tasks: int = 1000, **run: object) -> Terms:
    return terms_of(make_manifest(run=run).spec.run, tasks=tasks)


def test_without_a_word_a_run_is_normal_and_never_ended_early() -> None:
    assert terms() == Terms(priority="normal", deadline_seconds=None, failures_max=None)


@pytest.mark.parametrize(("deadline", "seconds"), [("1m", 60), ("90m", 5400), ("6h", 21600), ("2d", 172800)])
def test_a_deadline_is_counted_in_seconds(deadline: str, seconds: int) -> None:
    assert terms(deadline=deadline).deadline_seconds == seconds


@pytest.mark.parametrize(
    ("budget", "tasks", "most"),
    [
        (0, 1000, 0),
        (10, 1000, 10),
        (10, 5, 10),
        ("1%", 1000, 10),
        ("1%", 1099, 10),
        ("1%", 99, 0),
        ("0%", 1000, 0),
        ("100%", 7, 7),
        ("0.0001%", 1_000_000, 1),
        ("29%", 100, 29),
        ("0.29%", 10_000, 29),
        ("50%", 0, 0),
    ],
)
def test_a_share_is_of_the_pictures_that_the_run_computes_and_exact(budget: object, tasks: int, most: int) -> None:
    assert terms(tasks=tasks, maxFailures=budget).failures_max == most


@pytest.mark.parametrize(
    "found", [Terms(), Terms(priority="high", parallelism_min=3, deadline_seconds=60, failures_max=0)]
)
def test_terms_are_read_back(found: Terms) -> None:
    assert terms_from_json(json.loads(json.dumps(terms_to_json(found)))) == found


def test_what_an_earlier_version_did_not_write_has_its_default() -> None:
    assert terms_from_json({}) == Terms()


@pytest.mark.parametrize(
    "data",
    [
        {"deadline_seconds": "6h"},
        {"parallelism_min": "2"},
        {"failures_max": True},
        {"failures_max": -1},
        {"deadline_seconds": 0.5},
        {"x": 1},
    ],
)
def test_what_are_no_terms_is_a_plain_error(data: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        terms_from_json(data)
