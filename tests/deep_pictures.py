"""Files of 16 bit a channel, made by hand where Pillow writes none, and read without Pillow and pypng."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}
"""By the number of channels."""
_SHORT, _LONG = 3, 4


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of(values: np.ndarray, *, clear: Sequence[int] = ()) -> bytes:
    """uint16 [H, W, channels] as PNG; `clear` is the one colour that is transparent."""
    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, PNG_COLOUR_TYPES[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    transparency = png_chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)) if clear else b""
    pixels = png_chunk(b"IDAT", zlib.compress(rows))
    return PNG_SIGNATURE + png_chunk(b"IHDR", header) + transparency + pixels + png_chunk(b"IEND", b"")


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Every chunk's name and content; fails where a checksum is wrong."""
    assert data.startswith(PNG_SIGNATURE)
    chunks, at = [], len(PNG_SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, content = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert data[at : at + 12 + length] == png_chunk(kind, content)
        chunks.append((kind, content))
        at += 12 + length
    return chunks


def png_values(data: bytes) -> np.ndarray:
    """uint16 [H, W, 3] of a PNG whose rows are not filtered."""
    chunks = png_chunks(data)
    assert [chunks[0][0], chunks[-1][0]] == [b"IHDR", b"IEND"]
    width, height, *kind = struct.unpack(">IIBBBBB", chunks[0][1])
    assert kind == [16, 2, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(b"".join(c for k, c in chunks if k == b"IDAT")), np.uint8)
    rows = rows.reshape(height, 1 + 6 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].copy().view(">u2").reshape(height, width, 3).astype(np.uint16)


def tiff_of(
    values: np.ndarray, *, order: str = "<", photometric: int, extra: int | None = None, deflated: bool = False
) -> bytes:
    """uint16 [H, W, channels] as TIFF; `photometric` is 0 (white is zero), 1 gray, 2 RGB, 5 CMYK."""
    height, width, channels = values.shape
    pixels = values.astype(order + "u2").tobytes()
    if deflated:
        pixels = zlib.compress(pixels)
    tags = [
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [16] * channels),
        (259, _SHORT, [8 if deflated else 1]),
        (262, _SHORT, [photometric]),
        (273, _LONG, [8]),
        (277, _SHORT, [channels]),
        (278, _LONG, [height]),
        (279, _LONG, [len(pixels)]),
    ]
    if extra is not None:
        tags.append((338, _SHORT, [extra]))
    directory_at = 8 + len(pixels)
    values_at = directory_at + 2 + 12 * len(tags) + 4
    table, behind = struct.pack(order + "H", len(tags)), b""
    for tag, kind, numbers in tags:
        packed = struct.pack(f"{order}{len(numbers)}{'H' if kind == _SHORT else 'I'}", *numbers)
        place = packed.ljust(4, b"\0")
        if len(packed) > 4:
            place, behind = struct.pack(order + "I", values_at + len(behind)), behind + packed
        table += struct.pack(order + "HHI", tag, kind, len(numbers)) + place
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", directory_at)
    return head + pixels + table + bytes(4) + behind
