"""A queue server that speaks as SQS does, in a process of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import botocore.exceptions

from tests.fleet import eventually

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient


@dataclass(frozen=True, kw_only=True)
class QueueServer:
    """A running server."""

    endpoint_url: str

    @property
    def client(self) -> SQSClient:
        client: SQSClient = boto3.session.Session().client(
            "sqs",
            endpoint_url=self.endpoint_url,
            region_name="us-east-1",
            aws_access_key_id="any",
            aws_secret_access_key="any",
        )
        return client

    def create(self, name: str) -> str:
        """A new queue's URL."""
        return self.client.create_queue(QueueName=name)["QueueUrl"]

    def send(self, url: str, *messages: object) -> None:
        for message in messages:
            body = message if isinstance(message, str) else json.dumps(message)
            self.client.send_message(QueueUrl=url, MessageBody=body)

    def left(self, url: str) -> int:
        """Messages that nobody has deleted."""
        names: Any = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(map(int, found.values()))


@contextmanager
def queue_server() -> Iterator[QueueServer]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = QueueServer(endpoint_url=f"http://127.0.0.1:{port}")
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        # Its own credentials are of no account, but it must not look for some.
        env={**os.environ, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "NO_PROXY": "*"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

    def answers() -> bool:
        assert process.poll() is None, "the queue server has ended"
        try:
            server.client.list_queues()
        except botocore.exceptions.BotoCoreError:
            return False
        return True

    try:
        eventually(answers, "the queue server answers")
        yield server
    finally:
        process.terminate()
        process.wait(60)
