from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from stylefleet import pictures, thumbnails
from stylefleet.errors import AccessDenied, ImageInvalid, StoreUnavailable
from stylefleet.naming import Ref
from stylefleet.receipt import Receipt
from stylefleet.store import Object
from stylefleet.store_memory import MemoryStore
from stylefleet.thumbnails import EDGE_PX, PAIRS_MAX, THUMBNAIL_BYTES_MAX, pairs_of
from tests.builders import jpeg_bytes, make_receipt
from tests.fake_cluster import HookedStore

SHOP = (Ref("shop", ""),)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("shop", "secrets")


def done(store: MemoryStore, name: str, *, content: bytes | None = None, result: bytes | None = None) -> Receipt:
    """The receipt of a picture that is there with its result."""
    receipt = make_receipt(f"catalog/{name}.jpg")
    size = (900, 600)
    store.put(Ref("shop", f"catalog/{name}.jpg"), jpeg_bytes(1, size=size) if content is None else content)
    etag = store.put(
        Ref("shop", f"restyled/spring/{name}.jpg"), jpeg_bytes(200, size=size) if result is None else result
    )
    return make_receipt(f"catalog/{name}.jpg", result_etag=etag, task_id=receipt.task_id)


def test_a_pair_is_the_content_and_its_result_in_small(store: MemoryStore) -> None:
    (pair,) = pairs_of(store, [done(store, "a")], SHOP).pairs
    for one, shade in ((pair.before, 1), (pair.after, 200)):
        kind, _, data = one.uri.partition(";base64,")
        assert kind == "data:image/webp"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.size == (one.width_px, one.height_px) == (EDGE_PX, EDGE_PX * 2 // 3)
            assert image.convert("RGB").getpixel((5, 5))[0] == pytest.approx(shade, abs=12)


def test_a_picture_that_cannot_be_shown_costs_its_own_pair_only(store: MemoryStore) -> None:
    good = done(store, "good")
    gone, replaced = done(store, "gone"), done(store, "replaced")
    store.delete(Ref("shop", "catalog/gone.jpg"))
    store.put(Ref("shop", "restyled/spring/replaced.jpg"), jpeg_bytes(3))
    broken = done(store, "broken", content=b"\xff\xd8 not a picture")
    forged = make_receipt("catalog/forged.jpg", content="file:///etc/passwd")
    found = pairs_of(store, [gone, replaced, broken, forged, good], SHOP)
    assert [p.receipt for p in found.pairs] == [good]
    assert found.refused == ""


def test_a_store_that_is_away_costs_thumbnails_and_no_report(store: MemoryStore) -> None:
    class Away(HookedStore):
        def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
            raise StoreUnavailable("away")

    assert pairs_of(Away(store), [done(store, "a")], SHOP).pairs == ()


def test_where_pictures_may_not_be_read_the_first_refusal_is_told_and_no_other_is_asked_for(store: MemoryStore) -> None:
    asked: list[Ref] = []

    class Refusing(HookedStore):
        def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
            asked.append(ref)
            raise AccessDenied("no right to read pictures")

    found = pairs_of(Refusing(store), [done(store, "a"), done(store, "b")], SHOP)
    assert (found.pairs, found.refused) == ((), "no right to read pictures")
    assert len(asked) == 1


@pytest.mark.parametrize("where", ["content", "result"])
def test_a_receipt_that_names_a_folder_of_somebody_else_has_nothing_shown_of_it(store: MemoryStore, where: str) -> None:
    receipt = done(store, "a")
    store.put(Ref("secrets", "catalog/a.jpg"), jpeg_bytes(1))
    forged = {"content": receipt.content, "result": receipt.result} | {where: "s3://secrets/catalog/a.jpg"}
    assert pairs_of(store, [make_receipt("catalog/a.jpg", **forged)], SHOP).pairs == ()
    assert pairs_of(store, [receipt], (Ref("shop", "elsewhere/"),)).pairs == ()


def test_only_so_many_pairs_are_made(store: MemoryStore) -> None:
    receipts = [done(store, str(number)) for number in range(PAIRS_MAX + 3)]
    assert len(pairs_of(store, receipts, SHOP).pairs) == PAIRS_MAX


def noise(width: int, height: int, image_format: str = "JPEG") -> bytes:
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format)
    return buffer.getvalue()


def test_no_thumbnail_is_longer_than_its_share(store: MemoryStore) -> None:
    (pair,) = pairs_of(store, [done(store, "a", content=noise(400, 400))], SHOP).pairs
    assert len(base64.b64decode(pair.before.uri.partition(",")[2])) <= THUMBNAIL_BYTES_MAX


def test_a_large_file_is_not_read_for_a_thumbnail(store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thumbnails, "SOURCE_BYTES_MAX", 2000)
    large = done(store, "large", content=noise(300, 300))
    small = done(store, "small", content=jpeg_bytes(1), result=jpeg_bytes(2))
    assert [p.receipt for p in pairs_of(store, [large, small], SHOP).pairs] == [small]


def decoded_sizes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes at which pictures are decoded from now on."""
    sizes: list[tuple[int, int]] = []
    convert = pictures._to_srgb

    def spy(image: Image.Image) -> Image.Image:
        sizes.append(image.size)
        return convert(image)

    monkeypatch.setattr(pictures, "_to_srgb", spy)
    return sizes


def test_a_photo_is_decoded_at_a_fraction_of_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = decoded_sizes(monkeypatch)
    assert pictures.preview(jpeg_bytes(1, size=(4000, 3000)), 360).shape == (270, 360, 3)
    assert sizes == [(500, 375)]


def test_a_preview_is_upright_and_small_pictures_stay_as_they_are() -> None:
    buffer = io.BytesIO()
    image = Image.new("RGB", (60, 40), (1, 2, 3))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(buffer, "JPEG", exif=exif)
    assert pictures.preview(buffer.getvalue(), 360).shape == (60, 40, 3)


def test_what_would_take_much_memory_to_decode_has_no_preview(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PREVIEW_PIXELS_MAX", 1000)
    assert pictures.preview(noise(60, 50, "JPEG"), 360).shape == (50, 60, 3)
    for data in (noise(60, 50, "PNG"), noise(90, 50, "JPEG")):
        with pytest.raises(ImageInvalid, match="has no preview"):
            pictures.preview(data, 360)


@pytest.fixture(autouse=True)
def _no_thumbnail_is_made_beside_another() -> Iterator[None]:
    yield
    assert not thumbnails._one_at_a_time.locked()
