"""The inbox as one listing shows it: manifests by name, and the markers beside them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from stylefleet import naming
from stylefleet.store import Listed, Object


class Submission(NamedTuple):
    """One put of a manifest, as both a listing and a read show it."""

    etag: str
    put_at: datetime
    """By the store's clock, whole seconds."""

    @staticmethod
    def of(manifest: Listed | Object) -> Submission:
        return Submission(manifest.etag, manifest.modified_at.replace(microsecond=0))


class Markers(NamedTuple):
    """What a user asks for by markers beside a manifest."""

    cancelled: bool
    """The run is to be stopped."""
    paused: bool
    """It is to have no workers for now."""


@dataclass(frozen=True, kw_only=True)
class Inbox:
    """What lies in `jobs/`."""

    manifests: Mapping[str, Listed]
    """By name; of two files with one name the first."""
    twins: tuple[Listed, ...]
    """Files whose name was taken by an earlier key."""
    keys: frozenset[str]

    def markers(self, name: str) -> Markers:
        """Of the manifest of this name."""
        return Markers(cancelled=naming.cancel_key(name) in self.keys, paused=naming.pause_key(name) in self.keys)


def inbox_of(listing: Iterable[Listed], *, of_tenants: bool = False) -> Inbox:
    """The inbox of one listing; folders in it are nothing of ours where they are not those `of_tenants`."""
    manifests: dict[str, Listed] = {}
    twins, keys = [], set()
    for listed in listing:
        keys.add(listed.ref.key)
        name = naming.manifest_name(listed.ref.key)
        if name is None or (naming.tenant_of(name) and not of_tenants):
            continue
        if manifests.setdefault(name, listed) is not listed:
            twins.append(listed)
    return Inbox(manifests=manifests, twins=tuple(twins), keys=frozenset(keys))
