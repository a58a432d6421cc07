"""Pictures in and out, the hostile ones above all."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from stylefleet import pictures
from stylefleet.errors import ImageInvalid
from stylefleet.pictures import decode, encode, resize, result_size


def saved(image: Image.Image, format_name: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def noise(width: int = 40, height: int = 30) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def png_header(width: int, height: int) -> bytes:
    """A PNG that only claims its size."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82"


def rotated_photo() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to see it upright
    return saved(noise(), "PNG", exif=exif)


PNG = saved(noise(), "PNG")
JPEG = saved(noise(), "JPEG")
WEBP = saved(noise(), "WEBP")
TIFF = saved(noise(), "TIFF", compression="tiff_deflate")

HOSTILE = {
    "no bytes": (b"", "empty"),
    "text": (b"hello, I am a picture", "unsupported_format"),
    "a BMP": (saved(noise(), "BMP"), "unsupported_format"),
    "a GIF": (saved(noise(), "GIF"), "unsupported_format"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "truncated"),
    "half a PNG": (PNG[: len(PNG) // 2], "truncated"),
    "half a WEBP": (WEBP[: len(WEBP) // 2], "truncated"),
    "a JPEG of three bytes": (JPEG[:3], "truncated"),
    "half a TIFF": (TIFF[: len(TIFF) // 2], "truncated"),
    "a PNG with a damaged body": (PNG[:60] + bytes(200) + PNG[260:], "undecodable"),
    "a WEBP with a damaged body": (WEBP[:20] + bytes(10) + WEBP[30:], "undecodable"),
    "a PNG of 20,000 x 20,000 px": (png_header(20_000, 20_000), "too_many_pixels"),
    "a PNG just beyond Pillow's warning": (png_header(10_001, 10_000), "too_many_pixels"),
    "32 bit integers": (saved(Image.new("I", (20, 20)), "TIFF"), "unsupported_mode"),
    "floats": (saved(Image.new("F", (20, 20)), "TIFF"), "unsupported_mode"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_picture_is_refused_with_its_reason(case: str) -> None:
    data, reason = HOSTILE[case]
    with pytest.raises(ImageInvalid) as caught:
        decode(data)
    assert caught.value.reason == reason, caught.value


@pytest.mark.parametrize("data", [PNG, WEBP, TIFF], ids=["PNG", "WEBP", "TIFF"])
def test_random_damage_ends_in_pixels_or_in_ImageInvalid(data: bytes) -> None:
    rng = np.random.default_rng(7)
    for _ in range(150):
        damaged = bytearray(data)
        for position in rng.integers(0, len(data), size=4):
            damaged[position] = rng.integers(0, 256)
        try:
            assert decode(bytes(damaged), pixels_max=10**6).dtype == np.uint8
        except ImageInvalid as e:
            assert e.reason  # noqa: PT017 - both outcomes are allowed


def test_the_cap_is_the_callers() -> None:
    with pytest.raises(ImageInvalid, match=r"40 x 30 = 1,200 px; at most 1,000") as caught:
        decode(PNG, pixels_max=1_000)
    assert caught.value.reason == "too_many_pixels"
    with pytest.raises(ImageInvalid) as caught:
        decode(PNG, bytes_max=100)
    assert caught.value.reason == "too_many_bytes"


def test_lossless_pixels_come_through_unchanged() -> None:
    assert np.array_equal(decode(PNG), np.asarray(noise()))
    assert np.array_equal(decode(saved(noise(), "TIFF")), np.asarray(noise()))
    assert np.array_equal(decode(saved(noise(), "WEBP", lossless=True)), np.asarray(noise()))


def test_exif_orientation_is_applied() -> None:
    assert np.array_equal(decode(rotated_photo()), np.rot90(np.asarray(noise()), k=-1))


def test_a_broken_exif_block_turns_nothing() -> None:
    data = saved(noise(), "PNG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff broken")
    assert np.array_equal(decode(data), np.asarray(noise()))


def test_sixteen_bit_gray_is_scaled_not_clipped() -> None:
    values = np.array([[0, 128, 257, 32768, 65535]] * 2, dtype=np.uint16)
    pixels = decode(saved(Image.fromarray(values), "PNG"))
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 128, 255]
    assert np.array_equal(pixels, decode(saved(Image.fromarray(values), "TIFF")))


def test_transparency_is_composited_on_white() -> None:
    rgba = Image.new("RGBA", (20, 20), (255, 0, 0, 0))
    rgba.putpixel((3, 4), (10, 20, 30, 255))
    rgba.putpixel((5, 6), (0, 0, 0, 127))
    pixels = decode(saved(rgba, "PNG"))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[4, 3].tolist() == [10, 20, 30]
    assert pixels[6, 5].tolist() == [128, 128, 128]


def test_palette_and_gray_with_transparency_are_composited_too() -> None:
    palette = Image.new("P", (10, 10), 1)
    palette.putpalette([9, 9, 9, 0, 0, 200])
    palette.putpixel((0, 0), 0)
    pixels = decode(saved(palette, "PNG", transparency=0))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[5, 5].tolist() == [0, 0, 200]
    assert decode(saved(Image.new("LA", (10, 10), (50, 0)), "PNG"))[5, 5].tolist() == [255, 255, 255]
    assert decode(saved(Image.new("1", (10, 10), 1), "PNG"))[5, 5].tolist() == [255, 255, 255]


@pytest.mark.parametrize("format_name", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(format_name: str) -> None:
    red = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    r, g, b = decode(saved(red, format_name))[8, 8].tolist()
    assert r > 200
    assert max(g, b) < 60


def test_an_embedded_profile_is_converted_to_srgb() -> None:
    linear = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ"))
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    gray = Image.new("RGB", (16, 16), (100, 100, 100))
    plain = decode(saved(gray, "PNG"))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.abs(decode(saved(gray, "PNG", icc_profile=srgb)).astype(int) - plain).max() <= 1
    # Profiles of another colour space than the pixels, or no profiles at all, leave the pixels alone.
    for unusable in (lab, linear.tobytes(), b"not a profile", srgb[:200]):
        assert np.array_equal(decode(saved(gray, "PNG", icc_profile=unusable)), plain)


def test_a_profile_with_other_primaries_changes_the_numbers() -> None:
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = swapped.index(b"rXYZ"), swapped.index(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"
    pixels = decode(saved(Image.new("RGB", (16, 16), (255, 0, 0)), "PNG", icc_profile=bytes(swapped)))
    r, _, b = pixels[8, 8].tolist()
    assert b > 200 > r


def test_of_an_animation_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert decode(data)[8, 8].tolist() == [255, 0, 0]
    data = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert decode(data)[8, 8].tolist() == [255, 0, 0]


SIZES = {
    "landscape": ((4000, 3000, 512), (512, 384)),
    "portrait": ((3000, 4000, 512), (384, 512)),
    "square": ((10, 10, 64), (64, 64)),
    "enlarged": ((100, 50, 1024), (1024, 512)),
    "as it is": ((300, 200, 300), (300, 200)),
    "the narrowest": ((320, 10, 512), (512, 16)),
}


@pytest.mark.parametrize("case", SIZES)
def test_the_longer_edge_becomes_the_size_and_the_aspect_stays(case: str) -> None:
    arguments, expected = SIZES[case]
    assert result_size(*arguments) == expected


@pytest.mark.parametrize("arguments", [(1, 1, 512), (7, 500, 512), (1000, 8, 512), (40, 640, 64)])
def test_a_picture_too_small_or_too_narrow_is_refused(arguments: tuple[int, int, int]) -> None:
    with pytest.raises(ImageInvalid, match="at least") as caught:
        result_size(*arguments)
    assert caught.value.reason == "too_small"


def test_resize_filters_before_it_samples() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = resize(stripes, 16, 16)
    assert small.shape == (16, 16, 3)
    assert abs(int(small[8, 8, 0]) - 128) < 8
    assert np.array_equal(resize(stripes, 64, 64), stripes)


@pytest.mark.parametrize("format_name", ["jpeg", "png", "webp"])
def test_what_is_encoded_decodes_and_carries_no_metadata(format_name: str) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 40, dtype=np.uint8)[None, :, None], (30, 40, 3))
    data = encode(np.ascontiguousarray(ramp), format=format_name, quality=95)  # type: ignore[arg-type]
    assert np.abs(decode(data).astype(int) - ramp).max() <= (0 if format_name == "png" else 6)
    with Image.open(io.BytesIO(data)) as image:
        assert "icc_profile" not in image.info
        assert not image.getexif()


def test_quality_matters() -> None:
    pixels = np.asarray(noise())
    assert len(encode(pixels, format="jpeg", quality=95)) > 2 * len(encode(pixels, format="jpeg", quality=30))


def test_premultiplied_gray_is_a_picture_too() -> None:
    straight = saved(Image.new("LA", (20, 20), (100, 200)), "TIFF")
    # Pillow does not write associated alpha, so the tag ExtraSamples (338) is turned from 2 into 1 by hand.
    associated = straight.replace(struct.pack("<HHIHH", 338, 3, 1, 2, 0), struct.pack("<HHIHH", 338, 3, 1, 1, 0))
    assert associated != straight
    assert decode(associated).shape == (20, 20, 3)


def test_whatever_goes_wrong_in_conversion_is_the_pictures_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_image: Image.Image) -> Image.Image:
        raise ValueError("conversion from XY to Z not supported")

    monkeypatch.setattr(pictures, "_upright", broken)
    with pytest.raises(ImageInvalid):
        decode(saved(Image.new("RGB", (20, 20)), "PNG"))
