from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from stylefleet import status
from stylefleet.errors import FieldError
from stylefleet.failures import Failure, FailurePages
from stylefleet.price import Cost
from stylefleet.status import Ending, Phase, Status
from stylefleet.tally import Tally
from tests.builders import FACTS, NOW, RUN, failed_receipt, make_plan, make_receipt

FULL = Status(
    name="spring",
    run=RUN,
    phase=Phase.RUNNING,
    reason="StoreUnavailable",
    message='held up: "é"\u2028',
    errors=(
        FieldError(path="spec", message="bad", found="x", allowed="y", line=3, column=4),
        FieldError(path="", message="m"),
    ),
    ending=Ending(reason="TooManyFailures", because="2 of 10 failed"),
    pictures=10,
    skipped=1,
    done=5,
    failed=2,
    waiting_because="no GPU",
    started_at=NOW,
    finished_at=NOW + timedelta(hours=1),
    updated_at=NOW + timedelta(hours=2),
    eta_seconds=90,
    cost=Cost(currency="EUR", estimated=1.25, actual=0.5),
    output_prefix="s3://shop/restyled/",
    report="s3://service/runs/spring/report.json",
)


@pytest.mark.parametrize("written", [FULL, Status(name="a", run="", phase=Phase.REJECTED)])
def test_a_status_is_read_back_with_every_field(written: Status) -> None:
    assert status.from_json(status.to_json(written)) == written


def test_the_status_of_an_earlier_version_has_no_cost() -> None:
    document = json.loads(status.to_json(FULL))
    del document["cost"]
    assert status.from_json(json.dumps(document).encode()) == replace(FULL, cost=None)


def test_times_are_whole_seconds_and_so_is_the_estimate() -> None:
    document = json.loads(status.to_json(replace(FULL, started_at=NOW.replace(microsecond=999), eta_seconds=1.6)))
    assert document["startedAt"] == "2026-03-01T12:00:00+00:00"
    assert document["etaSeconds"] == 2


def test_progress_adds_up() -> None:
    progress = json.loads(status.to_json(FULL))["progress"]
    assert progress == {"pictures": 10, "skipped": 1, "done": 5, "failed": 2, "pending": 2}


def test_a_final_phase_is_one_that_nothing_leaves() -> None:
    assert {p for p in Phase if not p.final} == {Phase.PENDING, Phase.RUNNING, Phase.PAUSED}


@pytest.mark.parametrize(
    "changes",
    [
        {"updated_at": NOW + timedelta(days=1)},
        {"eta_seconds": 5.0},
        {"eta_seconds": None},
        {"started_at": NOW.replace(microsecond=5)},
        {"finished_at": (NOW + timedelta(hours=1)).replace(microsecond=5)},
    ],
    ids=str,
)
def test_the_time_of_writing_and_the_estimate_are_no_news(changes: dict[str, object]) -> None:
    assert replace(FULL, **changes).same_as(FULL)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {"run": "other"},
        {"phase": Phase.SUCCEEDED},
        {"reason": ""},
        {"message": ""},
        {"errors": ()},
        {"ending": None},
        {"done": 6},
        {"failed": 3},
        {"waiting_because": ""},
        {"started_at": NOW + timedelta(seconds=1)},
        {"finished_at": None},
        {"report": ""},
    ],
    ids=str,
)
def test_anything_else_is_news(changes: dict[str, object]) -> None:
    assert not replace(FULL, **changes).same_as(FULL)  # type: ignore[arg-type]


def test_the_first_status_is_news() -> None:
    assert not FULL.same_as(None)


def test_what_was_written_is_no_news_after_it_is_read_back() -> None:
    exact = replace(FULL, started_at=NOW.replace(microsecond=123_456), eta_seconds=12.3)
    assert exact.same_as(status.from_json(status.to_json(exact)))


def test_a_status_of_an_earlier_version_has_no_ending() -> None:
    document = json.loads(status.to_json(FULL))
    del document["ending"]
    assert status.from_json(json.dumps(document).encode()) == replace(FULL, ending=None)


@pytest.mark.parametrize("ending", ["soon", {}, {"reason": "Boredom", "because": ""}])
def test_what_is_no_ending_is_a_plain_error(ending: object) -> None:
    document = json.loads(status.to_json(FULL)) | {"ending": ending}
    with pytest.raises((KeyError, TypeError, ValueError)):
        status.from_json(json.dumps(document).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b"7", b'{"name": "x", "phase": "Dancing"}', b"\xff"])
def test_what_is_no_status_is_a_plain_error(data: bytes) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        status.from_json(data)


@pytest.mark.parametrize(
    ("ended", "pending", "elapsed", "estimate"),
    [(10, 20, 60, 120.0), (10, 0, 60, 0.0)],
)
def test_the_estimate_is_the_mean_pace_so_far(ended: int, pending: int, elapsed: int, estimate: float) -> None:
    now = NOW + timedelta(seconds=elapsed)
    found = status.eta_seconds(ended=ended, pending=pending, seconds_per_task=1e6, started_at=NOW, now=now)
    assert found == estimate


@pytest.mark.parametrize(("elapsed", "estimate"), [(0, 30.0), (10, 20.0), (100, 0.0)])
def test_before_the_first_picture_ended_the_estimate_is_the_prediction(elapsed: int, estimate: float) -> None:
    now = NOW + timedelta(seconds=elapsed)
    assert status.eta_seconds(ended=0, pending=10, seconds_per_task=3.0, started_at=NOW, now=now) == estimate


@pytest.mark.parametrize("ended", [0, 10])
@pytest.mark.parametrize("elapsed", [0, -5, -3600])
def test_where_the_clock_was_set_back_the_estimate_is_the_prediction(ended: int, elapsed: int) -> None:
    now = NOW + timedelta(seconds=elapsed)
    assert status.eta_seconds(ended=ended, pending=10, seconds_per_task=3.0, started_at=NOW, now=now) == 30.0


def test_the_report_says_what_came_of_every_picture() -> None:
    plan, tally = make_plan(shards=(3, 2), skipped=4), Tally([3, 2])
    failure = Failure(content="s3://shop/catalog/b.jpg", reason="too_small", message="8 px", attempt="a-1")
    with_gpu = replace(FACTS, gpus=1)
    tally.add(
        make_receipt(
            "catalog/a.jpg", stage_seconds={"fetch": 1.0, "optimize": 3.0}, worker_seconds=4.0, engine=with_gpu
        )
    )
    failed = failed_receipt("catalog/b.jpg", reason="too_small", message="8 px")
    tally.add(replace(failed, worker_seconds=1.5))
    document = json.loads(
        status.report_json(
            plan,
            tally,
            phase=Phase.PARTIALLY_SUCCEEDED,
            reason="DeadlineExceeded",
            message="some failed",
            missing_by_shard={1: 2, 0: 1},
            failures=FailurePages(pages=1, failures=4, first=(failure,)),
            finished_at=NOW + timedelta(minutes=5),
            cost=Cost(currency="EUR", estimated=None, actual=0.25),
        )
    )
    assert document["totals"] == {"pictures": 9, "skipped": 4, "done": 1, "failed": 4}
    assert document["failuresByReason"] == {"too_small": 1, "shard_failed": 3}
    assert document["failures"] == {
        "first": [{"content": "s3://shop/catalog/b.jpg", "reason": "too_small", "message": "8 px", "attempt": "a-1"}],
        "pages": 1,
        "prefix": f"runs/spring/{RUN}/failures/",
    }
    assert document["unfinishedShards"] == {"indexes": "0,1", "pictures": 3}
    assert document["stageSeconds"] == {
        "fetch": 1.25,
        "decode": 0.0,
        "style_target": 0.0,
        "optimize": 3.0,
        "encode": 0.0,
        "store": 0.0,
    }
    assert document["optimizeShare"] == round(3 / 4.25, 4)
    assert (document["workerSeconds"], document["gpuSeconds"]) == (5.5, 4.0)
    assert document["cost"] == {"currency": "EUR", "estimated": None, "actual": 0.25}
    assert [e["backbone"] for e in document["engines"]] == ["vgg16-hed"]
    assert (document["phase"], document["reason"]) == ("PartiallySucceeded", "DeadlineExceeded")
    assert document["plannedAt"] == "2026-03-01T12:00:00+00:00"
    assert document["finishedAt"] == "2026-03-01T12:05:00+00:00"
    assert document["receipts"] == f"runs/spring/{RUN}/receipts/"


def test_a_report_of_nothing_computed_divides_by_nothing() -> None:
    document = json.loads(
        status.report_json(
            make_plan(shards=(), skipped=2),
            Tally([]),
            phase=Phase.SUCCEEDED,
            reason="",
            message="",
            missing_by_shard={},
            failures=FailurePages(pages=0, failures=0, first=()),
            finished_at=NOW,
        )
    )
    assert document["optimizeShare"] is None
    assert document["cost"] is None
    assert document["failuresByReason"] == {}
    assert document["totals"] == {"pictures": 2, "skipped": 2, "done": 0, "failed": 0}
