"""NumPy arrays as bytes that notice damage: a line that names the format, the SHA-256 of the rest, a NumPy archive."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import numpy as np

from stylefleet.errors import PermanentError

_CHECKSUM_BYTES = hashlib.sha256().digest_size


def seal(magic: bytes, **arrays: Any) -> bytes:
    """Equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    payload = buffer.getvalue()
    return magic + hashlib.sha256(payload).digest() + payload


def opened(data: bytes, magic: bytes, *, noun: str, corrupt: type[PermanentError]) -> np.lib.npyio.NpzFile:
    """The archive of `seal`; raises `corrupt`, with `noun` in its sentence, for anything but what was written."""
    if not data.startswith(magic):
        raise corrupt(f"A {noun} starts with {magic!r}, found {data[: len(magic)]!r}.")
    checksum, payload = data[len(magic) : len(magic) + _CHECKSUM_BYTES], data[len(magic) + _CHECKSUM_BYTES :]
    found = hashlib.sha256(payload).digest()
    if found != checksum:
        raise corrupt(
            f"A {noun} of {len(data):,} bytes has SHA-256 {found.hex()}, but was written with {checksum.hex()}."
        )
    archive: np.lib.npyio.NpzFile = np.load(io.BytesIO(payload), allow_pickle=False)
    return archive
