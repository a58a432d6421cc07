"""16 bit a channel, in and out."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from stylefleet.errors import ImageInvalid
from stylefleet.pictures import ResultFormat, decode, encode
from tests.deep_pictures import png_chunks, png_of, png_values, tiff_of

LEVELS = np.array([0, 127, 257, 12_850, 32_896, 65_535], np.uint16)
IN_8_BIT = [0, 0, 1, 50, 128, 255]
GRAY = np.repeat(LEVELS[None, :, None], 4, axis=0)
RGB = np.concatenate([GRAY, GRAY[:, ::-1], GRAY], axis=2)


def with_alpha(values: np.ndarray, alpha: int = 65_535) -> np.ndarray:
    return np.concatenate([values, np.full((*values.shape[:2], 1), alpha, np.uint16)], axis=2)


def rgb_png(values: np.ndarray, format: ResultFormat = "png") -> bytes:
    return encode(values, format=format, quality=92, depth=16)


IN = {
    "PNG, RGB": (png_of(RGB), 3),
    "PNG, RGB and alpha": (png_of(with_alpha(RGB)), 3),
    "PNG, gray": (png_of(GRAY), 1),
    "PNG, gray and alpha": (png_of(with_alpha(GRAY)), 1),
} | {
    f"TIFF {order}{' deflated' if deflated else ''}, {name}": (
        tiff_of(values, order=order, photometric=photometric, extra=extra, deflated=deflated),
        channels,
    )
    for order in "<>"
    for deflated in (False, True)
    for name, values, photometric, extra, channels in (
        ("RGB", RGB, 2, None, 3),
        ("RGB and alpha", with_alpha(RGB), 2, 2, 3),
        ("RGB and premultiplied alpha", with_alpha(RGB), 2, 1, 3),
        ("gray", GRAY, 1, None, 1),
    )
}


@pytest.mark.parametrize("case", IN)
def test_sixteen_bit_are_scaled_to_eight(case: str) -> None:
    data, channels = IN[case]
    pixels = decode(data)
    assert pixels.dtype == np.uint8
    assert pixels[2, :, 0].tolist() == IN_8_BIT
    assert pixels[2, :, 1].tolist() == (IN_8_BIT if channels == 1 else IN_8_BIT[::-1])


@pytest.mark.parametrize("values", [RGB, GRAY], ids=["RGB", "gray"])
def test_sixteen_bit_alpha_is_composited_on_white(values: np.ndarray) -> None:
    black = np.zeros_like(values)
    assert decode(png_of(with_alpha(black, 0)))[0, 0].tolist() == [255, 255, 255]
    assert decode(png_of(with_alpha(black, 32_896)))[0, 0].tolist() == [127, 127, 127]


@pytest.mark.parametrize("values", [RGB, GRAY], ids=["RGB", "gray"])
def test_one_transparent_colour_of_sixteen_bit_is_transparent(values: np.ndarray) -> None:
    values = values.copy()
    values[0, 3] = 0x3264
    pixels = decode(png_of(values, clear=values[0, 3].tolist()))
    assert pixels[0, 3].tolist() == [255, 255, 255]
    assert np.array_equal(np.delete(pixels[0], 3, axis=0), np.delete(decode(png_of(values))[0], 3, axis=0))


def test_sixteen_bit_cmyk_becomes_rgb() -> None:
    red = np.full((8, 8, 4), [0, 65_535, 65_535, 0], np.uint16)
    r, g, b = decode(tiff_of(red, photometric=5))[4, 4].tolist()
    assert r > 200
    assert max(g, b) < 60


def test_a_tiff_that_counts_from_white_to_black_is_no_negative() -> None:
    assert decode(tiff_of(65_535 - GRAY, photometric=0))[2, :, 0].tolist() == IN_8_BIT


def test_a_tiff_of_unknown_pixels_is_refused_in_words() -> None:
    with pytest.raises(ImageInvalid) as caught:
        decode(tiff_of(with_alpha(GRAY), photometric=1, extra=2))
    assert caught.value.reason == "undecodable"
    assert "its kind of pixels is not supported" in str(caught.value)
    assert "0x" not in str(caught.value)


def test_a_smooth_gradient_keeps_more_levels_than_eight_bit_has() -> None:
    ramp = np.broadcast_to(np.linspace(100, 110, 4000, dtype=np.float32)[None, :, None], (4, 4000, 3))
    levels = np.unique(png_values(rgb_png(ramp))[..., 0])
    assert len(levels) > 2500
    assert (levels[0], levels[-1]) == (25_700, 28_270)


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)), elements=st.floats(-9, 300, width=32)
    )
)
def test_sixteen_bit_hold_the_nearest_value_and_clip_what_lies_beyond(values: np.ndarray) -> None:
    expected = np.rint(np.clip(values.astype(np.float64), 0, 255) * 257)
    # float32 holds 24 bit: a value half way between two levels may go either way.
    assert np.abs(png_values(rgb_png(values)).astype(np.float64) - expected).max() <= 1


PIXELS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3)))


@given(PIXELS, st.sampled_from([8, 16]), st.booleans())
def test_what_is_encoded_without_loss_decodes_to_the_same_pixels(
    pixels: np.ndarray, depth: int, as_float: bool
) -> None:
    values = pixels.astype(np.float32) if as_float else pixels
    data = encode(values, format="png", quality=92, depth=depth)  # type: ignore[arg-type]
    assert np.array_equal(decode(data), pixels)


@given(PIXELS)
def test_sixteen_bit_of_whole_values_are_exact(pixels: np.ndarray) -> None:
    assert np.array_equal(png_values(rgb_png(pixels)), pixels.astype(np.uint16) * 257)


def test_eight_bit_round_to_the_nearest_value() -> None:
    values = np.full((4, 4, 3), [99.4, 99.6, 300.0], np.float32)
    assert decode(encode(values, format="png", quality=92))[0, 0].tolist() == [99, 100, 255]


def test_a_large_sixteen_bit_picture_is_read_by_pillow_too() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (700, 500, 3), dtype=np.uint8)
    data = rgb_png(pixels)
    assert [k for k, _ in png_chunks(data)].count(b"IDAT") > 1
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize("format_name", ["jpeg", "webp"])
def test_sixteen_bit_of_another_format_are_refused(format_name: ResultFormat) -> None:
    with pytest.raises(ValueError, match=f"depth: found 16 for {format_name}, allowed is 8; 16 bit is for png only"):
        rgb_png(np.zeros((8, 8, 3), np.uint8), format_name)
