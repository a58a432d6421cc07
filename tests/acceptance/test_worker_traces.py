"""A real worker that sends spans of its pictures, or would like to."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest

from stylefleet.receipt import STAGES
from tests.acceptance.one_shard import SHORT, Shard, two_pictures
from tests.builders import RUN
from tests.collector import collector

pytestmark = pytest.mark.timeout(900)


def test_every_picture_is_a_trace_of_its_stages(shard: Shard) -> None:
    shard.plan({**two_pictures(), "no_picture.png": b"no picture"}, SHORT)
    with collector() as found:
        attempt = shard.start(OTEL_EXPORTER_OTLP_ENDPOINT=found.url)
        assert attempt.exit_code(300) == 0
    pictures = found.pictures()
    assert set(pictures) == {"0.png", "1.png", "no_picture.png"}
    assert pictures["no_picture.png"].error.startswith("unsupported_format: ")
    assert [span.name for span in found.inside(pictures["no_picture.png"])] == ["fetch"]
    for name in ("0.png", "1.png"):
        picture, stages = pictures[name], found.inside(pictures[name])
        assert [span.name for span in stages] == list(STAGES)
        assert picture.attributes.items() >= {"run": RUN, "shard": 0, "attempt": "attempt-1"}.items()
        assert picture.attributes["content"] == str(shard.receipts()[name].content)
        assert [picture.began <= span.began <= span.ended <= picture.ended for span in stages] == [True] * len(STAGES)
        assert all(before.ended <= after.began for before, after in pairwise(stages))
    assert {span.resource["service.name"] for span in found.spans} == {"stylefleet-worker"}


def test_a_collector_that_is_away_costs_no_picture_and_is_told_in_the_log(shard: Shard) -> None:
    shard.plan(two_pictures(), SHORT)
    attempt = shard.start(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert attempt.exit_code(300) == 0
    assert len(shard.receipts()) == 2
    said = attempt.events("library_message")
    assert said
    assert {line["library"].partition(".")[0] for line in said} == {"opentelemetry"}
    plain = [line for line in attempt.log_path.read_text().splitlines() if "opentelemetry" in line]
    lines = [json.loads(line) for line in plain]
    assert {(line["component"], line["run"], line["attempt"]) for line in lines} == {("worker", RUN, "attempt-1")}
