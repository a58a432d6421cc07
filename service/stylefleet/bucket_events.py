"""Which objects a message about a bucket names. Pure, and safe for whatever stands in a queue.

A message decides nothing but when the inbox is looked at; what is true is read from the bucket.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote_plus

from stylefleet.naming import INBOX_PREFIX, Ref


def concerns_inbox(body: str, bucket: str) -> bool:
    """Whether the message is about an object of `bucket`'s inbox, made or removed."""
    return any(ref.bucket == bucket and ref.key.startswith(INBOX_PREFIX) for ref in objects_in(body))


def objects_in(body: str) -> list[Ref]:
    """The objects that a message names; empty where it names none, or is no such message.

    Three forms reach a queue: that of S3 and of servers like it (keys as in a URL), the same as the text of an SNS
    notification, and EventBridge's (keys as they are).
    """
    document = _object_of(body)
    if document.get("Type") == "Notification":
        document = _object_of(document.get("Message"))
    if document.get("source") == "aws.s3":
        return _refs([document.get("detail")])
    records = document.get("Records")
    events = [_fields(record).get("s3") for record in records] if isinstance(records, list) else []
    return [Ref(ref.bucket, unquote_plus(ref.key)) for ref in _refs(events)]


def _object_of(text: object) -> dict[str, Any]:
    """The JSON object in a text; empty where there is none."""
    try:
        return _fields(json.loads(text)) if isinstance(text, str) else {}
    except (ValueError, RecursionError):  # the latter: brackets in brackets in brackets
        return {}


def _fields(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _refs(events: list[object]) -> list[Ref]:
    """Of events of the form `{"bucket": {"name": ...}, "object": {"key": ...}}`; others are left out."""
    pairs = [
        (_fields(_fields(event).get("bucket")).get("name"), _fields(_fields(event).get("object")).get("key"))
        for event in events
    ]
    return [Ref(bucket, key) for bucket, key in pairs if isinstance(bucket, str) and isinstance(key, str)]
