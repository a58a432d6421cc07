"""Style targets: what a style looks like to the backbone, at one size. Computed once, cached, blended."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stylefleet import pictures
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.colors import color_moments
from stylefleet.engine.engine import Engine
from stylefleet.engine.objective import STYLE_LAYERS, gram
from stylefleet.errors import PermanentError

PIXELS_LAYER = "pixels"
"""The picture itself, as a layer of three channels, RGB 0..255."""

_MAGIC = b"stylefleet style target 1\n"
_CHECKSUM_BYTES = hashlib.sha256().digest_size


class StyleTargetCorrupt(PermanentError):
    """Bytes of a cached style target are not what was written: the cache computes it anew."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerStatistics:
    """First two raw moments of a style's activations at one layer. Raw moments blend linearly, covariances do not."""

    mean: np.ndarray
    """Mean activation, float32 [C]."""
    gram: np.ndarray
    """F^T F / (h w), float32 [C, C]."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StyleTarget:
    """The style statistics of one style, or of a blend, at one scale."""

    size_px: int
    """Longer edge of the style picture when it was looked at."""
    weights_sha256: str
    """Weights file of the backbone that looked."""
    layers: Mapping[str, LayerStatistics]
    """Layer name -> statistics: the style layers, and `pixels`."""


def style_target(engine: Engine, pixels: np.ndarray, size_px: int) -> StyleTarget:
    """The target of a style picture uint8 [H, W, 3], resized so that its longer edge is `size_px`."""
    height, width = pixels.shape[:2]
    resized = pictures.resize(pixels, *pictures.result_size(width, height, size_px))
    activations = engine.activations(tf.constant(resized[None], tf.float32))
    mean, second_moment = color_moments(resized)
    layers = {PIXELS_LAYER: LayerStatistics(mean=mean, gram=second_moment)}
    for name in STYLE_LAYERS:
        features = tf.cast(activations[name], tf.float32)
        layers[name] = LayerStatistics(
            mean=tf.reduce_mean(features, axis=[0, 1, 2]).numpy(), gram=gram(features)[0].numpy()
        )
    return StyleTarget(size_px=size_px, weights_sha256=engine.weights_sha256, layers=layers)


def blend(weighted: Sequence[tuple[StyleTarget, float]]) -> StyleTarget:
    """The weighted mean of targets of one size and backbone; the weights need not sum to 1."""
    first = weighted[0][0]
    if any((t.size_px, t.weights_sha256) != (first.size_px, first.weights_sha256) for t, _ in weighted):
        raise ValueError("Only style targets of one size and one backbone blend.")
    total = sum(weight for _, weight in weighted)
    if not total > 0 or any(weight < 0 for _, weight in weighted):
        raise ValueError(f"Weights of styles are positive; found {[weight for _, weight in weighted]}.")

    def mixed(name: str, part: str) -> np.ndarray:
        terms = [weight / total * getattr(t.layers[name], part).astype(np.float64) for t, weight in weighted]
        return np.sum(terms, axis=0).astype(np.float32)

    layers = {name: LayerStatistics(mean=mixed(name, "mean"), gram=mixed(name, "gram")) for name in first.layers}
    return StyleTarget(size_px=first.size_px, weights_sha256=first.weights_sha256, layers=layers)


def to_bytes(target: StyleTarget) -> bytes:
    """A line that names the format, the SHA-256 of the rest, and a NumPy archive; equal targets give equal bytes."""
    arrays = {f"{name}.{part}": getattr(layer, part) for name, layer in target.layers.items() for part in _PARTS}
    buffer = io.BytesIO()
    np.savez(buffer, size_px=target.size_px, weights_sha256=target.weights_sha256, **arrays)  # type: ignore[arg-type]
    payload = buffer.getvalue()
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def from_bytes(data: bytes) -> StyleTarget:
    """The inverse of `to_bytes`. Raises StyleTargetCorrupt."""
    if not data.startswith(_MAGIC):
        raise StyleTargetCorrupt(f"A style target starts with {_MAGIC!r}, found {data[: len(_MAGIC)]!r}.")
    checksum = data[len(_MAGIC) : len(_MAGIC) + _CHECKSUM_BYTES]
    payload = data[len(_MAGIC) + _CHECKSUM_BYTES :]
    found = hashlib.sha256(payload).digest()
    if found != checksum:
        raise StyleTargetCorrupt(
            f"A style target of {len(data):,} bytes has SHA-256 {found.hex()}, but was written with {checksum.hex()}."
        )
    with np.load(io.BytesIO(payload), allow_pickle=False) as arrays:
        names = [key.removesuffix(".gram") for key in arrays.files if key.endswith(".gram")]
        return StyleTarget(
            size_px=int(arrays["size_px"]),
            weights_sha256=str(arrays["weights_sha256"]),
            layers={n: LayerStatistics(**{part: arrays[f"{n}.{part}"] for part in _PARTS}) for n in names},
        )


_PARTS = ("mean", "gram")
