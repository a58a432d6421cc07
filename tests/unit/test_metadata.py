"""What results carry beside pixels: nothing, unless it is asked for."""

from __future__ import annotations

import io
import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.ExifTags import GPS, IFD, Base
from PIL.TiffImagePlugin import IFDRational

from stylefleet import exif_block, pictures
from stylefleet.pictures import Depth, ResultFormat, decode, encode
from tests.deep_pictures import png_chunks

RESULTS: list[tuple[ResultFormat, Depth]] = [("jpeg", 8), ("png", 8), ("png", 16), ("webp", 8)]
PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
ARTIST = "Zoë 写真".encode()
PREVIEW = b"\xff\xd8 a small picture \xff\xd9"
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><secret/></x:xmpmeta>'
COMMENT = b"taken at home"


def photo_exif(endian: str = "<") -> Image.Exif:
    exif = Image.Exif()
    exif.endian = endian
    exif[Base.Orientation] = 6
    exif[Base.Make] = "Camera & Sons"
    exif[Base.Artist] = ARTIST
    exif[Base.XResolution] = IFDRational(300, 1)
    exif[Base.WhitePoint] = (IFDRational(1, 3), IFDRational(1, 3))
    exif.get_ifd(IFD.Exif).update(
        {
            Base.ExposureTime: IFDRational(1, 125),
            Base.ISOSpeedRatings: 400,
            Base.LensModel: "50mm",
            Base.ColorSpace: 65_535,
            Base.ExifImageWidth: 4000,
            Base.MakerNote: b"maker's secrets",
        }
    )
    exif.get_ifd(IFD.GPSInfo).update(
        {
            GPS.GPSLatitudeRef: "N",
            GPS.GPSLatitude: (IFDRational(48, 1), IFDRational(12, 1), IFDRational(3045, 100)),
        }
    )
    return exif


def exif_with_thumbnail(endian: str) -> bytes:
    """Pillow writes no thumbnail: a second directory is put behind, and the first told of it."""
    block = bytearray(photo_exif(endian).tobytes().removeprefix(exif_block.PREFIX))
    (first,) = struct.unpack_from(endian + "I", block, 4)
    (count,) = struct.unpack_from(endian + "H", block, first)
    struct.pack_into(endian + "I", block, first + 2 + 12 * count, len(block))
    preview_at = len(block) + 2 + 24 + 4
    block += struct.pack(endian + "H", 2)
    block += struct.pack(endian + "HHII", Base.JpegIFOffset, 4, 1, preview_at)
    block += struct.pack(endian + "HHII", Base.JpegIFByteCount, 4, 1, len(PREVIEW))
    return exif_block.PREFIX + bytes(block + bytes(4)) + PREVIEW


def source(format_name: str, endian: str = "<") -> bytes:
    """A picture with everything in it that a picture may carry."""
    buffer = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Pillow copies no thumbnail into a TIFF, and always writes it little-endian.
    exif: bytes | Image.Exif = exif_with_thumbnail(endian)
    if format_name == "TIFF":
        exif = Image.Exif()
        exif.load(exif_with_thumbnail(endian))
        exif[Base.Artist] = ARTIST  # it would write question marks
    options = {"comment": COMMENT} if format_name == "JPEG" else {}
    Image.fromarray(PIXELS).save(buffer, format_name, exif=exif, icc_profile=profile, xmp=XMP, **options)  # type: ignore[arg-type]
    data = buffer.getvalue()
    assert ARTIST in data
    assert (PREVIEW in data) == (format_name != "TIFF")
    return data


SOURCES = ["JPEG", "PNG", "WEBP", "TIFF"]


def exif_of(data: bytes) -> Image.Exif:
    with Image.open(io.BytesIO(data)) as image:
        return image.getexif()


@pytest.mark.parametrize(("format_name", "depth"), RESULTS)
@pytest.mark.parametrize("source_format", SOURCES)
def test_nothing_of_the_source_but_its_pixels_comes_through(
    source_format: str, format_name: ResultFormat, depth: Depth
) -> None:
    data = encode(decode(source(source_format)), format=format_name, quality=92, depth=depth)
    for trace in (b"Camera", ARTIST, b"Exif", b"EXIF", b"eXIf", b"secret", b"acsp", b"ICC_", b"ICCP", b"iCCP", COMMENT):
        assert trace not in data
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert not image.getexif()
        assert not image.info.keys() & {"exif", "icc_profile", "xmp", "comment"}
    if format_name == "png":
        assert {kind for kind, _ in png_chunks(data)} == {b"IHDR", b"IDAT", b"IEND"}


@pytest.mark.parametrize(("format_name", "depth"), RESULTS)
def test_the_srgb_profile_is_embedded_where_it_is_asked_for(format_name: ResultFormat, depth: Depth) -> None:
    data = encode(PIXELS, format=format_name, quality=92, depth=depth, icc=True)
    with Image.open(io.BytesIO(data)) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
        assert not image.getexif()
    plain = decode(encode(PIXELS, format=format_name, quality=92, depth=depth))
    assert np.abs(decode(data).astype(int) - plain).max() <= 1


def test_the_profile_does_not_tell_when_it_was_made() -> None:
    assert struct.unpack(">6H", pictures.SRGB_PROFILE[24:36]) == (2000, 1, 1, 0, 0, 0)


@pytest.mark.parametrize(("format_name", "depth"), RESULTS)
@pytest.mark.parametrize("source_format", SOURCES)
@pytest.mark.parametrize("endian", ["<", ">"], ids=["little-endian", "big-endian"])
def test_exif_is_copied_upright_and_without_what_is_not_of_the_result(
    source_format: str, format_name: ResultFormat, depth: Depth, endian: str
) -> None:
    kept = pictures.exif(source(source_format, endian))
    data = encode(PIXELS, format=format_name, quality=92, depth=depth, exif=kept)
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        assert "icc_profile" not in image.info
        assert image.getexif()[Base.Orientation] == 1
    found = exif_of(data)
    original = photo_exif()
    assert {tag for tag in found if tag not in (IFD.Exif, IFD.GPSInfo)} == {
        Base.Orientation,
        Base.Make,
        Base.Artist,
        Base.XResolution,
    }
    assert found[Base.Make] == original[Base.Make]
    assert found[Base.Artist].encode("latin-1") == ARTIST
    assert found[Base.XResolution] == original[Base.XResolution]
    assert found.get_ifd(IFD.GPSInfo) == original.get_ifd(IFD.GPSInfo)
    details = found.get_ifd(IFD.Exif)
    assert details.pop(Base.ColorSpace) == 1
    assert details == {
        t: original.get_ifd(IFD.Exif)[t] for t in (Base.ExposureTime, Base.ISOSpeedRatings, Base.LensModel)
    }
    assert not found.get_ifd(IFD.IFD1)
    assert PREVIEW not in data
    assert b"secret" not in data
    # Upright already: it must not be turned once more.
    assert decode(data).shape == PIXELS.shape


@pytest.mark.parametrize("format_name", SOURCES)
def test_without_exif_there_is_nothing_to_keep(format_name: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format_name)
    assert pictures.exif(buffer.getvalue()) == b""


def test_exif_that_stands_behind_the_pixels_is_found() -> None:
    data = source("PNG")
    chunks = dict(png_chunks(data))
    start = data.index(b"eXIf") - 4
    end = start + 12 + len(chunks[b"eXIf"])
    moved = data[:start] + data[end:-12] + data[start:end] + data[-12:]
    assert pictures.exif(moved) == pictures.exif(data) != b""


ORDERS = {"<": b"II*\0", ">": b"MM\0*"}


def block_of(*entries: tuple[int, int, int, bytes], order: str = "<") -> bytes:
    table = b"".join(struct.pack(order + "HHI", *entry[:3]) + entry[3] for entry in entries)
    return ORDERS[order] + struct.pack(order + "IH", 8, len(entries)) + table + bytes(4)


BROKEN = {
    "nothing": b"",
    "no block": b"hello",
    "a directory outside": b"II*\0\xff\xff\xff\xff",
    "a directory without its entries": b"II*\0\x08\0\0\0\xff\xff",
    "only a direction": block_of((Base.Orientation, 3, 1, b"\6\0\0\0")),
    "a value outside": block_of((Base.Make, 2, 100, b"\xff\xff\0\0")),
    "a value of an unknown kind": block_of((Base.Make, 99, 1, b"abc\0")),
    "a pointer of text": block_of((IFD.Exif, 2, 2, b"ab\0\0")),
    "a directory that is its own part": block_of((IFD.Exif, 4, 1, b"\x08\0\0\0")),
    "a position that is its own part": block_of((IFD.GPSInfo, 4, 1, b"\x08\0\0\0")),
    "BigTIFF": b"II\x2b\0\x08\0\0\0",
}


@pytest.mark.parametrize("case", BROKEN)
def test_of_a_broken_block_nothing_is_kept(case: str) -> None:
    assert exif_block.for_result(BROKEN[case]) == b""


def test_a_block_that_would_not_fit_into_a_jpeg_is_left_out() -> None:
    text = b"x" * 40_000
    at = 8 + 2 + 2 * 12 + 4
    long = [(tag, 2, len(text), struct.pack("<I", at)) for tag in (Base.Make, Base.Artist)]
    assert exif_block.for_result(block_of(*long) + text) == b""
    assert len(exif_block.for_result(block_of(*long[:1], long[0]) + text)) > len(text)


def test_entries_that_share_their_bytes_do_not_fill_the_memory() -> None:
    many = [(0x9300 + i, 2, 60_000, bytes(4)) for i in range(1000)]
    position = block_of((IFD.GPSInfo, 4, 1, struct.pack("<I", 26)))
    tracemalloc.start()
    assert exif_block.for_result(position + block_of(*many)[8:] + bytes(60_000)) == b""
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_values_begin_at_even_positions() -> None:
    block = block_of((Base.Make, 2, 5, struct.pack("<I", 38)), (Base.Model, 2, 7, struct.pack("<I", 43)))
    kept = exif_block.for_result(block + b"makermodel-x").removeprefix(exif_block.PREFIX)
    assert kept.index(b"maker") % 2 == kept.index(b"model-x") % 2 == 0


@given(st.data())
def test_random_damage_ends_in_a_block_that_can_be_read_or_in_none(data: st.DataObject) -> None:
    block = bytearray(exif_with_thumbnail(data.draw(st.sampled_from("<>"))))
    for position in data.draw(st.lists(st.integers(6, len(block) - 1), min_size=1, max_size=5)):
        block[position] = data.draw(st.integers(0, 255))
    kept = exif_block.for_result(bytes(block))
    assert len(kept) <= exif_block.BYTES_MAX
    # What is written is read as it was written.
    assert exif_block.for_result(kept) == kept
