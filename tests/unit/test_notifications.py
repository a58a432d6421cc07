from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
from botocore.awsrequest import AWSResponse
from structlog.testing import capture_logs

from stylefleet import loop
from stylefleet.errors import QueueUnavailable
from stylefleet.notifications import (
    PAUSE_SECONDS,
    RETRY_SECONDS,
    RETRY_SECONDS_MAX,
    Message,
    SqsQueue,
    listen,
    listening,
)
from tests.bucket_messages import TEST_EVENT, s3_event
from tests.iam import POLICIES

NEWS = Message(json.dumps(s3_event()), "receipt-1")
OTHER = Message(json.dumps(TEST_EVENT), "receipt-2")
AWAY = QueueUnavailable("https://sqs.example/1/inbox: no message can be received: refused")


class Waits(threading.Event):
    """An event nobody waits for: it remembers for how long they would have, and is set after so many waits."""

    def __init__(self, *, most: int = 10**9, answers: Sequence[bool] = ()) -> None:
        super().__init__()
        self.seconds: list[float | None] = []
        self._most = most
        self._answers = list(answers)

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout)
        if len(self.seconds) >= self._most:
            self.set()
        return self._answers.pop(0) if self._answers else self.is_set()


@dataclass
class ScriptedQueue:
    """Gives what the script says, then nothing."""

    script: list[list[Message] | QueueUnavailable]
    wake: threading.Event = field(default_factory=threading.Event)
    deleted: list[tuple[Message, bool]] = field(default_factory=list)
    """With whether the wake-up had been given by then."""
    refuses_to_delete: bool = False

    def receive(self) -> list[Message]:
        step = self.script.pop(0) if self.script else []
        if isinstance(step, QueueUnavailable):
            raise step
        return step

    def delete(self, messages: Sequence[Message]) -> None:
        if self.refuses_to_delete and messages:
            raise QueueUnavailable("no message can be deleted")
        self.deleted += [(message, self.wake.is_set()) for message in messages]


def heard(queue: ScriptedQueue, *, requests: int) -> tuple[Waits, list[str]]:
    """What the listener waits for in so many requests, and what it logs."""
    over = Waits(most=requests)
    structlog.reset_defaults()
    with capture_logs() as logs:
        listen(queue, "service", wake=queue.wake, over=over)
    return over, [entry["event"] for entry in logs]


def test_news_of_the_inbox_wake_first_and_are_deleted_then() -> None:
    queue = ScriptedQueue([[NEWS]])
    _, logs = heard(queue, requests=1)
    assert queue.wake.is_set()
    assert queue.deleted == [(NEWS, True)]
    assert logs == []


def test_other_messages_are_deleted_told_of_and_wake_nobody() -> None:
    queue = ScriptedQueue([[OTHER, Message("no JSON", "receipt-3")], []])
    _, logs = heard(queue, requests=2)
    assert not queue.wake.is_set()
    assert [message.receipt for message, _ in queue.deleted] == ["receipt-2", "receipt-3"]
    assert logs == ["notifications_ignored"], "once for both"


def test_a_flood_is_read_at_a_walking_pace() -> None:
    over, _ = heard(ScriptedQueue([[NEWS] * 10] * 50), requests=50)
    assert over.seconds == [PAUSE_SECONDS] * 50


def test_a_queue_that_is_away_is_told_of_once_asked_ever_more_seldom_and_heard_again() -> None:
    queue = ScriptedQueue([*[AWAY] * 9, [NEWS], AWAY])
    over, logs = heard(queue, requests=11)
    assert over.seconds == [5, 10, 20, 40, 80, 160, *[RETRY_SECONDS_MAX] * 3, PAUSE_SECONDS, RETRY_SECONDS]
    assert logs == ["notifications_away", "notifications_back", "notifications_away"]
    assert queue.wake.is_set()


def test_messages_that_may_not_be_deleted_still_wake_and_do_not_keep_the_listener_busy() -> None:
    queue = ScriptedQueue([[NEWS]] * 3, refuses_to_delete=True)
    over, logs = heard(queue, requests=3)
    assert queue.wake.is_set()
    assert over.seconds == [RETRY_SECONDS, 2 * RETRY_SECONDS, 4 * RETRY_SECONDS]
    assert logs == ["notifications_away"]


def test_messages_that_come_after_the_end_are_left_for_who_leads_next() -> None:
    over = threading.Event()

    class Late(ScriptedQueue):
        def receive(self) -> list[Message]:
            over.set()
            return [NEWS]

    queue = Late([])
    listen(queue, "service", wake=queue.wake, over=over)
    assert not queue.wake.is_set()
    assert queue.deleted == []


def test_a_fault_of_our_own_ends_the_listener_and_nothing_else() -> None:
    class Broken(ScriptedQueue):
        def receive(self) -> list[Message]:
            raise RuntimeError("a bug")

    with listening(Broken([]), "service", wake=threading.Event()):
        (thread,) = [t for t in threading.enumerate() if t.name == "notifications"]
        assert not thread.daemon
        thread.join(60)
        assert not thread.is_alive()


def test_the_end_does_not_wait_for_a_request_that_is_under_way() -> None:
    asked, answer = threading.Event(), threading.Event()

    class Slow(ScriptedQueue):
        def receive(self) -> list[Message]:
            asked.set()
            answer.wait()
            return []

    with listening(Slow([]), "service", wake=threading.Event()):
        assert asked.wait(60)
    (thread,) = [t for t in threading.enumerate() if t.name == "notifications"]
    answer.set()
    thread.join(60)
    assert not thread.is_alive()


def test_without_a_queue_nobody_listens() -> None:
    with listening(None, "service", wake=threading.Event()):
        assert "notifications" not in [thread.name for thread in threading.enumerate()]


# --- the pause between two looks ------------------------------------------------------------------------------------


def test_a_notification_shortens_the_pause_but_never_below_a_second() -> None:
    stop, wake = Waits(), Waits(answers=[True])
    wake.set()
    loop.pause(stop, wake, 10.0)
    assert stop.seconds == [loop.LOOKS_SECONDS_MIN] == [1.0], "however many notifications came meanwhile"
    assert wake.seconds == [9.0]


def test_without_notifications_the_pause_is_the_interval() -> None:
    stop, wake = Waits(), Waits()
    loop.pause(stop, wake, 10.0)
    assert sum(seconds or 0 for seconds in [*stop.seconds, *wake.seconds]) == 10.0
    stop, wake = Waits(), Waits()
    loop.pause(stop, wake, 0.25)
    assert (stop.seconds, wake.seconds) == ([0.25], [0.0])


@pytest.mark.parametrize(("poll", "took", "rest"), [(10.0, 0.5, 9.5), (10.0, 30.0, 1.0), (0.25, 30.0, 0.25)])
def test_looks_begin_an_interval_apart_and_a_long_one_is_followed_by_a_second_of_rest(
    poll: float, took: float, rest: float
) -> None:
    assert loop.until_next_look(poll, took) == rest


def test_being_told_to_end_ends_the_pause_at_once() -> None:
    stop, wake = Waits(), Waits()
    stop.set()
    loop.pause(stop, wake, 10.0)
    assert wake.seconds == []


# --- where the queue is ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "region", "endpoint", "used"),
    [
        (
            "https://sqs.eu-west-1.amazonaws.com/1/q",
            "us-west-2",
            "https://sqs.eu-west-1.amazonaws.com",
            "eu-west-1",
        ),
        ("https://sqs-fips.us-gov-west-1.amazonaws.com/1/q", None, None, "us-gov-west-1"),
        ("https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/1/q", None, None, "eu-west-1"),
        ("http://elasticmq.art:9324/000000000000/q", "eu-west-2", "http://elasticmq.art:9324", "eu-west-2"),
        ("http://elasticmq:9324/000000000000/q", None, "http://elasticmq:9324", "us-east-1"),
    ],
)
def test_the_url_says_where_the_queue_is_and_in_which_region(
    url: str, region: str | None, endpoint: str | None, used: str
) -> None:
    meta = SqsQueue(url, region).client.meta
    assert meta.region_name == used
    assert endpoint in (None, meta.endpoint_url)


def test_the_policy_grants_what_the_listener_uses_and_no_more() -> None:
    queue = SqsQueue("https://sqs.eu-west-1.amazonaws.com/111122223333/stylefleet", None)
    used: set[str] = set()

    def answer(model: Any, **_: object) -> tuple[Any, dict[str, Any]]:
        used.add(model.name.removesuffix("Batch"))  # which takes the right to the single one
        return AWSResponse("", 200, {}, None), {}

    queue.client.meta.events.register("before-call.sqs", answer)
    queue.receive()
    queue.delete([NEWS])
    (statement,) = json.loads((POLICIES / "notifications.json").read_text())["Statement"]
    assert set(statement["Action"]) == {f"sqs:{name}" for name in used}
