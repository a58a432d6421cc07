"""The example policies of docs/iam, carried out: a store that refuses what they do not allow, as S3 would."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from stylefleet.errors import AccessDenied
from stylefleet.naming import Ref
from stylefleet.store import Head, Listed, Object, Page, Store

POLICIES = Path(__file__).parents[1] / "docs/iam"
NAMES = {"SERVICE-BUCKET": "service", "PICTURES-BUCKET": "shop", "TENANT": "art"}
Grant = tuple[str, str]
"""Action and resource pattern."""


def grants(name: str) -> frozenset[Grant]:
    """What a policy allows, with these tests' names. A condition on the prefix of a listing is part of the resource."""
    text = (POLICIES / f"{name}.json").read_text()
    for placeholder, ours in NAMES.items():
        text = text.replace(placeholder, ours)
    found: set[Grant] = set()
    for statement in json.loads(text)["Statement"]:
        condition = statement.pop("Condition", {"StringLike": {"s3:prefix": [""]}})
        assert set(statement) == {"Sid", "Effect", "Action", "Resource"}, "this reader knows nothing else"
        assert statement["Effect"] == "Allow"
        actions, resources = ([x] if isinstance(x, str) else x for x in (statement["Action"], statement["Resource"]))
        assert set(condition) == {"StringLike"}, "this reader knows no other conditions"
        assert set(condition["StringLike"]) == {"s3:prefix"}
        prefixes = condition["StringLike"]["s3:prefix"]
        resources = [r + (f"?prefix={prefix}" if prefix else "") for r in resources for prefix in prefixes]
        found |= {(action, resource) for action in actions for resource in resources}
    return frozenset(found)


def _fits(pattern: str, resource: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), resource) is not None


def allows(granted: frozenset[Grant], action: str, resource: str) -> bool:
    """Whether a policy allows this; `resource` is `bucket/key`, or `bucket?prefix=...` for a listing."""
    return any(grant[0] == action and _fits(grant[1], f"arn:aws:s3:::{resource}") for grant in granted)


@dataclass
class PolicedStore:
    """A store behind one policy; remembers which grants were needed."""

    store: Store
    allowed: frozenset[Grant]
    used: set[Grant] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _check(self, action: str, ref: Ref, *, bucket_only: bool = False) -> None:
        resource = f"arn:aws:s3:::{ref.bucket}" + ("" if bucket_only else f"/{ref.key}")
        fitting = {grant for grant in self.allowed if grant[0] == action and _fits(grant[1], resource)}
        if not fitting:
            raise AccessDenied(f"{action} on {resource}")
        with self._lock:
            self.used |= fitting

    def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
        self._check("s3:GetObject", ref)
        self._check("s3:ListBucket", ref, bucket_only=True)  # without it S3 says 403 where there is no such object
        return self.store.get(ref, if_match=if_match)

    def head(self, ref: Ref) -> Head:
        self._check("s3:GetObject", ref)
        self._check("s3:ListBucket", ref, bucket_only=True)  # as for GET
        return self.store.head(ref)

    def put(self, ref: Ref, data: bytes, *, if_absent: bool = False, if_match: str | None = None, **rest: Any) -> str:
        self._check("s3:PutObject", ref)
        if if_absent or if_match:
            self._check("s3:GetObject", ref)  # S3 asks for it with If-Match; we look whose put won
        return self.store.put(ref, data, if_absent=if_absent, if_match=if_match, **rest)

    def delete(self, ref: Ref) -> None:
        self._check("s3:DeleteObject", ref)
        self.store.delete(ref)

    def list(self, prefix: Ref, *, after: str = "") -> Iterator[Listed]:
        self._check("s3:ListBucket", prefix, bucket_only=True)
        return self.store.list(prefix, after=after)

    def pages(self, prefix: Ref, *, after: str = "", known: Mapping[bytes, Page]) -> Iterator[Page]:
        self._check("s3:ListBucket", prefix, bucket_only=True)
        return self.store.pages(prefix, after=after, known=known)

    def now(self) -> datetime:
        return self.store.now()


def refused(store: PolicedStore, calls: Mapping[str, tuple[str, Ref]]) -> set[str]:
    """Which of these calls (name -> method, object) the policy refuses."""
    found = set()
    for name, (method, ref) in calls.items():
        try:
            getattr(store, method)(ref, *([b"x"] if method == "put" else []))
        except AccessDenied:
            found.add(name)
    return found
