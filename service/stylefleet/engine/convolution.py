"""A 3x3 convolution that is fast on CPUs without AVX-512.

There TensorFlow 2.21 hands oneDNN the forward kernel in a layout for which it has only its slowest code (im2col and
`gemm:jit`, 16-75 GFLOP/s on two Zen 3 cores), while the gradient towards the input runs oneDNN's `brg_conv:avx2`
(80-145). A convolution of stride 1 is also the gradient of another one, so the fast code can do both directions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stylefleet.engine._tensorflow import keras, tf
from stylefleet.engine.precision import Device


class GradientConv2D(keras.layers.Conv2D):
    """Conv2D, stride 1 and padding `same`, computed as the gradient of the convolution with the flipped kernel.

    Equal to Conv2D up to the rounding of the sums. With the kernel K [3, 3, C_in, C_out] and K' its half turn with
    input and output channels exchanged, conv(x, K) = d/dz <conv(z, K'), x>, which needs no derivative of anything:
    it is the operation Conv2DBackpropInput.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        rows, columns, channels_in, channels_out = self.kernel.shape
        # Kept beside the kernel: flipping 2 million numbers in every iteration costs as much as a small scale.
        self.flipped = self.add_weight(
            name="flipped", shape=(rows, columns, channels_out, channels_in), initializer="zeros", trainable=False
        )

    def set_weights(self, weights: list[np.ndarray]) -> None:
        """Kernel and bias, as for Conv2D; the flipped kernel follows from the kernel."""
        kernel, bias = weights
        super().set_weights([kernel, bias, kernel[::-1, ::-1].transpose(0, 1, 3, 2)])

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """[B, H, W, C_in] -> [B, H, W, C_out]; the hook that Keras offers for this."""
        kernel, flipped = tf.convert_to_tensor(kernel), tf.convert_to_tensor(self.flipped)

        @tf.custom_gradient
        def convolve(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return _input_gradient(flipped, x), lambda upstream: _input_gradient(kernel, upstream)

        return convolve(inputs)


def _input_gradient(kernel: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Kernel [3, 3, A, B], upstream [B, H, W, B] -> [B, H, W, A]."""
    sizes = tf.concat([tf.shape(upstream)[:3], [kernel.shape[2]]], axis=0)
    return tf.raw_ops.Conv2DBackpropInput(
        input_sizes=sizes, filter=kernel, out_backprop=upstream, strides=[1, 1, 1, 1], padding="SAME"
    )


def fastest_convolution(precision: str, device: Device) -> type[keras.layers.Conv2D]:
    """The layer class to build a backbone of."""
    slow_forward = device.kind == "cpu" and "avx512f" not in device.cpu_flags and precision == "float32"
    return GradientConv2D if slow_forward else keras.layers.Conv2D
