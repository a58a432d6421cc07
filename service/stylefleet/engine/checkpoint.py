"""The state of one picture in mid-run as bytes: from it a resumed run gives the bytes of an uninterrupted one.

Checked like a style target; see sealed.py.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import numpy as np

from stylefleet.engine.sealed import opened, seal
from stylefleet.errors import PermanentError
from stylefleet.recipe import ENGINE_VERSION

_MAGIC = b"stylefleet checkpoint 1\n"


class CheckpointCorrupt(PermanentError):
    """A checkpoint cannot be resumed from: it is damaged, or of another engine, recipe or picture size. Start anew."""


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where in a recipe a picture stands."""

    stage: int
    """Scales come first, then refinements."""
    iteration: int
    """Steps done in this stage by the batch."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """All numbers of one picture in mid-run that are not arrays."""

    position: Position
    steps: int
    """That this picture took, over all stages."""
    checked_loss: float
    """When the plateau was last looked for."""
    steps_since_check: int
    done: bool
    """Whether the stage has ended for this picture."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """One picture in mid-run."""

    owner: str
    """Digest of what else must be the same: recipe, weights, precision and size."""
    place: Place
    arrays: tuple[np.ndarray, ...]
    """Of the descent, in its own order, without the batch axis."""
    painted: np.ndarray | None
    """In a refinement: the optimized picture so far, float32 [H, W, 3]."""


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """Equal checkpoints give equal bytes."""
    header = json.dumps({"engine": ENGINE_VERSION, "owner": checkpoint.owner, **asdict(checkpoint.place)})
    arrays = {f"array{i:03d}": array for i, array in enumerate(checkpoint.arrays)}
    if checkpoint.painted is not None:
        arrays["painted"] = checkpoint.painted
    return seal(_MAGIC, header=np.array(header), **arrays)


def from_bytes(data: bytes) -> Checkpoint:
    """The inverse of `to_bytes`. Raises CheckpointCorrupt."""
    with opened(data, _MAGIC, noun="checkpoint", corrupt=CheckpointCorrupt) as archive:
        header = json.loads(str(archive["header"]))
        if header.pop("engine") != ENGINE_VERSION:
            raise CheckpointCorrupt("A checkpoint was written by another version of the engine.")
        owner, position = header.pop("owner"), Position(**header.pop("position"))
        names = sorted(name for name in archive.files if name.startswith("array"))
        return Checkpoint(
            owner=owner,
            place=Place(position=position, **header),
            arrays=tuple(archive[name] for name in names),
            painted=archive["painted"] if "painted" in archive.files else None,
        )


def checkpoint_position(data: bytes) -> tuple[int, int]:
    """Stage and iteration: pictures can be resumed together where these are equal. Raises CheckpointCorrupt."""
    position = from_bytes(data).place.position
    return position.stage, position.iteration
