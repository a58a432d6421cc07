"""Bytes of a picture <-> pixels in sRGB. Pillow and NumPy, and pypng for what Pillow does not write.

A colour profile or an EXIF block that makes no sense is left aside: the pixels are whole.
"""

from __future__ import annotations

import contextlib
import io
import math
import struct
from collections.abc import Callable
from typing import Literal

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from stylefleet import exif_block, mask_pixels, picture_files, png_16_bit
from stylefleet.errors import ImageInvalid
from stylefleet.recipe import Refinement

PIXELS_MAX = picture_files.PIXELS_MAX
BYTES_MAX = picture_files.BYTES_MAX
PREVIEW_PIXELS_MAX = 12_000_000
SOURCE_EDGE_PX_MIN = 8
RESULT_EDGE_PX_MIN = 16
LANCZOS_REACH = 3
"""Source pixels on each side that a Lanczos sample looks at, times the shrinking factor."""

ResultFormat = Literal["jpeg", "png", "webp"]
Depth = Literal[8, 16]

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_MODES_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N")
_MODES_8_BIT = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr")


def _srgb_profile() -> bytes:
    """The profile's bytes, without the moment at which it was made: equal results are equal bytes."""
    profile = bytearray(_SRGB.tobytes())
    profile[24:36] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return bytes(profile)


SRGB_PROFILE = _srgb_profile()


def decode(data: bytes, *, pixels_max: int = PIXELS_MAX, bytes_max: int = BYTES_MAX) -> np.ndarray:
    """The upright first frame as uint8 [H, W, 3] in sRGB; transparent parts over white. Raises ImageInvalid.

    Of 16 bit a channel the finer half is lost: scaled, never clipped.
    """
    return _read(data, lambda image: np.asarray(_to_srgb(image)), pixels_max=pixels_max, bytes_max=bytes_max)


def decode_mask(data: bytes, width: int, height: int) -> np.ndarray:
    """How much a mask selects, as uint8 [height, width]: 255 all, 0 nothing. Raises ImageInvalid, as `decode` does.

    White selects. Where the picture has transparent parts and one colour, as a drawing on transparent ground has, its
    alpha is the mask instead; with more colours, transparent parts are black. Profiles do not count: a mask is a
    number, not a colour. Its aspect may differ by 2 % (and by the rounding of a size to whole pixels).
    """

    def mask(image: Image.Image) -> np.ndarray:
        mask_pixels.check_shape(image.width, image.height, width, height)
        return mask_pixels.selection(_eight_bit(image), width, height)

    return _read(data, mask, pixels_max=PIXELS_MAX, bytes_max=BYTES_MAX)


def preview(data: bytes, edge_px: int) -> np.ndarray:
    """The picture as `decode` gives it, with a longer edge of at most `edge_px`, in little memory. Raises ImageInvalid,
    also for what would take more to decode than PREVIEW_PIXELS_MAX: JPEG is read at a fraction of its size."""
    image = picture_files.opened(data, pixels_max=PIXELS_MAX, bytes_max=BYTES_MAX)
    # The file's own progressive scans are held whole, whatever is asked of it.
    limit = PREVIEW_PIXELS_MAX * (4 if image.format == "JPEG" else 1)
    if image.width * image.height > limit:
        raise ImageInvalid(
            "too_many_pixels",
            f"A {image.format} of {image.width} x {image.height} px has no preview: {limit:,} at most.",
        )
    try:
        image.draft(image.mode, (edge_px, edge_px))
        image.load()
        _right_negative(image)
        pixels = np.asarray(_to_srgb(_upright(image)))
    except ImageInvalid:
        raise
    except Exception as e:
        raise picture_files.broken(data, image.format, e) from e
    factor = min(1.0, edge_px / max(pixels.shape[:2]))
    return resize(pixels, max(1, round(pixels.shape[1] * factor)), max(1, round(pixels.shape[0] * factor)))


def exif(data: bytes) -> bytes:
    """The picture's EXIF as its result may carry it: upright, without thumbnail; empty where there is none that can be
    read. Raises ImageInvalid."""
    image = picture_files.opened(data, pixels_max=PIXELS_MAX, bytes_max=BYTES_MAX)
    if image.format == "TIFF":
        return exif_block.for_result(data)
    if image.format == "PNG" and "exif" not in image.info:
        with contextlib.suppress(Exception):  # the block may stand behind the pixels
            image.load()
    return exif_block.for_result(image.info.get("exif", b""))


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


def detail(pixels: np.ndarray, refinement: Refinement, width: int, height: int) -> np.ndarray:
    """What `refinement` of a result of width x height px sees of the original `pixels`, uint8 [H, W, 3].

    uint8 [h, w, 3] at `refinement.crop_size(width, height)`; equal to the same part of the whole original resized that
    finely, but only the part is looked at.
    """
    left, top, right, bottom = refinement.crop(width, height)
    across, down = pixels.shape[1] / width, pixels.shape[0] / height
    size = refinement.crop_size(width, height)
    box = left * across, top * down, right * across, bottom * down
    # The filter looks a little beyond the box.
    reach_x = LANCZOS_REACH * max(1.0, (box[2] - box[0]) / size[0]) + 1
    reach_y = LANCZOS_REACH * max(1.0, (box[3] - box[1]) / size[1]) + 1
    x, y = max(0, math.floor(box[0] - reach_x)), max(0, math.floor(box[1] - reach_y))
    part = pixels[y : math.ceil(box[3] + reach_y), x : math.ceil(box[2] + reach_x)]
    inside = (box[0] - x, box[1] - y, min(box[2] - x, part.shape[1]), min(box[3] - y, part.shape[0]))
    return np.asarray(Image.fromarray(part).resize(size, Image.Resampling.LANCZOS, box=inside))


def encode(
    values: np.ndarray,
    *,
    format: ResultFormat,
    quality: int,
    depth: Depth = 8,
    icc: bool = False,
    exif: bytes = b"",
) -> bytes:
    """uint8 or float32 [H, W, 3] in sRGB, 0..255 -> file bytes with no metadata but what is asked for.

    `quality` is 1..100 and means nothing for PNG. `depth` is bits a channel; raises ValueError for 16 with anything but
    PNG. `icc` embeds the sRGB profile, `exif` is a block as the function `exif` gives it.
    """
    profile = SRGB_PROFILE if icc else b""
    if depth == 16:
        if format != "png":
            raise ValueError(f"depth: found 16 for {format}, allowed is 8; 16 bit is for png only")
        return png_16_bit.write(values, icc=profile, exif=exif)
    pixels = values if values.dtype == np.uint8 else np.rint(np.clip(values, 0, 255)).astype(np.uint8)
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    metadata = {name: block for name, block in (("icc_profile", profile), ("exif", exif)) if block}
    match format:
        case "jpeg":  # 4:4:4, because brush strokes are chroma edges
            image.save(buffer, "JPEG", quality=quality, subsampling=0, optimize=True, **metadata)
        case "png":
            image.save(buffer, "PNG", **metadata)
        case "webp":
            image.save(buffer, "WEBP", quality=quality, method=4, **metadata)
    return buffer.getvalue()


def _read(data: bytes, convert: Callable[[Image.Image], np.ndarray], *, pixels_max: int, bytes_max: int) -> np.ndarray:
    """What `convert` makes of the upright first frame; whatever goes wrong is the picture's fault."""
    image = picture_files.opened(data, pixels_max=pixels_max, bytes_max=bytes_max)
    try:
        image.load()
        _right_negative(image)
        return convert(_upright(image))
    except ImageInvalid:
        raise
    except Exception as e:  # a malformed file makes Pillow's plugins raise nearly anything
        raise picture_files.broken(data, image.format, e) from e


def _right_negative(image: Image.Image) -> None:
    """TIFF may count from white to black; Pillow heeds that up to 8 bit only."""
    if (
        isinstance(image, TiffImageFile)
        and image.mode in _MODES_16_BIT
        and not image.tag_v2[PHOTOMETRIC_INTERPRETATION]
    ):
        image.paste(Image.fromarray(65535 - np.asarray(image)))


def _upright(image: Image.Image) -> Image.Image:
    """Turned as EXIF says; an EXIF block that cannot be read turns nothing."""
    with contextlib.suppress(Exception):
        return ImageOps.exif_transpose(image)
    return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """With 8 bit a channel. Raises ImageInvalid for kinds of pixels that are not allowed."""
    clear = image.info.get("transparency")
    if image.mode in _MODES_16_BIT:  # Pillow's convert() would clip at 255 instead of scaling
        values = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
        if isinstance(clear, int):
            image.putalpha(Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8)))
    elif image.mode not in _MODES_8_BIT:
        raise ImageInvalid(
            "unsupported_mode",
            f"The picture's pixels are of kind {image.mode!r}; allowed are 8 and 16 bit a channel.",
        )
    elif isinstance(clear, tuple) and max(clear) > 255:  # Pillow has halved the pixels, but not the transparent colour
        image.info["transparency"] = tuple(level >> 8 for level in clear)
    if image.mode == "La":  # Pillow converts premultiplied gray to nothing but this
        image = image.convert("LA")
    return image


def _to_srgb(image: Image.Image) -> Image.Image:
    """RGB in sRGB, alpha composited on white."""
    profile = image.info.get("icc_profile")
    image = _eight_bit(image)
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
