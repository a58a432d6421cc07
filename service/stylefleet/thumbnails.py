"""Small pictures for the report page: opened as safely as any, decoded one at a time, and bounded in every way."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from stylefleet import naming, pictures
from stylefleet.errors import AccessDenied, ImageInvalid, StylefleetError
from stylefleet.naming import Ref
from stylefleet.receipt import Receipt
from stylefleet.store import Store

log = structlog.get_logger(__name__)

PAIRS_MAX = 12
EDGE_PX = 360
THUMBNAIL_BYTES_MAX = 48_000
SOURCE_BYTES_MAX = 16 * 2**20
"""Of a file that is read for a thumbnail."""
_QUALITIES = (78, 55, 25)
_one_at_a_time = threading.Lock()
"""Runs end side by side, and a decoded picture is the largest thing that a controller holds."""


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """A small picture in the page itself."""

    uri: str
    """`data:`, a WebP."""
    width_px: int
    height_px: int


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A content picture and its result."""

    receipt: Receipt
    before: Thumbnail
    after: Thumbnail


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """What could be shown."""

    pairs: tuple[Pair, ...]
    refused: str
    """Where the store does not let us read pictures: its sentence."""


def pairs_of(store: Store, candidates: Iterable[Receipt], allowed: tuple[Ref, ...]) -> Pairs:
    """The first PAIRS_MAX of the candidates whose content and result can be read. Never raises what a picture, or a
    store that refuses it, may raise: a report needs no thumbnails.

    Nothing is read outside the folders that the run's manifest is allowed: receipts are its workers' word, and would
    otherwise show what they themselves must not read.
    """
    pairs: list[Pair] = []
    for one in candidates:
        if len(pairs) >= PAIRS_MAX:
            break
        try:
            content, result = naming.parse_uri(one.content), naming.parse_uri(one.result)
            if not all(any(naming.is_below(ref, folder) for folder in allowed) for ref in (content, result)):
                continue
            after = _thumbnail(store, result, etag=one.result_etag)
            before = _thumbnail(store, content)
        except AccessDenied as error:
            return Pairs(pairs=tuple(pairs), refused=str(error))
        except (StylefleetError, ValueError) as error:
            log.info("thumbnail_not_made", content=one.content, error=str(error))
            continue
        pairs.append(Pair(receipt=one, before=before, after=after))
    return Pairs(pairs=tuple(pairs), refused="")


def _thumbnail(store: Store, ref: Ref, *, etag: str | None = None) -> Thumbnail:
    """Raises ImageInvalid and what the store raises; its size is looked at before it is read."""
    size_bytes = store.head(ref).size_bytes
    if size_bytes > SOURCE_BYTES_MAX:
        raise ImageInvalid("too_many_bytes", f"{ref} has {size_bytes:,} bytes; {SOURCE_BYTES_MAX:,} are read at most")
    data = store.get(ref, if_match=etag).data
    with _one_at_a_time:
        pixels = pictures.preview(data, EDGE_PX)
    for quality in _QUALITIES:
        data = pictures.encode(pixels, format="webp", quality=quality)
        if len(data) <= THUMBNAIL_BYTES_MAX:
            uri = "data:image/webp;base64," + base64.b64encode(data).decode()
            return Thumbnail(uri=uri, width_px=pixels.shape[1], height_px=pixels.shape[0])
    raise ImageInvalid("too_many_bytes", f"{ref} makes a thumbnail of {len(data):,} bytes")
