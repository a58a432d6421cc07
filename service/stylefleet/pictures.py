"""Bytes of a picture <-> uint8 pixels [H, W, 3] in sRGB. Pillow and NumPy only.

Everything a file says about itself is doubted: the format must be on the list, the size is checked from the header
before a pixel is decoded, and a colour profile or an EXIF block that makes no sense is left aside.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Literal

import numpy as np
from PIL import Image, ImageCms, ImageOps

from stylefleet.errors import ImageInvalid

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF")
"""What may come in. BMP, GIF and the rest of Pillow's list are refused: catalogs do not use them, and every parser
is a way in. TIFF stays because print masters (CMYK, 16 bit) are TIFF."""

PIXELS_MAX = 100_000_000
BYTES_MAX = 256 * 2**20
SOURCE_EDGE_PX_MIN = 8
RESULT_EDGE_PX_MIN = 16

ResultFormat = Literal["jpeg", "png", "webp"]

# Pillow's own guard, as a second line behind ours; its warning counts as refusal.
Image.MAX_IMAGE_PIXELS = PIXELS_MAX
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_MODES_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_MODES_8_BIT = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")


def decode(data: bytes, *, pixels_max: int = PIXELS_MAX, bytes_max: int = BYTES_MAX) -> np.ndarray:
    """The upright first frame as uint8 [H, W, 3] in sRGB; transparent parts over white. Raises ImageInvalid."""
    if not data:
        raise ImageInvalid("empty", "The picture has 0 bytes.")
    if len(data) > bytes_max:
        raise ImageInvalid("too_many_bytes", f"The picture has {len(data):,} bytes; at most {bytes_max:,} are allowed.")
    image = _open(data, pixels_max)
    try:
        image.load()
        return np.asarray(_to_srgb(_upright(image)))
    except ImageInvalid:
        raise
    except Exception as e:  # a malformed file makes Pillow's plugins raise nearly anything
        raise _broken(data, image.format, e) from e


def result_size(width: int, height: int, size_px: int) -> tuple[int, int]:
    """(width, height) of the result: the longer edge is `size_px`, the aspect is kept. Raises ImageInvalid."""
    if min(width, height) < SOURCE_EDGE_PX_MIN:
        raise ImageInvalid(
            "too_small",
            f"The picture is {width} x {height} px; the shorter edge must have at least {SOURCE_EDGE_PX_MIN} px.",
        )
    factor = size_px / max(width, height)
    result = max(1, round(width * factor)), max(1, round(height * factor))
    if min(result) < RESULT_EDGE_PX_MIN:
        raise ImageInvalid(
            "too_small",
            f"A picture of {width} x {height} px becomes {result[0]} x {result[1]} px at size {size_px}; "
            f"the shorter edge must have at least {RESULT_EDGE_PX_MIN} px: choose a larger size.",
        )
    return result


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [height, width, 3], Lanczos; downwards it filters first, so nothing aliases."""
    if pixels.shape[:2] == (height, width):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def encode(pixels: np.ndarray, *, format: ResultFormat, quality: int) -> bytes:
    """uint8 [H, W, 3] in sRGB -> file bytes without any metadata. `quality` is 1..100 and means nothing for PNG."""
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    match format:
        case "jpeg":  # 4:4:4, because brush strokes are chroma edges
            image.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True)
        case "png":
            image.save(buffer, "PNG")
        case "webp":
            image.save(buffer, "WEBP", quality=quality, method=4)
    return buffer.getvalue()


def _open(data: bytes, pixels_max: int) -> Image.Image:
    """The picture with its header read and nothing decoded."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as e:
        raise ImageInvalid("too_many_pixels", f"{e}; at most {min(pixels_max, PIXELS_MAX):,} are allowed.") from e
    except Exception as e:
        raise _broken(data, _claimed_format(data), e) from e
    pixels = image.width * image.height
    if pixels > pixels_max:
        raise ImageInvalid(
            "too_many_pixels",
            f"The picture is {image.width} x {image.height} = {pixels:,} px; at most {pixels_max:,} are allowed.",
        )
    return image


def _broken(data: bytes, format_name: str | None, error: Exception) -> ImageInvalid:
    """Which of the three sentences fits bytes that Pillow could not read."""
    if format_name is None:
        return ImageInvalid(
            "unsupported_format",
            f"The picture starts with {data[:8]!r}, which is none of the allowed formats: {', '.join(FORMATS)}.",
        )
    if _ends_early(data, format_name, error):
        return ImageInvalid("truncated", f"The {format_name} picture ends early, after {len(data):,} bytes.")
    return ImageInvalid("undecodable", f"The {format_name} picture cannot be decoded: {error}.")


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


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says; an EXIF block that cannot be read turns nothing."""
    with contextlib.suppress(Exception):
        return ImageOps.exif_transpose(image)
    return image


def _to_srgb(image: Image.Image) -> Image.Image:
    """RGB in sRGB, alpha composited on white."""
    profile = image.info.get("icc_profile")
    if image.mode in _MODES_16_BIT:  # Pillow's convert() would clip at 255 instead of scaling
        values = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode not in _MODES_8_BIT:
        raise ImageInvalid(
            "unsupported_mode",
            f"The picture's pixels are of kind {image.mode!r}; allowed are 8 bit, and 16 bit gray.",
        )
    if image.mode == "La":  # Pillow converts premultiplied gray to nothing but this
        image = image.convert("LA")
    if not image.has_transparency_data:
        return _to_rgb(image, profile)
    rgba = image.convert("RGBA")
    colour = _to_rgb(rgba.convert("RGB"), profile)
    white = Image.new("RGB", colour.size, (255, 255, 255))
    white.paste(colour, mask=rgba.getchannel("A"))
    return white


def _to_rgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB, through the embedded profile where it can be used.

    A broken profile, or one of another colour space than the pixels, is ignored, as browsers do: the pixels are
    whole, and refusing them for their metadata would lose the picture.
    """
    if image.mode not in ("L", "RGB", "CMYK"):
        image = image.convert("RGB")
    if profile:
        with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, _SRGB, outputMode="RGB")
            assert converted is not None
            return converted
    return image.convert("RGB")
