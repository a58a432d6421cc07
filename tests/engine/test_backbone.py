"""The backbone: which arithmetic it does, and which it leaves out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylefleet.engine import Device, Engine, weights
from stylefleet.engine._tensorflow import keras, tf
from stylefleet.engine.backbone import MEAN_BGR, Preprocess, build, layers_up_to
from stylefleet.engine.convolution import GradientConv2D, fastest_convolution
from stylefleet.engine.regions import positions_at
from tests.engine.pictures import photo, recipe, restyled


def test_pixels_become_bgr_minus_the_mean_with_the_border_repeated() -> None:
    pixels = np.arange(2 * 3 * 3, dtype=np.float32).reshape(1, 2, 3, 3)
    found = Preprocess()(pixels).numpy()
    inner = pixels[..., ::-1] - np.float32(MEAN_BGR)
    assert np.array_equal(found, np.pad(inner, [(0, 0), (1, 1), (1, 1), (0, 0)], mode="edge"))


def test_the_layer_sizes_halve_and_odd_sizes_lose_nothing(engine: Engine) -> None:
    found = engine.activations(tf.zeros([2, 37, 50, 3]))
    assert {name: a.shape.as_list() for name, a in found.items()} == {
        "block1_conv1": [2, 37, 50, 64],
        "block2_conv1": [2, 19, 25, 128],
        "block3_conv1": [2, 10, 13, 256],
        "block4_conv1": [2, 5, 7, 512],
        "block4_conv2": [2, 5, 7, 512],
        "block5_conv1": [2, 3, 4, 512],
    }


@settings(deadline=None)
@given(st.integers(1, 3000), st.integers(1, 3000))
def test_a_layer_has_the_positions_that_masks_and_tiles_count_on_at_any_size(
    engine: Engine, height: int, width: int
) -> None:
    shapes = engine.programs.model.compute_output_shape((1, height, width, 3))
    assert [shape[1:3] for shape in shapes] == [positions_at((height, width), name) for name in engine.layers.outputs]


@pytest.mark.parametrize(("channels_in", "channels_out"), [(3, 5), (8, 8)])
def test_the_gradient_convolution_equals_the_plain_one_forwards_and_backwards(
    channels_in: int, channels_out: int
) -> None:
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(2, 7, 6, channels_in)), tf.float32)
    kernel, bias = rng.normal(size=(3, 3, channels_in, channels_out)), rng.normal(size=channels_out)
    upstream = tf.constant(rng.normal(size=(2, 7, 6, channels_out)), tf.float32)
    results = []
    for layer_class in (keras.layers.Conv2D, GradientConv2D):
        layer = layer_class(channels_out, 3, padding="same", activation="relu", trainable=False)
        layer.build(x.shape)
        layer.set_weights([kernel, bias])
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            total = tf.reduce_sum(y * upstream)
        results.append((y.numpy(), tape.gradient(total, x).numpy()))
    for plain, ours in zip(*results, strict=True):
        assert ours == pytest.approx(plain, rel=1e-4, abs=1e-5)


def test_both_convolutions_see_the_same_in_a_photo() -> None:
    names = layers_up_to("vgg16-hed", "block5_conv1")
    loaded = weights.read_weights("vgg16-hed", names)
    plain, ours = (
        build("vgg16-hed", loaded, outputs=names, precision="float32", convolution=convolution)
        for convolution in (keras.layers.Conv2D, GradientConv2D)
    )
    pixels = tf.constant(photo()[None], tf.float32)
    for a, b in zip(plain(pixels), ours(pixels), strict=True):
        assert b.numpy() == pytest.approx(a.numpy(), rel=1e-3, abs=1e-3 * float(tf.reduce_max(a)))


def test_the_gradient_convolution_is_for_cpus_without_avx512_in_float32() -> None:
    avx2 = Device(kind="cpu", name="", cpu_flags=frozenset({"avx2"}))
    avx512 = Device(kind="cpu", name="", cpu_flags=frozenset({"avx2", "avx512f"}))
    gpu = Device(kind="gpu", name="", compute_capability=(8, 0))
    assert fastest_convolution("float32", avx2) is GradientConv2D
    assert fastest_convolution("mixed_bfloat16", avx2) is keras.layers.Conv2D
    assert fastest_convolution("float32", avx512) is keras.layers.Conv2D
    assert fastest_convolution("float32", gpu) is keras.layers.Conv2D


def computed_operations(graph: tf.Graph) -> list[str]:
    """Types of the operations that some output depends on; TensorFlow prunes the others before it runs a graph."""
    waiting, seen = [t.op for t in graph.outputs], set()
    while waiting:
        operation = waiting.pop()
        if operation not in seen:
            seen.add(operation)
            waiting += [t.op for t in operation.inputs] + list(operation.control_inputs)
    return [operation.type for operation in seen]


def test_the_graph_computes_no_gradient_of_a_weight(engine: Engine) -> None:
    """By graph, whichever convolution it is built of."""
    wanted = recipe((32, 1))
    restyled(engine, wanted)
    graph = next(p for key, p in engine.programs.programs.items() if key[0] == "advance").get_concrete_function().graph
    bodies = [f.graph for f in graph._functions.values() if "while_body" in f.name.decode()]
    assert len(bodies) == 1
    operations = computed_operations(bodies[0])
    assert operations.count("Conv2DBackpropInput") >= 11
    assert operations.count("Conv2DBackpropFilter") == 0
    assert operations.count("BiasAddGrad") == 0


@pytest.mark.parametrize("backbone", ["vgg16-hed", "vgg19-imagenet"])
def test_average_pooling_leaves_the_padding_out_of_its_means(backbone: str) -> None:
    names = layers_up_to(backbone, "block2_conv1")  # type: ignore[arg-type]
    loaded = weights.read_weights("vgg16-hed", names)
    model = build("vgg16-hed", loaded, outputs=("block1_conv2", "block2_conv1"), pooling="average")
    pixels = tf.constant(photo(11, 9)[None], tf.float32)
    before = model(pixels)[0].numpy()
    pooled = keras.Model(model.input, model.get_layer("block1_pool").output)(pixels).numpy()
    assert pooled.shape == (1, 5, 6, 64)
    assert pooled[0, 0, 0] == pytest.approx(before[0, :2, :2].mean(axis=(0, 1)), rel=1e-4, abs=1e-3)
    assert pooled[0, 4, 5] == pytest.approx(before[0, 8, 10], rel=1e-4, abs=1e-3)


def test_half_precision_weights_are_held_in_half_precision() -> None:
    names = layers_up_to("vgg16-hed", "block1_conv2")
    model = build("vgg16-hed", weights.read_weights("vgg16-hed", names), outputs=names, precision="bfloat16")
    assert {w.dtype for w in model.weights} == {"bfloat16"}
