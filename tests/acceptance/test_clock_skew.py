"""A real controller and real workers, whose clock and the store's are an hour apart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.fleet import Fleet, picture
from tests.s3_gate import s3_gate

pytestmark = pytest.mark.timeout(900)

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR], ids=["store ahead", "store behind"])
def test_a_deadline_of_half_an_hour_bears_clocks_that_are_an_hour_apart(fleet: Fleet, ahead: timedelta) -> None:
    fleet.put("catalog/one.jpg", picture(seed=1))
    with s3_gate(fleet.s3.endpoint_url) as gate:
        gate.ahead = ahead
        fleet.environment = {**fleet.environment, "STYLEFLEET_S3_ENDPOINT": gate.url}
        fleet.submit("spring", run={"deadline": "30m"})
        fleet.start()
        status = fleet.wait("spring", "Succeeded")
        fleet.stop()
    for name in ("startedAt", "finishedAt"):
        by_the_stores_clock = datetime.now(UTC) + ahead
        assert abs(datetime.fromisoformat(status[name]) - by_the_stores_clock) < HOUR / 2
