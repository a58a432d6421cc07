"""What manifests that no tick has taken up yet ask for: enough to say which is planned first.

Planning takes a while, and a tick takes up so many manifests only. So they are read ahead, for their priority and their
parallelism; whether they are valid is seen when their turn comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from stylefleet import yaml_positions
from stylefleet.errors import ManifestInvalid, StylefleetError
from stylefleet.fields import Priority
from stylefleet.inbox import Submission
from stylefleet.store import Listed, Object, Store
from stylefleet.streams import in_order

READ_MAX = 500
"""Manifests that one tick reads ahead."""
BYTES_MAX = 32 * 1024
"""A longer manifest, with thousands of keys, takes long to read: it counts as one that asks for nothing special."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What a manifest says of its turn."""

    priority: Priority = "normal"
    parallelism: int = 1


class Newcomers:
    """Wishes by put of a manifest; each is read once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wishes: dict[str, tuple[Submission, Wish]] = {}
        self._found: dict[str, Object] = {}
        """What was read of those that wait, for whoever takes them up."""

    def wishes(self, waiting: Mapping[str, Listed]) -> dict[str, Wish]:
        """Of the manifests that wait, by name; those of others are forgotten."""
        known = {
            name: found
            for name, listed in waiting.items()
            if (found := self._wishes.get(name)) is not None and found[0] == Submission.of(listed)
        }
        # With one alone there is no order.
        new = [(n, listed) for n, listed in waiting.items() if n not in known][: READ_MAX if len(waiting) > 1 else 0]
        self._found = {name: found for name, found in self._found.items() if name in known}
        for (name, listed), read in zip(new, in_order(lambda item: self._read(item[1]), new), strict=True):
            known[name] = (Submission.of(listed), wish_of(read.data) if read else Wish())
            if read is not None:
                self._found[name] = read
        self._wishes = known
        return {name: known[name][1] if name in known else Wish() for name in waiting}

    def take(self, name: str, listed: Listed) -> Object | None:
        """The manifest as it was read ahead, if that is what the listing shows; once, and None where it was not."""
        found = self._found.pop(name, None)
        return found if found is not None and Submission.of(found) == Submission.of(listed) else None

    def _read(self, listed: Listed) -> Object | None:
        if listed.size_bytes > BYTES_MAX:
            return None
        try:
            return self._store.get(listed.ref)
        except StylefleetError:
            return None  # deleted meanwhile, or the store is away: whoever takes it up will say so


def wish_of(data: bytes) -> Wish:
    """What a manifest asks for, as far as it can be read."""
    try:
        run = _fields(_fields(_fields(yaml_positions.parse(data).data).get("spec")).get("run"))
    except ManifestInvalid:
        return Wish()
    return Wish(**dict(_valid(run)))


def _valid(run: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if run.get("priority") in get_args(Priority):
        yield "priority", run["priority"]
    parallelism = run.get("parallelism")
    if isinstance(parallelism, int) and not isinstance(parallelism, bool) and 1 <= parallelism <= 1000:
        yield "parallelism", parallelism


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
