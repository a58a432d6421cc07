"""Bytes of ours that somebody else wrote: the right checksum, and still nothing to trust."""

from __future__ import annotations

import hashlib
import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stylefleet.engine.sealed import opened, seal
from stylefleet.errors import PermanentError

MAGIC = b"stylefleet test 1\n"


class Corrupt(PermanentError):
    pass


class Mark:
    """What a pickle does where it is opened: it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (open, (str(self.path), "w"))


def forged(payload: bytes) -> bytes:
    return MAGIC + hashlib.sha256(payload).digest() + payload


def archive(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def npy(array: np.ndarray, *, shape: str = "") -> bytes:
    """A NumPy file, of which the header may claim another shape."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    data = buffer.getvalue()
    own = str(array.shape).encode()
    claimed = shape.encode() or own
    header, body = data[: 10 + int.from_bytes(data[8:10], "little")], data[10 + int.from_bytes(data[8:10], "little") :]
    return header.replace(own, claimed).replace(b" " * (len(claimed) - len(own)) + b"\n", b"\n") + body


def read(data: bytes) -> np.ndarray:
    with opened(data, MAGIC, noun="test", corrupt=Corrupt) as arrays:
        return np.array(arrays["a"])


def test_what_was_sealed_is_opened() -> None:
    assert np.array_equal(read(seal(MAGIC, a=np.arange(3))), np.arange(3))


def test_no_pickle_is_opened(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    objects = np.empty(1, dtype=object)
    objects[0] = Mark(mark)
    buffer = io.BytesIO()
    np.save(buffer, objects, allow_pickle=True)
    for payload in (archive({"a.npy": buffer.getvalue()}), pickle.dumps(Mark(mark))):
        with pytest.raises(Corrupt):
            read(forged(payload))
    assert not mark.exists()


def test_nothing_is_unpacked() -> None:
    bomb = archive({"a.npy": npy(np.zeros(1000, np.float32))}, zipfile.ZIP_DEFLATED)
    with pytest.raises(Corrupt, match="packed"):
        read(forged(bomb))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no archive",
        archive({}),
        archive({"b.npy": npy(np.zeros(1))}),
        archive({"a.npy": b"no array"}),
        archive({"a.npy": npy(np.zeros(1), shape="(9999999999999,)")}),
        npy(np.zeros(1)),
    ],
    ids=["empty", "text", "no member", "another member", "no array", "a shape beyond memory", "no archive"],
)
def test_whatever_has_the_checksum_and_another_layout_is_corrupt_and_nothing_worse(payload: bytes) -> None:
    with pytest.raises(Corrupt, match="layout"):
        read(forged(payload))
