"""2x2 max pooling whose gradient is fast inside a loop.

TensorFlow 2.21 on a CPU replaces MaxPool and MaxPoolGrad by oneDNN's kernels, the gradient only where its pass over
the graph has met the pooling before. Inside a `tf.while_loop` the order of that pass is no topological one, and
three of VGG's four gradients stay with Eigen's kernel, which takes ten times as long. A function of its own that is
not inlined is a graph of its own, in which the pooling comes first.
"""

from __future__ import annotations

from collections.abc import Callable

from stylefleet.engine._tensorflow import keras, tf


class LoopMaxPooling2D(keras.layers.MaxPooling2D):
    """MaxPooling2D(2, padding="same") of [B, H, W, C]: the same values, the same gradient."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        @tf.custom_gradient
        def pool(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            return _pool(x), lambda upstream: _input_gradient(x, upstream)

        return pool(inputs)


def _pool(x: tf.Tensor) -> tf.Tensor:
    return tf.nn.max_pool2d(x, ksize=2, strides=2, padding="SAME")


@tf.function(experimental_attributes={"_noinline": True})
def _input_gradient(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    """Pools again, which costs a tenth of what it saves."""
    return tf.raw_ops.MaxPoolGrad(
        orig_input=x, orig_output=_pool(x), grad=upstream, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="SAME"
    )
