"""A weights file is hashed before it is parsed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import h5py
import numpy as np
import pytest

from stylefleet.engine import load_engine, weights
from stylefleet.engine.backbone import layers_up_to
from stylefleet.errors import WeightsInvalid
from stylefleet.presets import recipe_for
from tests.engine.pictures import recipe, restyled

VGG19 = recipe_for(backbone="vgg19-imagenet")


def vgg19_file(path: Path, layers: tuple[str, ...]) -> str:
    """A file in the legacy layout of keras.applications with random numbers; returns its SHA-256."""
    channels = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}
    rng, channels_in = np.random.default_rng(0), 3
    with h5py.File(path, "w") as file:
        for layer in layers:
            channels_out = channels[layer[5]]
            names = [f"{layer}_W_1:0", f"{layer}_b_1:0"]
            group = file.create_group(layer)
            scale = (2 / 9 / channels_in) ** 0.5
            group[names[0]] = rng.normal(0, scale, (3, 3, channels_in, channels_out)).astype("f4")
            group[names[1]] = np.zeros(channels_out, "f4")
            group.attrs["weight_names"] = [name.encode() for name in names]
            channels_in = channels_out
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_installed_hed_file_is_the_pinned_one() -> None:
    found = weights.read_weights("vgg16-hed", ("block1_conv1", "block3_conv3"))
    assert found.sha256 == weights.HED_SHA256
    assert found.arrays_by_layer["block1_conv1"][0].shape == (3, 3, 3, 64)
    assert found.arrays_by_layer["block3_conv3"][0].shape == (3, 3, 256, 256)


def test_a_changed_byte_is_found_before_the_parser_sees_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.h5"
    file.write_bytes(b"not what was pinned")
    monkeypatch.setattr(h5py, "File", lambda *_: pytest.fail("parsed before it was verified"))
    with pytest.raises(WeightsInvalid, match=r"weights\.h5.*has SHA-256 [0-9a-f]{64}, expected 4502df9d"):
        load_engine(recipe_for(), weights_path=file)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsInvalid, match=r"nowhere\.h5 cannot be read \(No such file"):
        load_engine(recipe_for(), weights_path=tmp_path / "nowhere.h5")


def test_vgg19_asks_for_a_path_and_a_pinned_hash(tmp_path: Path) -> None:
    with pytest.raises(WeightsInvalid, match="needs the path of its weights file"):
        load_engine(VGG19)
    with pytest.raises(WeightsInvalid, match="needs the path of its weights file"):
        load_engine(VGG19, weights_path=tmp_path / "vgg19.h5")


def test_the_callers_hash_does_not_overrule_the_publishers(tmp_path: Path) -> None:
    sha256 = vgg19_file(tmp_path / "vgg19.h5", ("block1_conv1",))
    with pytest.raises(WeightsInvalid, match=f"its publisher names {weights.VGG19_MD5}"):
        load_engine(VGG19, weights_path=tmp_path / "vgg19.h5", weights_sha256=sha256)


def test_the_legacy_layout_of_keras_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = layers_up_to("vgg19-imagenet", "block5_conv1")
    sha256 = vgg19_file(tmp_path / "vgg19.h5", layers)
    monkeypatch.setattr(weights, "VGG19_MD5", hashlib.md5((tmp_path / "vgg19.h5").read_bytes()).hexdigest())  # noqa: S324
    engine = load_engine(VGG19, weights_path=tmp_path / "vgg19.h5", weights_sha256=sha256.upper())
    activations = engine.activations(np.zeros((1, 32, 32, 3), np.float32))
    assert activations["block5_conv1"].shape == (1, 2, 2, 512)
    assert engine.weights_sha256 == sha256
    # and the whole way of a picture runs on it
    wanted = recipe((24, 2), (32, 2), backbone="vgg19-imagenet")
    float32 = load_engine(wanted, weights_path=tmp_path / "vgg19.h5", weights_sha256=sha256)
    assert np.isfinite(restyled(float32, wanted).losses).all()


def test_a_pinned_file_of_another_layout_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["something"] = np.zeros(3)
    sha256 = hashlib.sha256((tmp_path / "other.h5").read_bytes()).hexdigest()
    with pytest.raises(WeightsInvalid, match="not the layout"):
        load_engine(recipe_for(), weights_path=tmp_path / "other.h5", weights_sha256=sha256)


@pytest.mark.parametrize(("backbone", "count"), [("vgg16-hed", 11), ("vgg19-imagenet", 13)])
def test_a_backbone_is_cut_at_the_deepest_layer_that_is_needed(backbone: str, count: int) -> None:
    names = layers_up_to(backbone, "block5_conv1")  # type: ignore[arg-type]
    assert len(names) == count
    assert names[-1] == "block5_conv1"
