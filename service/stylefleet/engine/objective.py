"""What is minimized: three terms per picture, each relative, so that one set of weights holds everywhere.

    loss = style_weight' * sum_l w_l mean((G_l - S_l)^2) / mean(S_l^2)      G = F^T F / (H W), S the style's
         + content_weight' * mean((F - C)^2) / mean(C^2)                    at block4_conv2
         + tv_weight' * mean squared difference of neighbouring pixels / 255^2

Gatys, Ecker and Bethge, Image Style Transfer Using CNNs, CVPR 2016, equations 1-7, with these departures:
* Gram matrices are divided by H W, so that a style seen at another size has the same Gram.
* Each style layer is divided by the mean square of the style's own Gram, and the content term by that of the content's
  features. With raw equal weights the deep layers' large activations rule: grain instead of brush strokes, and every
  size and backbone needs weights of its own. Relative terms are of order one.
* Total variation (squared, as in Mahendran and Vedaldi 2015 with beta = 2) holds down the noise of single pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from stylefleet.engine._tensorflow import tf
from stylefleet.recipe import Recipe

CONTENT_LAYER = "block4_conv2"
"""relu4_2 of the papers."""
STYLE_LAYERS = ("block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1", "block5_conv1")
"""relu1_1 .. relu5_1 of the papers."""
STYLE_LAYER_WEIGHTS = (0.2, 0.2, 0.2, 0.2, 0.2)
"""Share of each style layer; the sum is 1."""
OUTPUT_LAYERS = (*STYLE_LAYERS, CONTENT_LAYER)

# The recipe speaks the numbers of the seed article, content 1e3 : style 1e-2 : tv 1.0. They mean the balanced look,
# which in relative terms is this:
CONTENT_PER_RECIPE = 180.0 / 1e3
STYLE_PER_RECIPE = 1000.0 / 1e-2
TV_PER_RECIPE = 2000.0 / 1.0


@dataclass(frozen=True, kw_only=True)
class TermWeights:
    """Factors of the relative terms."""

    style: float
    """Of the style term."""
    content: float
    """Of the content term."""
    tv: float
    """Of total variation."""


def term_weights(recipe: Recipe) -> TermWeights:
    """The one place where the recipe's numbers become factors of relative terms; linear in each."""
    return TermWeights(
        style=recipe.style_weight * STYLE_PER_RECIPE,
        content=recipe.content_weight * CONTENT_PER_RECIPE,
        tv=recipe.tv_weight * TV_PER_RECIPE,
    )


class Terms(NamedTuple):
    """The relative terms of each picture, unweighted; float32 [B]."""

    style: tf.Tensor
    content: tf.Tensor
    tv: tf.Tensor

    def total(self, weights: Terms) -> tf.Tensor:
        """Weighted sum [B]; `weights` holds scalars."""
        return self.style * weights.style + self.content * weights.content + self.tv * weights.tv


def gram(features: tf.Tensor) -> tf.Tensor:
    """[B, h, w, C] in any precision -> F^T F / (h w), float32 [B, C, C].

    Cast and divided before the product: half precision overflows at 65504, and a sum of squares gets there.
    """
    features = tf.cast(features, tf.float32)
    shape = tf.shape(features)
    positions = shape[1] * shape[2]
    scale = tf.math.rsqrt(tf.cast(positions, tf.float32))
    return _self_product(tf.reshape(features, [shape[0], positions, features.shape[3]]) * scale)


@tf.custom_gradient
def _self_product(flat: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """[B, n, C] -> flat^T flat [B, C, C]. TensorFlow's own gradient makes two large products of what is one."""

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.matmul(flat, upstream + tf.linalg.matrix_transpose(upstream))

    return tf.matmul(flat, flat, transpose_a=True), gradient


def style_term(grams: tuple[tf.Tensor, ...], targets: tuple[tf.Tensor, ...]) -> tf.Tensor:
    """Grams [B, C, C] and targets [C, C], one per style layer -> [B]."""
    terms = [
        weight * _mean_square(found - target) / _mean_square(target[None])
        for weight, found, target in zip(STYLE_LAYER_WEIGHTS, grams, targets, strict=True)
    ]
    return tf.add_n(terms)


def content_term(features: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Activations of the picture and of the content [B, h, w, C] -> [B]."""
    features, target = tf.cast(features, tf.float32), tf.cast(target, tf.float32)
    return _mean_square(features - target) / _mean_square(target)


def tv_term(pixels: tf.Tensor) -> tf.Tensor:
    """[B, H, W, 3], 0..255 -> [B]."""
    scaled = pixels / 255.0
    down = scaled[:, 1:] - scaled[:, :-1]
    right = scaled[:, :, 1:] - scaled[:, :, :-1]
    return _mean_square(down) + _mean_square(right)


def _mean_square(x: tf.Tensor) -> tf.Tensor:
    """[B, ...] -> [B]."""
    return tf.reduce_mean(tf.square(x), axis=list(range(1, x.shape.rank)))
