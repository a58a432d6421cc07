"""A store whose clock is an hour off: its answers are those of a real server with all times shifted."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from stylefleet.local_s3 import LocalS3
from stylefleet.naming import Ref
from stylefleet.store_s3 import S3Store, make_client
from tests.s3_gate import s3_gate

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("ahead", [HOUR, -HOUR], ids=["ahead", "behind"])
def test_the_time_that_a_store_tells_is_that_of_its_objects_and_not_this_machines(
    s3_server: LocalS3, s3_bucket: str, ahead: timedelta
) -> None:
    ref = Ref(s3_bucket, uuid.uuid4().hex)
    with s3_gate(s3_server.endpoint_url) as gate:
        gate.ahead = ahead
        store = S3Store(make_client(gate.url, None))
        store.put(ref, b"")
        told = store.now()
        (listed,) = store.list(ref)
        for modified_at in (listed.modified_at, store.get(ref).modified_at):
            assert abs(told - modified_at) < HOUR / 6
        assert abs(told - datetime.now(UTC)) > HOUR / 2
