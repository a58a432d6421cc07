"""PNG of 16 bit a channel, which Pillow does not write. pypng holds a row at a time, whatever the picture's size."""

from __future__ import annotations

import io
import zlib

import numpy as np
import png


def write(values: np.ndarray, *, icc: bytes, exif: bytes) -> bytes:
    """uint8 or float32 [H, W, 3], 0..255 -> file bytes; 255 becomes 65535. An empty profile or block is left out."""
    height, width = values.shape[:2]
    rows = (samples(row).astype(">u2").tobytes() for row in values)
    buffer = io.BytesIO()
    png.Writer(width, height, greyscale=False, bitdepth=16).write_packed(buffer, rows)
    extra = []
    if icc:
        extra.append((b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc)))
    if exif:
        extra.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    if not extra:
        return buffer.getvalue()
    header, *others = png.Reader(bytes=buffer.getvalue()).chunks()
    with_metadata = io.BytesIO()
    png.write_chunks(with_metadata, [header, *extra, *others])
    return with_metadata.getvalue()


def samples(values: np.ndarray) -> np.ndarray:
    """uint8 or float32, 0..255 -> uint16, 0..65535; what lies beyond is clipped."""
    if values.dtype == np.uint8:
        return values.astype(np.uint16) * 257
    scaled: np.ndarray = np.rint(np.clip(values, 0, 255) * 257).astype(np.uint16)
    return scaled
