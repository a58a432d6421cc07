"""Sets of a million names in eight bytes each."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Prints = npt.NDArray[np.uint64]
"""Fingerprints, in any order."""
_KEY = secrets.token_bytes(16)
"""Of this process: nobody can choose names that meet."""


def prints(names: Iterable[tuple[str, ...]]) -> Prints:
    """A fingerprint of each. Two of a million names meet once in 40 million audits."""
    return np.fromiter((_print(name) for name in names), np.uint64)


def _print(name: tuple[str, ...]) -> int:
    digest = hashlib.blake2b("\0".join(name).encode(), digest_size=8, key=_KEY).digest()
    return int.from_bytes(digest, "little")


class Members:
    """A set that does not change."""

    def __init__(self, parts: Iterable[Prints]) -> None:
        self._sorted = np.unique(np.concatenate([np.empty(0, np.uint64), *parts]))

    def __len__(self) -> int:
        return len(self._sorted)

    def have(self, wanted: Prints) -> npt.NDArray[np.bool_]:
        """Whether each is among these."""
        found: npt.NDArray[np.bool_] = np.zeros(len(wanted), bool)
        places = np.searchsorted(self._sorted, wanted)
        inside = places < len(self._sorted)
        found[inside] = self._sorted[places[inside]] == wanted[inside]
        return found
