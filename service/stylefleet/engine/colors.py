"""The content in the style's colours: where the optimization starts, and what its content term compares with.

The optimizer moves edges and strokes in a few dozen iterations, but large areas of colour only in hundreds. A linear
map does that part at once: Gatys et al., Controlling Perceptual Factors in Neural Style Transfer, CVPR 2017, section
5.3, there applied to the style; here to the content, so that the result has the style's palette.
"""

from __future__ import annotations

import numpy as np

DEVIATION_MIN = 10.0
"""Deviation of colour, in 0..255, that a content is credited with at least: without it a flat sky's noise would be
stretched over the whole palette."""


def match_colors(pixels: np.ndarray, *, mean: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] mapped linearly to the mean [3] and second raw moment [3, 3] of a style's colours, 0..255.

    Of all linear maps with that result, the one that moves the colours least (Monge-Kantorovich; Pitié and Kokaram
    2007, equation 9): A = C^-1/2 (C^1/2 S C^1/2)^1/2 C^-1/2.
    """
    flat = pixels.reshape(-1, 3).astype(np.float64)
    found_mean, mean = flat.mean(axis=0), mean.astype(np.float64)
    found = np.cov(flat, rowvar=False) + DEVIATION_MIN**2 * np.eye(3)
    wanted = gram.astype(np.float64) - np.outer(mean, mean)
    root, inverse_root = _power(found, 0.5), _power(found, -0.5)
    matrix = inverse_root @ _power(root @ wanted @ root, 0.5) @ inverse_root
    mapped = (flat - found_mean) @ matrix.T + mean
    return np.rint(np.clip(mapped, 0, 255)).astype(np.uint8).reshape(pixels.shape)


def color_moments(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [3] and second raw moment [3, 3] of the colours of uint8 [H, W, 3]; float32."""
    flat = pixels.reshape(-1, 3).astype(np.float64)
    return flat.mean(axis=0).astype(np.float32), (flat.T @ flat / len(flat)).astype(np.float32)


def _power(symmetric: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a positive semi-definite matrix; rounding may have left an eigenvalue just below zero."""
    values, vectors = np.linalg.eigh(symmetric)
    return (vectors * np.maximum(values, 0.0) ** exponent) @ vectors.T
