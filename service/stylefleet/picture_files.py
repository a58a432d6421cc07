"""Bytes -> an opened picture of which nothing is decoded yet, or one sentence about what is wrong with them.

Everything a file says about itself is doubted: the format must be on the list, and the size is checked from the header.
"""

from __future__ import annotations

import io
import warnings
from typing import Literal

from PIL import Image, UnidentifiedImageError

from stylefleet.errors import ImageInvalid

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
"""What may come in. BMP, GIF and the rest of Pillow's list are refused: catalogs do not use them, and every parser
is a way in. TIFF stays because print masters (CMYK, 16 bit) are TIFF."""

PIXELS_MAX = 100_000_000
BYTES_MAX = 256 * 2**20

# Pillow's own guard, as a second line behind ours; its warning counts as refusal.
Image.MAX_IMAGE_PIXELS = PIXELS_MAX
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def opened(data: bytes, *, pixels_max: int, bytes_max: int) -> Image.Image:
    """The picture with its header read and nothing decoded. Raises ImageInvalid."""
    if not data:
        raise ImageInvalid("empty", "The picture has 0 bytes.")
    if len(data) > bytes_max:
        raise ImageInvalid("too_many_bytes", f"The picture has {len(data):,} bytes; at most {bytes_max:,} are allowed.")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as e:
        raise ImageInvalid("too_many_pixels", f"{e}; at most {min(pixels_max, PIXELS_MAX):,} are allowed.") from e
    except Exception as e:
        raise broken(data, _claimed_format(data), e) from e
    pixels = image.width * image.height
    if pixels > pixels_max:
        raise ImageInvalid(
            "too_many_pixels",
            f"The picture is {image.width} x {image.height} = {pixels:,} px; at most {pixels_max:,} are allowed.",
        )
    return image


def pixels_of(data: bytes) -> int:
    """How many pixels a picture has, by its header. Raises ImageInvalid."""
    image = opened(data, pixels_max=PIXELS_MAX, bytes_max=BYTES_MAX)
    return image.width * image.height


def broken(data: bytes, format_name: str | None, error: Exception) -> ImageInvalid:
    """Which of the three sentences fits bytes that Pillow could not read."""
    if format_name is None:
        return ImageInvalid(
            "unsupported_format",
            f"The picture starts with {data[:8]!r}, which is none of the allowed formats: {', '.join(FORMATS)}.",
        )
    if _ends_early(data, format_name, error):
        return ImageInvalid("truncated", f"The {format_name} picture ends early, after {len(data):,} bytes.")
    # Pillow's own sentence for this one names nothing but an address in memory.
    unknown = isinstance(error, UnidentifiedImageError)
    reason = "its header is damaged, or its kind of pixels is not supported" if unknown else error
    return ImageInvalid("undecodable", f"The {format_name} picture cannot be decoded: {reason}.")


def _claimed_format(data: bytes) -> str | None:
    """The allowed format whose signature the bytes begin with."""
    if data.startswith(b"\xff\xd8"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:4] in (b"II*\0", b"MM\0*"):
        return "TIFF"
    return None


def _ends_early(data: bytes, format_name: str, error: Exception) -> bool:
    """Whether the format's own end is missing, as far as the format has one."""
    match format_name:
        case "PNG":
            return b"IEND" not in data[-64:]
        case "WEBP":
            return len(data) < 8 + int.from_bytes(data[4:8], "little")
        case "TIFF":
            return "truncated" in str(error) or int.from_bytes(data[4:8], _byte_order(data)) >= len(data)
        case _:
            return b"\xff\xd9" not in data[-1024:]


def _byte_order(data: bytes) -> Literal["little", "big"]:
    return "little" if data[:2] == b"II" else "big"
