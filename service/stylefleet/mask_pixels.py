"""A mask's pixels -> how much is selected. White selects, or what is drawn on transparent ground."""

from __future__ import annotations

import numpy as np
from PIL import Image

from stylefleet.errors import ImageInvalid

ASPECT_TOLERANCE = 0.02
"""By which a mask's aspect may differ from the picture's."""

_ONE_COLOUR = 16
"""Levels within which a drawing on transparent ground is of one colour: lossy WebP moves them by a few."""
_SMOOTH = Image.Resampling.BILINEAR
"""Not Lanczos, which would ring: select a little where nothing is, and not all where everything is."""


def check_shape(mask_width: int, mask_height: int, width: int, height: int) -> None:
    """Raises ImageInvalid where the mask, laid over the picture by its longer edge, is off at the shorter one."""
    longer, shorter = max(width, height), min(width, height)
    mask_longer, mask_shorter = (mask_width, mask_height) if width >= height else (mask_height, mask_width)
    # A shorter edge of 16.4 px is 16 px in the result: half a pixel is nobody's fault.
    if abs(mask_shorter * longer / mask_longer - shorter) > ASPECT_TOLERANCE * shorter + 0.5:
        raise ImageInvalid(
            "mask_shape",
            f"A mask of {mask_width} x {mask_height} px does not fit a picture of {width} x {height} px; "
            f"its aspect may differ by {ASPECT_TOLERANCE:.0%} at most.",
        )


def selection(image: Image.Image, width: int, height: int) -> np.ndarray:
    """How much an upright picture of 8 bit a channel selects: uint8 [height, width]; see `pictures.decode_mask`."""
    size = width, height
    if not image.has_transparency_data:
        gray = image if image.mode in ("1", "L") else image.convert("RGB")
        return np.asarray(gray.convert("L").resize(size, _SMOOTH))
    rgba = image.convert("RGBA").resize(size, _SMOOTH)
    alpha = rgba.getchannel("A")
    values = np.asarray(alpha)
    if values.min() < 255 and _of_one_colour(rgba, values):
        return values
    black = Image.new("RGB", size)
    black.paste(rgba.convert("RGB"), mask=alpha)
    return np.asarray(black.convert("L"))


def _of_one_colour(rgba: Image.Image, alpha: np.ndarray) -> bool:
    """Whether what can be seen of the picture differs only in how well it can be seen."""
    clearest = np.unravel_index(np.argmax(alpha), alpha.shape)
    for name in "RGB":
        channel = np.asarray(rgba.getchannel(name))
        difference = np.maximum(channel, channel[clearest]) - np.minimum(channel, channel[clearest])
        if np.multiply(difference, alpha, dtype=np.uint16).max() > _ONE_COLOUR * 255:
            return False
    return True
