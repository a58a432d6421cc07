"""Which style goes where: masks of the picture become weights of each layer's positions.

Gatys et al., Controlling Perceptual Factors in Neural Style Transfer, CVPR 2017, section 4 and its supplement: a deep
position sees far beyond its own place, so a mask that is merely made smaller lets a style pull at pixels of its
neighbours. Here a mask is narrowed by the layer's reach before it is made smaller, so that a position counts for a
region only as far as nothing it sees lies in another one. Where that would leave too little of a region (a narrow one,
or a coarse scale) it is narrowed by half as much, and so on. Towards what is left alone nothing is narrowed: no style
can pull at that, and what would be left out is a rim around it that stays without strokes.
"""

from __future__ import annotations

import math

import numpy as np

from stylefleet.engine import backbone as backbones
from stylefleet.engine._tensorflow import tf
from stylefleet.engine.evaluation import Region
from stylefleet.engine.objective import Layers
from stylefleet.recipe import Backbone

KEPT_MIN = 0.25
"""Share of a region that must be left after narrowing."""
HAIR = 1 / 512
"""Less than half a step of a mask's 256."""
POSITIONS_MIN = 1e-3
"""Floor of the number of positions that moments are divided by, for a region that a picture does not have."""


def masks_at(masks: np.ndarray, size: tuple[int, int]) -> tf.Tensor:
    """uint8 [B, R, H, W] -> float32 [B, h, w, R] in 0..1, at this height and width; soft edges stay soft."""
    channels_last = tf.constant(masks.transpose(0, 2, 3, 1), tf.float32) / 255.0
    resized = tf.image.resize(channels_last, size, "bilinear", antialias=True)
    # Rounding must not leave a hair of freedom: what may move by next to nothing would be moved very far.
    return tf.where(resized < HAIR, 0.0, tf.where(resized > 1.0 - HAIR, 1.0, resized))


def regions_at(
    masks: tf.Tensor, layers: Layers, backbone: Backbone, counted: tf.Tensor | None = None
) -> tuple[dict[str, Region], tf.Tensor]:
    """Weights by style layer, and each region's share of the picture [B, R], of masks [B, h, w, R] in 0..1.

    `counted` [B, h, w, 1] says how far a pixel counts for its region at all; None: everywhere.
    """
    found = {}
    for name, _ in layers.style:
        narrowed = narrow(masks, backbones.reach(backbone, name))
        weights = narrowed if counted is None else narrowed * counted
        while weights.shape[1:3] != positions_at(masks.shape[1:3], name):
            # Halved block by block, as the network does it: its pooling pads odd sizes after the last pixel only.
            weights = tf.nn.avg_pool2d(weights, 2, 2, "SAME")
        positions = tf.maximum(tf.reduce_sum(weights, axis=[1, 2]), POSITIONS_MIN)
        found[name] = Region(weights, positions)
    return found, tf.reduce_mean(masks if counted is None else masks * counted, axis=[1, 2])


def positions_at(size: tuple[int, int], layer: str) -> tuple[int, int]:
    """Rows and columns of a layer for pictures of this height and width."""
    step = backbones.stride(layer)
    return math.ceil(size[0] / step), math.ceil(size[1] / step)


def narrow(masks: tf.Tensor, reach_px: int) -> tf.Tensor:
    """Masks [B, h, w, R], each 0 less than `reach_px` from where only others are, or as far as KEPT_MIN allows."""
    others = tf.reduce_sum(masks, axis=-1, keepdims=True) - masks
    own_or_nobodys = tf.maximum(masks, 1.0 - others)
    least = KEPT_MIN * tf.reduce_sum(masks, axis=[1, 2], keepdims=True)
    narrowed, reach = masks, reach_px
    settled = tf.zeros_like(least, tf.bool)
    while reach >= 1:
        candidate = tf.minimum(masks, _minimum(own_or_nobodys, reach))
        enough = tf.reduce_sum(candidate, axis=[1, 2], keepdims=True) >= least
        narrowed = tf.where(enough & ~settled, candidate, narrowed)
        settled |= enough
        reach //= 2
    return narrowed


def _minimum(masks: tf.Tensor, reach: int) -> tf.Tensor:
    """The smallest value within a square of 2 reach + 1; beyond the picture's border nothing counts."""
    window = 2 * reach + 1
    rows = tf.nn.max_pool2d(-masks, [window, 1], 1, "SAME")
    return -tf.nn.max_pool2d(rows, [1, window], 1, "SAME")
