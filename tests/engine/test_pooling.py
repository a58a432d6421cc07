"""Max pooling as the backbones use it: Keras' values and gradient, by oneDNN's kernels inside a loop too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.profile import operations

from stylefleet.engine import Engine
from stylefleet.engine._tensorflow import keras, tf
from stylefleet.engine.pooling import LoopMaxPooling2D
from tests.engine.pictures import photo, recipe, restyled


def value_and_gradient(layer: keras.layers.Layer, x: tf.Tensor, upstream: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
    return y.numpy(), tape.gradient(y, x, output_gradients=upstream).numpy()


@pytest.mark.parametrize(("height", "width"), [(6, 8), (7, 8), (6, 9), (1, 5), (2, 2), (1, 1)])
def test_values_and_gradient_are_those_of_keras_at_even_and_odd_sizes(height: int, width: int) -> None:
    random = np.random.default_rng(7)
    x = tf.constant(random.standard_normal((2, height, width, 3)), tf.float32)
    upstream = tf.constant(random.standard_normal((2, -(-height // 2), -(-width // 2), 3)), tf.float32)
    expected = value_and_gradient(keras.layers.MaxPooling2D(2, padding="same"), x, upstream)
    found = value_and_gradient(LoopMaxPooling2D(2, padding="same"), x, upstream)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


def test_of_equal_values_one_alone_gets_the_gradient() -> None:
    x, upstream = tf.ones((1, 4, 4, 1)), tf.constant([1.0, 2.0, 3.0, 4.0], shape=(1, 2, 2, 1))
    _, gradient = value_and_gradient(LoopMaxPooling2D(2, padding="same"), x, upstream)
    assert gradient.sum() == 10
    assert np.count_nonzero(gradient) == 4


def test_where_onednn_pools_inside_a_run_it_computes_all_gradients_too(engine: Engine, tmp_path: Path) -> None:
    wanted = recipe((32, 2))
    restyled(engine, wanted, photo(32, 24))
    tf.profiler.experimental.start(str(tmp_path))
    restyled(engine, wanted, photo(32, 24))
    tf.profiler.experimental.stop()
    types = {operation.name.rpartition(":")[2] for operation in operations(tmp_path) if "MaxPool" in operation.name}
    assert types in ({"_MklNativeMaxPool", "_MklNativeMaxPoolGrad"}, {"MaxPool", "MaxPoolGrad"}), "kernels are mixed"
