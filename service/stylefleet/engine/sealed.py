"""NumPy arrays as bytes that notice damage: a line that names the format, the SHA-256 of the rest, a NumPy archive."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.lib.format import MAGIC_PREFIX

from stylefleet.errors import PermanentError

_CHECKSUM_BYTES = hashlib.sha256().digest_size


def seal(magic: bytes, **arrays: Any) -> bytes:
    """Equal arrays give equal bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    payload = buffer.getvalue()
    return magic + hashlib.sha256(payload).digest() + payload


@contextmanager
def opened(data: bytes, magic: bytes, *, noun: str, corrupt: type[PermanentError]) -> Iterator[np.lib.npyio.NpzFile]:
    """The archive of `seal`; raises `corrupt`, with `noun` in its sentence, for anything but what was written.

    The checksum tells damage, not who wrote: an archive that has it may still be made to do harm when it is read. No
    pickle is opened and nothing unpacked, and whatever reading it raises is the archive's fault.
    """
    if not data.startswith(magic):
        raise corrupt(f"A {noun} starts with {magic!r}, found {data[: len(magic)]!r}.")
    checksum, payload = data[len(magic) : len(magic) + _CHECKSUM_BYTES], data[len(magic) + _CHECKSUM_BYTES :]
    found = hashlib.sha256(payload).digest()
    if found != checksum:
        raise corrupt(
            f"A {noun} of {len(data):,} bytes has SHA-256 {found.hex()}, but was written with {checksum.hex()}."
        )
    try:
        _check_members(payload)
        with np.load(io.BytesIO(payload), allow_pickle=False) as archive:
            yield archive
    except PermanentError:
        raise
    except Exception as error:
        raise corrupt(f"A {noun} has its checksum, but not its layout: {error!r}.") from error


def _check_members(payload: bytes) -> None:
    """Only what `seal` makes: arrays, and not packed, since a few bytes may be packed gigabytes."""
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{member.filename} is packed")
            with archive.open(member) as file:
                if file.read(len(MAGIC_PREFIX)) != MAGIC_PREFIX:
                    raise ValueError(f"{member.filename} is no array")
