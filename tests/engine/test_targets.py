"""Style targets: computed, blended, stored."""

from __future__ import annotations

import numpy as np
import pytest

from stylefleet.engine import Engine, StyleTargetCorrupt, blend, from_bytes, style_target, to_bytes
from stylefleet.engine._tensorflow import tf
from tests.engine.pictures import painting


def test_a_target_holds_mean_and_gram_of_every_style_layer(engine: Engine) -> None:
    target = style_target(engine, painting(64)[:48], 32)
    assert target.size_px == 32
    assert target.weights_sha256 == engine.weights_sha256
    assert {name for name, _ in engine.layers.style} <= set(target.layers)
    found = engine.activations(tf.constant(painting(64)[None], tf.float32))["block3_conv1"].numpy()[0]
    statistics = style_target(engine, painting(64), 64).layers["block3_conv1"]
    assert statistics.mean == pytest.approx(found.mean(axis=(0, 1)), rel=1e-4, abs=1e-4)
    flat = found.reshape(-1, 256)
    assert statistics.gram == pytest.approx(flat.T @ flat / len(flat), rel=1e-3, abs=0.1)


def test_a_target_survives_storage_bit_for_bit(engine: Engine) -> None:
    target = style_target(engine, painting(), 32)
    data = to_bytes(target)
    again = from_bytes(data)
    assert (again.size_px, again.weights_sha256) == (target.size_px, target.weights_sha256)
    assert list(again.layers) == list(target.layers)
    for name, layer in target.layers.items():
        assert np.array_equal(again.layers[name].gram, layer.gram)
        assert np.array_equal(again.layers[name].mean, layer.mean)
    assert to_bytes(again) == data


DAMAGE = {
    "empty": lambda data: b"",
    "another file": lambda data: b"\x89PNG\r\n\x1a\n" + data,
    "cut in the header": lambda data: data[:40],
    "cut in the middle": lambda data: data[: len(data) // 2],
    "one bit": lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:],
    "one bit of the checksum": lambda data: data[:30] + bytes([data[30] ^ 1]) + data[31:],
    "bytes added": lambda data: data + b"x",
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_bytes_are_found(case: str, engine: Engine) -> None:
    with pytest.raises(StyleTargetCorrupt):
        from_bytes(DAMAGE[case](to_bytes(style_target(engine, painting(), 32))))


def test_a_blend_is_linear_and_its_weights_are_normalized(engine: Engine) -> None:
    one, two = (style_target(engine, painting(seed=seed), 32) for seed in (1, 2))
    mixed = blend([(one, 3.0), (two, 1.0)])
    for name, layer in mixed.layers.items():
        expected = 0.75 * one.layers[name].gram + 0.25 * two.layers[name].gram
        assert layer.gram == pytest.approx(expected, rel=1e-4, abs=1e-4)
        assert layer.gram.dtype == np.float32
        expected = 0.75 * one.layers[name].mean + 0.25 * two.layers[name].mean
        assert layer.mean == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_blend_of_one_is_that_one(engine: Engine) -> None:
    one = style_target(engine, painting(), 32)
    assert to_bytes(blend([(one, 0.4)])) == to_bytes(one)


def test_a_blend_refuses_what_cannot_be_mixed(engine: Engine) -> None:
    small, large = (style_target(engine, painting(), size) for size in (32, 48))
    with pytest.raises(ValueError, match="one size"):
        blend([(small, 1.0), (large, 1.0)])
    for weights in ([0.0, 0.0], [1.0, -0.5]):
        with pytest.raises(ValueError, match="sum above 0"):
            blend([(small, w) for w in weights])


def test_a_style_is_never_enlarged(engine: Engine) -> None:
    """Beyond its own size it has nothing finer to show."""
    own, beyond = (style_target(engine, painting(48), size) for size in (48, 96))
    assert beyond.size_px == 96
    for name, layer in own.layers.items():
        assert np.array_equal(beyond.layers[name].gram, layer.gram)
