"""Bucket notifications: a thread reads an SQS queue and has the inbox looked at sooner. Nothing rests on it.

The inbox is looked at by interval all the same. A message that is lost, late, doubled or forged changes only when that
happens, so messages are deleted without waiting for what a look finds.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import urlsplit

import boto3
import botocore.config
import botocore.exceptions
import structlog

from stylefleet.bucket_events import concerns_inbox
from stylefleet.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

log = structlog.get_logger(__name__)

WAIT_SECONDS = 5
"""How long one request waits for a message; the end of the process may take as long."""
PAUSE_SECONDS = 0.2
"""Between two requests: whoever floods the queue keeps no core busy, and fills no log."""
MESSAGES_MAX = 10
"""Of one request: the most that SQS gives."""
RETRY_SECONDS = 5.0
RETRY_SECONDS_MAX = 300.0
_AWS_HOST = re.compile(r"(?:^|\.)sqs(?:-fips)?\.(?P<region>[a-z0-9-]+)\.")


class Message(NamedTuple):
    """One message as the queue gave it."""

    body: str
    receipt: str
    """With which it is deleted."""


class Queue(Protocol):
    """Both methods raise QueueUnavailable."""

    def receive(self) -> list[Message]:
        """The next messages, of those that nobody else has been given; waits a while for the first."""
        ...

    def delete(self, messages: Sequence[Message]) -> None: ...


class SqsQueue:
    """A queue of SQS, or of a server that speaks as it does; its endpoint is where its URL leads."""

    def __init__(self, url: str, region: str | None) -> None:
        """`region` counts where the URL names none. The credentials are those of the AWS default chain."""
        place = urlsplit(url)
        named = _AWS_HOST.search(place.netloc)
        self._url = url
        self.client: SQSClient = boto3.session.Session().client(
            "sqs",
            endpoint_url=f"{place.scheme}://{place.netloc}",
            region_name=named["region"] if named else region or "us-east-1",
            config=botocore.config.Config(
                connect_timeout=5, read_timeout=WAIT_SECONDS + 10, retries={"mode": "standard", "max_attempts": 2}
            ),
        )

    def receive(self) -> list[Message]:
        try:
            answer = self.client.receive_message(
                QueueUrl=self._url, MaxNumberOfMessages=MESSAGES_MAX, WaitTimeSeconds=WAIT_SECONDS
            )
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise QueueUnavailable(f"{self._url}: no message can be received: {error}") from error
        return [Message(found["Body"], found["ReceiptHandle"]) for found in answer.get("Messages", [])]

    def delete(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        entries = [{"Id": str(index), "ReceiptHandle": message.receipt} for index, message in enumerate(messages)]
        try:
            # What could not be deleted comes again, and costs one more look.
            self.client.delete_message_batch(QueueUrl=self._url, Entries=entries)  # type: ignore[arg-type]
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            raise QueueUnavailable(f"{self._url}: no message can be deleted: {error}") from error


@contextmanager
def listening(queue: Queue | None, bucket: str, *, wake: threading.Event) -> Iterator[None]:
    """Within the block `wake` is set when a message says that the inbox changed; never, where there is no queue.

    The end of the block does not wait for the thread, whose last request ends by itself: a leader that is told to end
    must hand over first.
    """
    if queue is None:
        yield
        return
    over = threading.Event()
    threading.Thread(target=_listen, args=(queue, bucket, wake, over), name="notifications").start()
    try:
        yield
    finally:
        over.set()


def _listen(queue: Queue, bucket: str, wake: threading.Event, over: threading.Event) -> None:
    try:
        listen(queue, bucket, wake=wake, over=over)
    except Exception:
        # A bug; it costs nothing but the interval.
        log.exception("notifications_ended")


def listen(queue: Queue, bucket: str, *, wake: threading.Event, over: threading.Event) -> None:
    """Read the queue until `over`; a queue that is away or refuses is told of once, and asked ever more seldom."""
    retry_seconds = 0.0
    while not over.is_set():
        try:
            messages = queue.receive()
            if over.is_set():
                return  # whoever leads next looks at everything first, and may have these
            heeded = sum(concerns_inbox(message.body, bucket) for message in messages)
            if heeded:
                wake.set()
            queue.delete(messages)
        except QueueUnavailable as error:
            if not retry_seconds:
                log.warning("notifications_away", error=str(error), instead="the bucket is looked at by interval")
            retry_seconds = min(2 * retry_seconds or RETRY_SECONDS, RETRY_SECONDS_MAX)
            over.wait(retry_seconds)
            continue
        if retry_seconds:
            log.info("notifications_back")
        retry_seconds = 0.0
        if len(messages) > heeded:
            log.info("notifications_ignored", messages=len(messages) - heeded, why=f"not about s3://{bucket}/jobs/")
        over.wait(PAUSE_SECONDS)
