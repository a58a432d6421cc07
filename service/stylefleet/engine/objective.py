"""What is minimized: three terms per picture, each relative, so that one set of weights holds everywhere.

    loss = style_weight' * sum_r a_r sum_l w_l error(l, r)       error = mean((G - S)^2) / mean(S^2)
                                                                  + mean((m - n)^2) / mean(n^2), where asked for
         + content_weight' * sum_l v_l mean((F - C)^2) / mean(C^2)
         + tv_weight' * mean squared difference of neighbouring pixels / 255^2

G = F^T F / (H W) and m = mean F are the moments of the picture's activations, S and n the style's, at the style layers
l; F and C are the activations of the picture and of the content at the content layers. With regions r, the moments are
taken over a region's own positions, and a_r is its share of the picture, so that a stroke is worth the same everywhere.

Gatys, Ecker and Bethge, Image Style Transfer Using CNNs, CVPR 2016, equations 1-7, with these departures:
* Gram matrices are divided by H W, so that a style seen at another size has the same Gram.
* Each style layer is divided by the mean square of the style's own Gram, and the content term by that of the content's
  features. With raw equal weights the deep layers' large activations rule: grain instead of brush strokes, and every
  size and backbone needs weights of its own. Relative terms are of order one.
* Means beside Gram matrices: Galerne, Raad, Lezama and Morel, Scaling Painting Style Transfer, arXiv:2212.13459.
* Regions: Gatys et al., Controlling Perceptual Factors in Neural Style Transfer, CVPR 2017, section 4.
* Total variation (squared, as in Mahendran and Vedaldi 2015 with beta = 2) holds down the noise of single pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from stylefleet.engine._tensorflow import tf
from stylefleet.engine.batchwise import mean_square
from stylefleet.recipe import Recipe, Statistics

# The recipe speaks the numbers of the seed article, content 1e3 : style 1e-2 : tv 1.0. They mean the balanced look,
# which in relative terms is this:
CONTENT_PER_RECIPE = 180.0 / 1e3
STYLE_PER_RECIPE = 1000.0 / 1e-2
TV_PER_RECIPE = 2000.0 / 1.0

TINY = 1e-8
"""Floor of what is divided by: a style or content in which a layer sees nothing at all."""


class Terms(NamedTuple):
    """The relative terms of each picture, unweighted, float32 [B]; or the factors of the terms, scalars."""

    style: tf.Tensor
    content: tf.Tensor
    tv: tf.Tensor

    def total(self, weights: Terms) -> tf.Tensor:
        """Weighted sum [B]; `weights` holds scalars."""
        return self.style * weights.style + self.content * weights.content + self.tv * weights.tv


def term_weights(recipe: Recipe) -> Terms:
    """The one place where the recipe's numbers become factors of relative terms, as floats; linear in each."""
    return Terms(
        style=recipe.style_weight * STYLE_PER_RECIPE,
        content=recipe.content_weight * CONTENT_PER_RECIPE,
        tv=recipe.tv_weight * TV_PER_RECIPE,
    )


@dataclass(frozen=True, kw_only=True)
class Layers:
    """Which layers the objective looks at; the static part of a recipe, for which a program is traced."""

    content: tuple[tuple[str, float], ...]
    """Name and weight v_l."""
    style: tuple[tuple[str, float], ...]
    """Name and weight w_l."""
    statistics: Statistics

    @property
    def outputs(self) -> tuple[str, ...]:
        """Every layer once."""
        return tuple(sorted({name for name, _ in (*self.content, *self.style)}))


def layers_of(recipe: Recipe) -> Layers:
    """A layer of weight 0 is left out: it costs time and changes nothing."""
    return Layers(
        content=tuple((w.layer, w.weight) for w in recipe.content_layers if w.weight > 0),
        style=tuple((w.layer, w.weight) for w in recipe.style_layers if w.weight > 0),
        statistics=recipe.statistics,
    )


class Moments(NamedTuple):
    """First two raw moments of activations over the positions of each region. They add up over parts of a picture."""

    gram: tf.Tensor
    """float32 [B, R, C, C]."""
    mean: tf.Tensor
    """float32 [B, R, C]."""


def moments(features: tf.Tensor, weights: tf.Tensor | None, positions: tf.Tensor) -> Moments:
    """Of activations [B, h, w, C], where `weights` [B, h, w, R] says how far a position belongs to each region (None:
    one region, all of it), divided by `positions`, float32 [B, R]: the sums of the weights over the whole picture."""
    shape = tf.shape(features)
    flat = tf.reshape(features, [shape[0], shape[1] * shape[2], features.shape[3]])
    if weights is None:
        gram, mean = _weighted_gram(flat)[:, None], tf.reduce_sum(tf.cast(flat, tf.float32), axis=1)[:, None]
    else:
        columns = tf.cast(tf.reshape(weights, [shape[0], shape[1] * shape[2], weights.shape[3]]), flat.dtype)
        parts = [columns[:, :, r, None] for r in range(weights.shape[3])]
        gram = tf.stack([_weighted_gram(flat, part) for part in parts], axis=1)
        mean = tf.stack([tf.reduce_sum(tf.cast(flat * part, tf.float32), axis=1) for part in parts], axis=1)
    return Moments(gram / positions[:, :, None, None], mean / positions[:, :, None])


def _weighted_gram(flat: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """[B, n, C] and weights [B, n, 1] (None: all 1) -> flat^T diag(weights) flat, float32 [B, C, C].

    TensorFlow's own gradient makes two large products of what is one: the Gram is symmetric in its two factors.
    """

    @tf.custom_gradient
    def product(flat: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            symmetric = upstream + tf.linalg.matrix_transpose(upstream)
            if flat.dtype == tf.float16:  # its range is too small for the gradient of a mean over a large picture
                towards_flat = tf.cast(tf.matmul(tf.cast(flat, tf.float32), symmetric), tf.float16)
            else:
                towards_flat = tf.matmul(flat, tf.cast(symmetric, flat.dtype))
            return towards_flat if weights is None else towards_flat * weights

        return _sum_of_products(flat if weights is None else flat * weights, flat), gradient

    return product(flat)


def _sum_of_products(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """a^T b of [B, n, C] in any precision, summed in float32: [B, C, C].

    A product of bfloat16 matrices accumulates in float32 but stores its result in bfloat16, so it is taken in parts
    whose results are added in float32: the Gram's error falls from 2e-3 to 6e-4 with eight parts. (Casting the
    activations first takes twice as long.) Of float16 a sum of squares passes 65504 at once: it is cast.
    """
    if a.dtype != tf.bfloat16:
        return tf.matmul(tf.cast(a, tf.float32), tf.cast(b, tf.float32), transpose_a=True)
    shape, channels = tf.shape(a), a.shape[2]
    # The largest power of two up to 8 that divides the number of positions.
    parts = tf.minimum(8, tf.bitwise.bitwise_and(shape[1], -shape[1]))
    split = [shape[0] * parts, shape[1] // parts, channels]
    products = tf.matmul(tf.reshape(a, split), tf.reshape(b, split), transpose_a=True)
    return tf.reduce_sum(tf.reshape(tf.cast(products, tf.float32), [shape[0], parts, channels, channels]), axis=1)


def style_term(found: dict[str, Moments], wanted: dict[str, Moments], shares: tf.Tensor, layers: Layers) -> tf.Tensor:
    """Moments by layer of the picture [B, R, ...] and of the styles [B or 1, R, ...], shares [B, R] -> [B]."""
    total = tf.zeros(tf.shape(shares)[:1])
    for name, weight in layers.style:
        error = _relative_error(found[name].gram, wanted[name].gram)
        if layers.statistics == "gram+mean":
            error += _relative_error(found[name].mean, wanted[name].mean)
        total += weight * tf.reduce_sum(shares * error, axis=1)
    return total


def _relative_error(found: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """[B, R, ...], [B or 1, R, ...] -> [B, R]."""
    axes = list(range(2, found.shape.rank))
    size = tf.maximum(tf.reduce_mean(tf.square(wanted), axis=axes), TINY)
    return tf.reduce_mean(tf.square(found - wanted), axis=axes) / size


def content_norm(target: tf.Tensor) -> tf.Tensor:
    """mean(C^2) of the content's activations [B, h, w, C] -> [B]."""
    return tf.maximum(mean_square(tf.cast(target, tf.float32)), TINY)


def content_error(features: tf.Tensor, target: tf.Tensor, norm: tf.Tensor) -> tf.Tensor:
    """Activations of the picture and of the content [B, h, w, C], and `content_norm` [B] -> [B]."""
    # The difference in the activations' own precision, whose rounding it already has; its square sum in float32.
    return mean_square(tf.cast(features - target, tf.float32)) / norm


@tf.custom_gradient
def tv_term(pixels: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """[B, H, W, 3], 0..255 -> [B]. The gradient is written out: TensorFlow's own, of slices, makes ten passes."""
    down, right = pixels[:, 1:] - pixels[:, :-1], pixels[:, :, 1:] - pixels[:, :, :-1]
    shape = tf.cast(tf.shape(pixels), tf.float32)
    per_row = 1 / (255.0**2 * tf.maximum((shape[1] - 1) * shape[2] * shape[3], 1))
    per_column = 1 / (255.0**2 * tf.maximum(shape[1] * (shape[2] - 1) * shape[3], 1))

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        rows, columns = 2 * per_row * down, 2 * per_column * right
        uphill = tf.pad(rows, [[0, 0], [1, 0], [0, 0], [0, 0]]) - tf.pad(rows, [[0, 0], [0, 1], [0, 0], [0, 0]])
        uphill += tf.pad(columns, [[0, 0], [0, 0], [1, 0], [0, 0]]) - tf.pad(columns, [[0, 0], [0, 0], [0, 1], [0, 0]])
        return upstream[:, None, None, None] * uphill

    axes = [1, 2, 3]
    return (
        per_row * tf.reduce_sum(tf.square(down), axis=axes) + per_column * tf.reduce_sum(tf.square(right), axis=axes),
        gradient,
    )
