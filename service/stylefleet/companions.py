"""Companions: what comes with a picture beside its content, such as the mask of its sky. Pure.

A manifest names a folder, with one for each picture, or one object for all of them. Planning pins each picture's own to
the version that was there; what is missing is planned too, and told in that picture's receipt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from stylefleet import naming
from stylefleet.naming import Ref

if TYPE_CHECKING:
    # Its models take long to make, and commands that only read statuses need none of them.
    from stylefleet.manifest import Spec

Role = Literal["mask", "protect", "start"]


@dataclass(frozen=True, kw_only=True)
class Companion:
    """One kind of companion that all pictures of a run have."""

    role: Role
    """What it is for: the region of some styles, the part that is left alone, the picture that is painted over."""
    at: Ref
    """A folder with one for each picture (it ends with `/`), or one object for all."""

    @property
    def is_folder(self) -> bool:
        return self.at.key == "" or self.at.key.endswith("/")

    @property
    def noun(self) -> str:
        """As reasons and sentences call it."""
        return "start" if self.role == "start" else "mask"


class Pin(NamedTuple):
    """A picture's own companion, at the version that was there at planning. A plain tuple: there may be millions."""

    ref: Ref
    etag: str
    """Empty: nothing was there."""
    size_bytes: int


Listing = Callable[[str], Pin | None]
"""What lies at a key of a companion's folder; of one object's place, that object alone."""


def companions_of(spec: Spec) -> dict[Companion, str]:
    """What a manifest asks for, each with its field: masks in the order of their first style, then the others."""
    named = [("mask", style.mask, f"spec.styles[{index}].mask") for index, style in enumerate(spec.styles)]
    named += [("protect", spec.protect, "spec.protect"), ("start", spec.start, "spec.start")]
    fields: dict[Companion, str] = {}
    for role, uri, field in named:
        if uri is not None:
            fields.setdefault(Companion(role=role, at=naming.parse_uri(uri)), field)  # type: ignore[arg-type]
    return fields


def pin(companion: Companion, relative: str, listing: Listing) -> Pin:
    """The companion of the picture at `relative` below the content prefix; where there is none, the place where it is
    looked for first, with an empty ETag."""
    keys = [companion.at.key]
    if companion.is_folder:
        paths = naming.start_paths(relative) if companion.role == "start" else (naming.mask_path(relative),)
        keys = [companion.at.key + path for path in paths]
    found = next(filter(None, map(listing, keys)), None)
    return found or Pin(Ref(companion.at.bucket, keys[0]), "", 0)
