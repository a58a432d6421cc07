from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stylefleet.bucket_events import concerns_inbox, objects_in
from stylefleet.naming import Ref
from tests.bucket_messages import BUCKET, KEY, TEST_EVENT, by_eventbridge, by_minio, by_sns, s3_event

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["Records", "s3", "bucket", "object", "name", "key", "Type", "Message", "source", "detail"])
            | st.text(),
            inner | st.sampled_from(["Notification", "aws.s3"]),
        )
    ),
)


@pytest.mark.parametrize(
    "message",
    [
        s3_event(),
        s3_event(name="ObjectRemoved:DeleteMarkerCreated"),
        by_sns(s3_event()),
        by_eventbridge(),
        by_eventbridge(detail_type="Object Deleted"),
        by_sns(by_eventbridge()),
        by_minio(),
    ],
)
def test_the_object_is_found_in_each_form_that_reaches_a_queue(message: dict[str, Any]) -> None:
    assert objects_in(json.dumps(message)) == [Ref(BUCKET, KEY)]
    assert concerns_inbox(json.dumps(message), BUCKET)


def test_a_message_may_name_several_objects() -> None:
    both = {"Records": [*s3_event("catalog/a.jpg")["Records"], *s3_event("jobs/b.yaml")["Records"]]}
    assert [ref.key for ref in objects_in(json.dumps(both))] == ["catalog/a.jpg", "jobs/b.yaml"]
    assert concerns_inbox(json.dumps(both), BUCKET)


@pytest.mark.parametrize(
    "message",
    [
        s3_event("catalog/a.jpg"),
        s3_event("status/spring.json"),
        s3_event("other/jobs/spring.yaml"),
        s3_event(bucket="another"),
        by_eventbridge(bucket="another"),
        by_eventbridge("jobs%2Fspring.yaml"),
        by_sns(s3_event(bucket="another")),
        by_sns(by_sns(s3_event())),
        TEST_EVENT,
        {"Records": "jobs/"},
        {"Records": [None, {"s3": "jobs/"}, {"s3": {"bucket": {"name": BUCKET}, "object": {"key": 7}}}]},
        {"source": "aws.ec2", "detail": by_eventbridge()["detail"]},
        {},
        [],
        "jobs/spring.yaml",
    ],
)
def test_whatever_is_not_about_the_inbox_of_this_bucket_is_of_no_interest(message: object) -> None:
    assert not concerns_inbox(json.dumps(message), BUCKET)


@given(st.text() | ANY_JSON.map(json.dumps))
@example("[" * 100_000)
@example('{"Type": "Notification", "Message": "' + "[" * 100_000 + '"}')
@example("1" * 5000)
@example('"\\ud800"')
def test_any_message_can_be_read(body: str) -> None:
    assert concerns_inbox(body, BUCKET) in (True, False)
