"""Tasks: one a picture, named by all that shapes its result; shards, and their objects. Pure."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from stylefleet import naming
from stylefleet.companions import Companion, Pin
from stylefleet.errors import RecordUnreadable
from stylefleet.naming import Ref
from stylefleet.plan import StyleShare
from stylefleet.recipe import ENGINE_VERSION, Recipe

SHARDS_MAX = 10_000
"""Indexes of one Indexed Job with a back-off limit per index stay far below Kubernetes' 100,000 (KEP-3850)."""

_to_line = json.JSONEncoder(ensure_ascii=False).encode
"""json.dumps makes an encoder for each call that wants another than the usual one."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One output image; the unit of idempotency."""

    task_id: str
    """SHA-256 (hex) of everything that shapes the result's bytes; see `Shaping`."""
    content: Ref
    content_etag: str
    size_bytes: int
    """Size of the content object."""
    output: Ref
    """Where the result goes."""
    companions: tuple[Pin, ...] = ()
    """The picture's own of each of the plan's companions, in their order."""

    def to_line(self) -> str:
        fields: list[object] = [
            self.task_id,
            str(self.content),
            self.content_etag,
            self.size_bytes,
            str(self.output),
            *([str(p.ref), p.etag, p.size_bytes] for p in self.companions),
        ]
        return _to_line(fields)

    @staticmethod
    def from_line(line: bytes | str) -> Task:
        task_id, content, content_etag, size_bytes, output, *pins = json.loads(line)
        return Task(
            task_id=task_id,
            content=naming.parse_uri(content),
            content_etag=content_etag,
            size_bytes=size_bytes,
            output=naming.parse_uri(output),
            companions=tuple(Pin(naming.parse_uri(uri), etag, size) for uri, etag, size in pins),
        )


@dataclass(frozen=True, kw_only=True)
class Shaping:
    """What shapes every result of a run, beside each picture itself; names their tasks.

    A task's id is the SHA-256 of one JSON list, whose middle is the same for all tasks of a run: it is kept as text.
    """

    styles: Sequence[StyleShare]
    recipe: Recipe
    image_format: str
    quality: int
    depth: int
    keep_metadata: Sequence[str]
    companions: Sequence[Companion] = ()

    def task_id(self, content: Ref, content_etag: str, pins: Sequence[Pin] = ()) -> str:
        """Identity of a result by everything that shapes its bytes; where it is stored is not part of it."""
        text = f"[{json.dumps(str(content))}, {json.dumps(content_etag)}, {self._common}"
        if pins:
            # What the masks are and which style has which; not where they lie.
            own = [[c.role, p.etag] for c, p in zip(self.companions, pins, strict=True)]
            text += f", {json.dumps(own)}, {self._masks}"
        return hashlib.sha256(f"{text}]".encode()).hexdigest()

    @cached_property
    def _common(self) -> str:
        """The JSON of what all tasks share, without brackets."""
        parts = [
            [[s.etag, s.weight] for s in self.styles],
            self.recipe.digest,
            self.image_format,
            self.quality,
            self.depth,
            list(self.keep_metadata),
            ENGINE_VERSION,
        ]
        return json.dumps(parts)[1:-1]

    @cached_property
    def _masks(self) -> str:
        """The JSON of which style has which mask."""
        masks = [c.at for c in self.companions if c.role == "mask"]
        return json.dumps([masks.index(s.mask) if s.mask is not None else -1 for s in self.styles])


def tasks_per_shard(tasks: int, *, seconds_per_task: float, shard_seconds: float, parallelism: int) -> int:
    """Tasks of each shard: about `shard_seconds` of work, enough shards for all workers, not too many shards."""
    by_time = max(1, round(shard_seconds / seconds_per_task))
    by_workers = max(1, math.ceil(tasks / parallelism))
    by_limit = math.ceil(tasks / SHARDS_MAX)
    return max(min(by_time, by_workers), by_limit)


def shard_bytes(tasks: Iterable[Task]) -> bytes:
    """A shard's object: its tasks, one JSON line each."""
    return "".join(t.to_line() + "\n" for t in tasks).encode()


def tasks_from_bytes(data: bytes) -> list[Task]:
    """The inverse of `shard_bytes`. Raises RecordUnreadable."""
    # Lines of bytes, not of text: str.splitlines() also breaks at U+2028 and its like, which a key may hold.
    try:
        return [Task.from_line(line) for line in data.splitlines()]
    except (TypeError, ValueError) as error:
        raise RecordUnreadable(f"a shard cannot be read: {error!r}") from error
