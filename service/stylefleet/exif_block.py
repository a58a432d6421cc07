"""EXIF of a source -> EXIF of its result. Values are copied as they are; Pillow would write them anew, with other types
and question marks for accents.

Only what is about the photograph goes over: not how the source's pixels are stored, not its thumbnail, and no maker
note, whose inner offsets are wrong once it stands elsewhere.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from PIL.ExifTags import IFD, Base

PREFIX = b"Exif\0\0"
BYTES_MAX = 65_533
"""Of a whole block: a JPEG segment holds no more."""

_MAIN_TAGS = frozenset(
    {
        Base.ImageDescription,
        Base.Make,
        Base.Model,
        Base.XResolution,
        Base.YResolution,
        Base.ResolutionUnit,
        Base.Software,
        Base.DateTime,
        Base.Artist,
        Base.Copyright,
        Base.Rating,
        Base.XPTitle,
        Base.XPComment,
        Base.XPAuthor,
        Base.XPKeywords,
        Base.XPSubject,
    }
)
"""A list of what is kept, since in a TIFF picture the main directory is also the one of the pixels."""
_NOT_OF_THE_RESULT = frozenset(
    {
        Base.MakerNote,
        Base.ExifInteroperabilityOffset,
        Base.ExifImageWidth,
        Base.ExifImageHeight,
        Base.Gamma,
        IFD.Exif,
        IFD.GPSInfo,
    }
)
_BYTES_BY_KIND = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
_SHORT, _LONG = 3, 4


class _Entry(NamedTuple):
    kind: int
    length: int
    value: bytes


_Directory = dict[int, _Entry]


def for_result(block: bytes) -> bytes:
    """The block for a result in sRGB, upright; empty where `block` holds nothing to keep or cannot be read.

    `block` is EXIF with or without its prefix, or a whole TIFF picture, which has the same structure.
    """
    block = block.removeprefix(PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return b""
    try:
        result = _rewritten(block, order)
    except (struct.error, ValueError):
        return b""
    return result if len(result) <= BYTES_MAX else b""


def _rewritten(block: bytes, order: str) -> bytes:
    pointers = (IFD.Exif, IFD.GPSInfo)
    (offset,) = struct.unpack_from(order + "I", block, 4)
    main = _read(block, order, offset, lambda tag: tag in _MAIN_TAGS or tag in pointers)
    directories = {}
    for pointer in pointers:
        if pointer in main:
            (offset,) = struct.unpack(order + "I", main.pop(pointer).value)
            directories[pointer] = _read(block, order, offset, lambda tag: tag not in _NOT_OF_THE_RESULT)
    directories = {pointer: directory for pointer, directory in directories.items() if directory}
    if not main and not directories:
        return b""
    if Base.ColorSpace in directories.get(IFD.Exif, {}):
        directories[IFD.Exif][Base.ColorSpace] = _Entry(_SHORT, 1, struct.pack(order + "H", 1))
    main[Base.Orientation] = _Entry(_SHORT, 1, struct.pack(order + "H", 1))
    # A pointer's length does not depend on where it points to: the first pass only measures.
    for pointer in directories:
        main[pointer] = _Entry(_LONG, 1, bytes(4))
    start = 8
    position = start + len(_written(main, order, start))
    tail = b""
    for pointer, directory in directories.items():
        main[pointer] = _Entry(_LONG, 1, struct.pack(order + "I", position + len(tail)))
        tail += _written(directory, order, position + len(tail))
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start)
    return PREFIX + head + _written(main, order, start) + tail


def _read(block: bytes, order: str, offset: int, wanted: Callable[[int], bool]) -> _Directory:
    """The wanted entries of the directory at `offset`. Raises struct.error, ValueError; an entry whose value lies
    outside is left out."""
    (count,) = struct.unpack_from(order + "H", block, offset)
    directory: _Directory = {}
    room = BYTES_MAX
    for index in range(count):
        tag, kind, length, value = struct.unpack_from(order + "HHI4s", block, offset + 2 + 12 * index)
        size = _BYTES_BY_KIND.get(kind, 0) * length
        if not wanted(tag) or tag in directory or size == 0:
            continue
        if size > 4:
            (start,) = struct.unpack(order + "I", value)
            value = block[start : start + min(size, BYTES_MAX)]
        else:
            value = value[:size]
        if len(value) != size:
            continue
        # Entries may share their bytes: a small block could otherwise become a huge one.
        room -= size
        if room < 0:
            raise ValueError(f"the EXIF block's values have more than {BYTES_MAX:,} bytes")
        directory[tag] = _Entry(kind, length, value)
    return directory


def _written(directory: _Directory, order: str, start: int) -> bytes:
    """The bytes of a directory that begins at `start`, with its values behind it and no next one."""
    values_at = start + 2 + 12 * len(directory) + 4
    table, values = b"", b""
    for tag, entry in sorted(directory.items()):
        place = entry.value.ljust(4, b"\0")
        if len(place) > 4:
            place = struct.pack(order + "I", values_at + len(values))
            values += entry.value + bytes(len(entry.value) % 2)
        table += struct.pack(order + "HHI", tag, entry.kind, entry.length) + place
    return struct.pack(order + "H", len(directory)) + table + bytes(4) + values
