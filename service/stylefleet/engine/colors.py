"""What happens to colours: the content takes the style's, the style takes the content's, or only light and dark count.

`style`: the optimizer moves edges and strokes in a few dozen iterations, but large areas of colour only in hundreds. A
linear map does that part at once, so the content is recoloured before the optimization, and the content term compares
with that. `match`: Gatys et al., Controlling Perceptual Factors in Neural Style Transfer, CVPR 2017, section 5.3: the
style is recoloured like the content. `luminance`: section 5.1: gray pictures are optimized, the style's light and dark
brought to the mean and deviation of the content's, and the content's colours are laid over the result.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from stylefleet.recipe import Colors

DEVIATION_MIN = 10.0
"""Deviation of colour, in 0..255, that a picture is credited with at least: without it a flat sky's noise would be
stretched over the whole palette."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Share of R, G and B in luma, ITU-R BT.601; what YUV calls Y."""


def match_colors(
    pixels: np.ndarray, *, mean: np.ndarray, gram: np.ndarray, like: np.ndarray | None = None
) -> np.ndarray:
    """uint8 [H, W, 3] mapped linearly to the mean [3] and second raw moment [3, 3] of other colours, 0..255.

    Of all linear maps with that result, the one that moves the colours least (Monge-Kantorovich; Pitié and Kokaram
    2007, equation 9): A = C^-1/2 (C^1/2 S C^1/2)^1/2 C^-1/2. The map is the one of `like`, uint8 [h, w, 3], for a part
    of another picture; else of the pixels themselves.
    """
    found_mean, found_gram = _moments(pixels if like is None else like)
    mean = mean.astype(np.float64)
    found = found_gram - np.outer(found_mean, found_mean) + DEVIATION_MIN**2 * np.eye(3)
    wanted = gram.astype(np.float64) - np.outer(mean, mean)
    root, inverse_root = _power(found, 0.5), _power(found, -0.5)
    matrix = inverse_root @ _power(root @ wanted @ root, 0.5) @ inverse_root
    mapped = np.empty_like(pixels)
    for rows in _row_blocks(pixels):
        mapped[rows] = np.rint(np.clip((pixels[rows] - found_mean) @ matrix.T + mean, 0, 255))
    return mapped


def color_moments(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [3] and second raw moment [3, 3] of the colours of uint8 [H, W, 3]; float32."""
    mean, gram = _moments(pixels)
    return mean.astype(np.float32), gram.astype(np.float32)


def _moments(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same in float64."""
    total, products = np.zeros(3), np.zeros((3, 3))
    for rows in _row_blocks(pixels):
        flat = pixels[rows].reshape(-1, 3).astype(np.float64)
        total += flat.sum(axis=0)
        products += flat.T @ flat
    count = pixels.shape[0] * pixels.shape[1]
    return total / count, products / count


def _row_blocks(pixels: np.ndarray) -> Iterator[slice]:
    """Rows of [H, W, 3] in blocks of about a megapixel: in float64 at once, 24 of them would take 2 GB."""
    rows = max(1, 2**20 // pixels.shape[1])
    for begin in range(0, pixels.shape[0], rows):
        yield slice(begin, begin + rows)


def luma(pixels: np.ndarray) -> np.ndarray:
    """[..., 3] in 0..255 -> [...], float32."""
    return np.asarray(pixels @ LUMA)


def gray(pixels: np.ndarray) -> np.ndarray:
    """uint8 [..., 3] -> uint8 [..., 3], every channel the luma."""
    return np.rint(np.repeat(luma(pixels)[..., None], 3, axis=-1)).astype(np.uint8)


def style_for(colors: Colors, style: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The style uint8 [H, W, 3] as this content wants to see it."""
    if colors == "match":
        mean, gram = color_moments(content)
        return match_colors(style, mean=mean, gram=gram)
    if colors == "luminance":
        style_luma, content_luma = luma(style), luma(content)
        contrast = max(content_luma.std(), DEVIATION_MIN) / max(style_luma.std(), DEVIATION_MIN)
        matched = (style_luma - style_luma.mean()) * contrast + content_luma.mean()
        return np.rint(np.clip(np.repeat(matched[..., None], 3, axis=-1), 0, 255)).astype(np.uint8)
    return style


def with_colors_of(content: np.ndarray, painted: np.ndarray) -> np.ndarray:
    """The luma of `painted` with the chroma of `content`, both [..., 3] in 0..255; float32, not clipped.

    R, G and B are each luma plus a chroma term, so exchanging the luma adds its difference to all three.
    """
    return (content + (luma(painted) - luma(content))[..., None]).astype(np.float32)


def _power(symmetric: np.ndarray, exponent: float) -> np.ndarray:
    """A power of a positive semi-definite matrix; rounding may have left an eigenvalue just below zero."""
    values, vectors = np.linalg.eigh(symmetric)
    return (vectors * np.maximum(values, 0.0) ** exponent) @ vectors.T
