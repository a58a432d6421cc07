"""Each policy by a table of cases."""

from __future__ import annotations

import pytest

from stylefleet.policies.deadline import deadline_exceeded
from stylefleet.policies.failure_budget import too_many_failures

HOUR = 3600


@pytest.mark.parametrize(
    ("deadline_seconds", "age_seconds", "said"),
    [
        (None, 10**9, None),
        (6 * HOUR, 0, None),
        (6 * HOUR, 6 * HOUR - 0.1, None),
        (6 * HOUR, 6 * HOUR, "the deadline of 6 h after submission has passed"),
        (6 * HOUR, 10**9, "the deadline of 6 h after submission has passed"),
        (6 * HOUR, -HOUR, None),
        (90 * 60, 90 * 60, "the deadline of 90 min after submission has passed"),
        (48 * HOUR, 48 * HOUR, "the deadline of 2 d after submission has passed"),
        (0, 0, "the deadline of 0 s after submission has passed"),
    ],
)
def test_a_run_ends_at_its_deadline(deadline_seconds: int | None, age_seconds: float, said: str | None) -> None:
    ending = deadline_exceeded(deadline_seconds=deadline_seconds, age_seconds=age_seconds)
    assert (ending and ending.because) == said
    assert ending is None or ending.reason == "DeadlineExceeded"


@pytest.mark.parametrize(
    ("failures_max", "failed", "lost", "said"),
    [
        (None, 900, 100, None),
        (0, 0, 0, None),
        (0, 1, 0, "1 of 5,000 pictures failed (1 truncated), more than the 0 that maxFailures allows"),
        (10, 10, 0, None),
        (10, 5, 5, None),
        (1000, 1001, 0, "1,001 of 5,000 pictures failed (1 truncated), more than the 1,000 that maxFailures allows"),
        (
            10,
            0,
            11,
            "11 of 5,000 pictures failed (11 because their shard did: OOMKilled), more than the 10 that maxFailures "
            "allows",
        ),
        (
            10,
            6,
            5,
            "11 of 5,000 pictures failed (1 truncated; 5 because their shard did: OOMKilled), more than the 10 that "
            "maxFailures allows",
        ),
        (5000, 5000, 0, None),
    ],
)
def test_a_run_ends_when_one_more_picture_failed_than_it_bears(
    failures_max: int | None, failed: int, lost: int, said: str | None
) -> None:
    ending = too_many_failures(
        failures_max=failures_max,
        failed=failed,
        lost=lost,
        tasks=5000,
        causes="1 truncated" if failed else "",
        lost_because="OOMKilled",
    )
    assert (ending and ending.because) == said
    assert ending is None or ending.reason == "TooManyFailures"
