"""Masks: what is selected, in every way in which people draw it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, ImageFilter

from stylefleet import mask_pixels
from stylefleet.errors import ImageInvalid
from stylefleet.pictures import decode_mask, result_size
from tests.deep_pictures import png_of

WIDTH, HEIGHT = 60, 40
DISC = Image.new("L", (WIDTH, HEIGHT))
ImageDraw.Draw(DISC).ellipse((15, 8, 45, 32), fill=255)
SOFT = DISC.filter(ImageFilter.GaussianBlur(4))


def saved(image: Image.Image, format_name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def mask_of(image: Image.Image, format_name: str = "PNG", **options: object) -> np.ndarray:
    return decode_mask(saved(image, format_name, **options), WIDTH, HEIGHT)


def drawn(colour: tuple[int, int, int], ground: tuple[int, int, int], alpha: Image.Image) -> Image.Image:
    """One colour where something is to be seen, `ground` where nothing is."""
    image = Image.composite(
        Image.new("RGB", alpha.size, colour), Image.new("RGB", alpha.size, ground), alpha.point(lambda a: 255 * (a > 0))
    )
    image.putalpha(alpha)
    return image


def test_gray_selects_by_its_lightness() -> None:
    found = mask_of(SOFT)
    assert (found.dtype, found.shape) == (np.uint8, (HEIGHT, WIDTH))
    assert np.array_equal(found, np.asarray(SOFT))
    assert np.array_equal(mask_of(SOFT.convert("RGB")), np.asarray(SOFT))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK"])
def test_black_and_white_select_nothing_and_all_in_every_kind_of_picture(mode: str) -> None:
    format_name = "TIFF" if mode == "CMYK" else "PNG"
    found = mask_of(DISC.convert("RGB").convert(mode), format_name)
    assert np.abs(found.astype(int) - np.asarray(DISC)).max() <= 2


def test_colours_select_by_luminance() -> None:
    found = [int(mask_of(Image.new("RGB", (WIDTH, HEIGHT), c))[0, 0]) for c in ("red", "lime", "blue")]
    assert found == [76, 150, 29]


def test_sixteen_bit_gray_is_scaled() -> None:
    levels = np.linspace(0, 65_535, WIDTH).astype(np.uint16)
    data = png_of(np.broadcast_to(levels[None, :, None], (HEIGHT, WIDTH, 1)))
    assert np.array_equal(decode_mask(data, WIDTH, HEIGHT)[7], np.rint(levels / 257).astype(np.uint8))


def test_a_profile_changes_no_number() -> None:
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    image = Image.new("RGB", (WIDTH, HEIGHT), "red")
    assert np.array_equal(mask_of(image, icc_profile=bytes(profile)), mask_of(image))


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (200, 30, 90)], ids=str)
@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255)], ids=["over black", "over white"])
def test_a_drawing_on_transparent_ground_selects_by_its_alpha(
    colour: tuple[int, int, int], ground: tuple[int, int, int]
) -> None:
    assert np.array_equal(mask_of(drawn(colour, ground, SOFT)), np.asarray(SOFT))
    # Made smaller first, so that the colours of seen and unseen pixels meet.
    large = drawn(colour, ground, SOFT.resize((4 * WIDTH, 4 * HEIGHT), Image.Resampling.BICUBIC))
    assert np.abs(mask_of(large).astype(int) - np.asarray(SOFT)).max() <= 4


@pytest.mark.parametrize("lossless", [True, False])
def test_a_drawing_in_webp_selects_by_its_alpha(lossless: bool) -> None:
    found = mask_of(drawn((0, 0, 0), (0, 0, 0), SOFT), "WEBP", lossless=lossless)
    assert np.abs(found.astype(int) - np.asarray(SOFT)).max() <= 2


def test_a_palette_with_a_transparent_colour_is_a_drawing_too() -> None:
    image = Image.new("P", (WIDTH, HEIGHT), 0)
    image.putpalette([0, 0, 0, 40, 40, 40])
    image.paste(1, (0, 0, 30, HEIGHT))
    found = mask_of(image, transparency=0)
    assert (found[20, 10], found[20, 50]) == (255, 0)


@pytest.mark.parametrize(("shade", "selected"), [(0, 0), (255, 255), (90, 90)])
def test_alpha_that_hides_nothing_does_not_count(shade: int, selected: int) -> None:
    image = Image.new("RGBA", (WIDTH, HEIGHT), (shade, shade, shade, 255))
    assert np.unique(mask_of(image)).tolist() == [selected]


def test_a_wholly_transparent_picture_selects_nothing() -> None:
    assert not mask_of(Image.new("RGBA", (WIDTH, HEIGHT), (255, 255, 255, 0))).any()


def test_with_more_colours_luminance_counts_and_transparent_parts_are_black() -> None:
    image = Image.new("RGBA", (WIDTH, HEIGHT), (255, 255, 255, 0))
    image.paste((255, 255, 255, 255), (0, 0, 20, HEIGHT))
    image.paste((100, 100, 100, 255), (20, 0, 40, HEIGHT))
    assert mask_of(image)[20, [10, 30, 50]].tolist() == [255, 100, 0]


def test_orientation_is_applied_before_the_shape_is_looked_at() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = SOFT.rotate(90, expand=True)
    assert np.array_equal(mask_of(lying, exif=exif), np.asarray(SOFT))


@pytest.mark.parametrize("factor", [0.5, 2, 5.5])
def test_a_soft_edge_stays_soft_at_another_size(factor: float) -> None:
    found = decode_mask(saved(SOFT), round(WIDTH * factor), round(HEIGHT * factor))
    row = found[found.shape[0] // 2].astype(int)
    rise = row[: row.size // 2]
    assert (np.diff(rise) >= 0).all()
    # The widest step of the soft edge, spread over as many more or fewer pixels.
    widest = np.abs(np.diff(np.asarray(SOFT)[HEIGHT // 2].astype(int))).max()
    assert np.abs(np.diff(row)).max() <= 1.3 * widest / factor


@given(st.integers(0, 255), st.integers(0, 255), st.integers(8, 200))
def test_no_size_makes_values_that_were_not_there(dark: int, light: int, width: int) -> None:
    image = Image.new("L", (30, 30), dark)
    image.paste(light, (10, 10, 20, 20))
    found = decode_mask(saved(image), width, width)
    low, high = sorted((dark, light))
    assert low <= found.min() <= found.max() <= high


FITTING = [(600, 400), (6, 4), (61, 40), (59, 40), (3000, 2039), (3000, 1961)]
UNFITTING = [(40, 60), (600, 430), (600, 370), (60, 60), (1, 400), (3000, 2100)]


@pytest.mark.parametrize("size", FITTING)
def test_a_mask_of_the_pictures_shape_may_have_any_size(size: tuple[int, int]) -> None:
    assert decode_mask(saved(Image.new("L", size)), WIDTH, HEIGHT).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("size", UNFITTING)
def test_a_mask_of_another_shape_is_refused_with_both_sizes(size: tuple[int, int]) -> None:
    with pytest.raises(ImageInvalid) as caught:
        decode_mask(saved(Image.new("L", size)), WIDTH, HEIGHT)
    assert caught.value.reason == "mask_shape"
    assert f"{size[0]} x {size[1]} px" in str(caught.value)
    assert f"{WIDTH} x {HEIGHT} px" in str(caught.value)


@example(4000, 130, 512)  # 16.64 px become 17
@given(st.integers(8, 4000), st.integers(8, 4000), st.integers(16, 600))
def test_a_mask_of_the_originals_size_fits_every_result(width: int, height: int, size_px: int) -> None:
    try:
        result = result_size(width, height, size_px)
    except ImageInvalid:
        return
    mask_pixels.check_shape(width, height, *result)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"no picture", "unsupported_format"),
        (saved(SOFT)[:200], "truncated"),
        (saved(Image.new("F", (WIDTH, HEIGHT)), "TIFF"), "unsupported_mode"),
    ],
)
def test_a_hostile_mask_is_refused_as_a_picture_is(data: bytes, reason: str) -> None:
    with pytest.raises(ImageInvalid) as caught:
        decode_mask(data, WIDTH, HEIGHT)
    assert caught.value.reason == reason


def test_a_mask_of_too_many_pixels_is_not_decoded() -> None:
    with pytest.raises(ImageInvalid, match="at most 100,000,000") as caught:
        decode_mask(saved(Image.new("1", (12_000, 8_400))), WIDTH, HEIGHT)
    assert caught.value.reason == "too_many_pixels"
