"""One picture with its masks and its start, and what is said where one of them cannot be used."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image
from PIL.ExifTags import Base

from stylefleet import pictures
from stylefleet.companions import Companion, Pin
from stylefleet.naming import Ref
from stylefleet.plan import Plan, StyleShare
from stylefleet.preparing import Prepared, Refused, Room, compose, prepare, region_masks
from stylefleet.recipe import Refinement
from stylefleet.store_memory import MemoryStore
from stylefleet.tasks import Task
from tests.builders import make_plan, make_task

SKY = Companion(role="mask", at=Ref("shop", "masks/sky/"))
GROUND = Companion(role="mask", at=Ref("shop", "masks/ground.png"))
PROTECT = Companion(role="protect", at=Ref("shop", "protect/"))
START = Companion(role="start", at=Ref("shop", "starts/"))


def png(pixels: np.ndarray) -> bytes:
    return pictures.encode(pixels, format="png", quality=90)


def upper_half(width: int = 64, height: int = 32) -> np.ndarray:
    """White above, black below: uint8 [height, width, 3]."""
    mask = np.zeros((height, width, 3), np.uint8)
    mask[: height // 2] = 255
    return mask


class Shop:
    """A bucket with one picture of 96 x 48 px that is restyled at 64 px, and with what belongs to it."""

    def __init__(self, *companions: Companion, masks: tuple[Ref | None, ...] = (None,), **recipe: Any) -> None:
        self.store = MemoryStore("shop")
        self.photo = np.random.default_rng(0).integers(0, 256, (48, 96, 3), np.uint8)
        etag = self.store.put(Ref("shop", "catalog/a.png"), png(self.photo))
        plan = make_plan(shards=(1,), companions=companions)
        scales = (replace(plan.recipe.scales[-1], size_px=64),)
        shares = tuple(StyleShare(image=Ref("shop", "s.jpg"), etag="e", weight=1.0, mask=mask) for mask in masks)
        self.plan: Plan = replace(plan, styles=shares, recipe=replace(plan.recipe, scales=scales, **recipe))
        self.task: Task = replace(make_task("catalog/a.png"), content_etag=etag)

    def put(self, key: str, data: bytes) -> Pin:
        """An object that is pinned as the picture's next companion."""
        ref = Ref("shop", key)
        return self.pin(Pin(ref, self.store.put(ref, data), len(data)))

    def pin(self, pin: Pin) -> Pin:
        self.task = replace(self.task, companions=(*self.task.companions, pin))
        return pin

    def prepared(self) -> Prepared:
        found = prepare(self.store, self.plan, self.task)
        assert isinstance(found, Prepared), found
        return found

    def refused(self) -> Refused:
        found = prepare(self.store, self.plan, self.task)
        assert isinstance(found, Refused)
        return found


def test_a_plain_picture_has_its_pixels_and_nothing_else() -> None:
    shop = Shop()
    found = shop.prepared()
    assert np.array_equal(found.pixels, pictures.resize(shop.photo, 64, 32))
    assert (found.masks, found.protect, found.start, found.details, found.position) == (None, None, None, (), None)
    batch = compose([found, found])
    assert batch.contents.shape == (2, 32, 64, 3)
    assert (batch.masks, batch.protect, batch.starts, batch.details) == (None, None, None, ())


def test_masks_come_in_the_order_of_their_regions_and_the_styles_without_one_get_the_rest() -> None:
    shop = Shop(SKY, GROUND, masks=(SKY.at, None, GROUND.at, SKY.at))
    shop.put("masks/sky/a.png", png(upper_half()))
    shop.put("masks/ground.png", png(np.full((32, 64, 3), 100, np.uint8)))
    masks = shop.prepared().masks
    assert masks is not None
    assert (masks.shape, masks.dtype) == ((3, 32, 64), np.uint8)
    sky, rest, ground = masks
    assert (sky[0, 0], sky[-1, 0]) == (255, 0)
    assert (rest[0, 0], rest[-1, 0]) == (0, 155)
    assert (ground == 100).all()


def test_a_single_style_with_a_mask_has_one_region() -> None:
    shop = Shop(SKY, masks=(SKY.at,))
    shop.put("masks/sky/a.png", png(upper_half()))
    masks = shop.prepared().masks
    assert masks is not None
    assert masks.shape == (1, 32, 64)


@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(4), st.just(5))))
def test_the_region_without_a_mask_fills_up_to_255_and_no_further(given_masks: np.ndarray) -> None:
    places = [Ref("shop", f"{n}/") for n in range(len(given_masks))]
    found = region_masks([None, *places], dict(zip(places, given_masks, strict=True)))
    assert found is not None
    assert np.array_equal(found[1:], given_masks)
    total = given_masks.astype(int).sum(axis=0)
    assert np.array_equal(found[0].astype(int), np.maximum(0, 255 - total))


def test_a_protecting_mask_and_a_start_are_of_the_results_size() -> None:
    shop = Shop(PROTECT, START, start="picture")
    shop.put("protect/a.png", png(upper_half(128, 64)))
    shop.put("starts/a.jpg", png(np.full((20, 40, 3), 77, np.uint8)))
    found = shop.prepared()
    assert found.protect is not None
    assert found.start is not None
    assert (found.protect.shape, int(found.protect[0, 0]), int(found.protect[-1, 0])) == ((32, 64), 255, 0)
    assert found.start.shape == (32, 64, 3)
    assert (found.start == 77).all()
    batch = compose([found])
    assert batch.protect is not None
    assert batch.starts is not None
    assert (batch.protect.shape, batch.starts.shape) == ((1, 32, 64), (1, 32, 64, 3))


def test_each_refinement_sees_its_part_of_the_original_picture() -> None:
    refinements = (
        Refinement(box=(0.0, 0.0, 0.5, 0.5), zoom=2.0, iterations=1),
        Refinement(box=(0.25, 0.25, 0.75, 0.75), zoom=1.0, iterations=1),
    )
    found = Shop(refine=refinements).prepared()
    assert [d.shape for d in found.details] == [(*reversed(r.crop_size(64, 32)), 3) for r in refinements]
    batch = compose([found, found])
    assert [d.shape[0] for d in batch.details] == [2, 2]


def test_exif_is_read_only_where_it_is_kept() -> None:
    exif = Image.Exif()
    exif[Base.Artist] = "Ada"
    buffer = io.BytesIO()
    Image.new("RGB", (64, 32)).save(buffer, "JPEG", exif=exif)
    shop = Shop()
    shop.task = replace(shop.task, content_etag=shop.store.put(shop.task.content, buffer.getvalue()))
    assert shop.prepared().exif == b""
    shop.plan = replace(shop.plan, keep_metadata=("exif",))
    assert b"Ada" in shop.prepared().exif


@pytest.mark.parametrize(
    ("companion", "reason", "sentence"),
    [
        (SKY, "mask_missing", "s3://shop/masks/sky/a.png: the mask was not there when the run was planned"),
        (PROTECT, "mask_missing", "s3://shop/protect/a.png: the mask was not there when the run was planned"),
        (START, "start_missing", "s3://shop/starts/a.png: the start was not there when the run was planned"),
    ],
)
def test_what_was_missing_at_planning_is_told_and_nothing_is_fetched(
    companion: Companion, reason: str, sentence: str
) -> None:
    shop = Shop(companion)
    shop.pin(Pin(Ref("shop", companion.at.key + "a.png"), "", 0))
    shop.store.delete(shop.task.content)
    found = shop.refused()
    assert found.reason == reason
    assert sentence in found.message


def test_what_was_deleted_replaced_or_broken_since_planning_is_told_by_its_key() -> None:
    def refused(change: Any) -> tuple[str, str]:
        shop = Shop(SKY, masks=(SKY.at,))
        pin = shop.put("masks/sky/a.png", png(upper_half()))
        change(shop, pin)
        found = shop.refused()
        return found.reason, found.message.partition(": ")[0]

    key = "s3://shop/masks/sky/a.png"
    assert refused(lambda shop, pin: shop.store.delete(pin.ref)) == ("mask_missing", key)
    assert refused(lambda shop, pin: shop.store.put(pin.ref, b"another")) == ("mask_changed", key)


@pytest.mark.parametrize(("companion", "reason"), [(SKY, "mask_invalid"), (START, "start_invalid")])
def test_a_broken_companion_is_told_by_its_key(companion: Companion, reason: str) -> None:
    shop = Shop(companion)
    shop.put(companion.at.key + "a.png", b"no picture")
    found = shop.refused()
    assert found.reason == reason
    assert found.message.startswith(f"s3://shop/{companion.at.key}a.png: ")


def test_a_companion_too_large_for_memory_is_refused_without_being_read() -> None:
    shop = Shop(SKY)
    shop.pin(Pin(Ref("shop", "masks/sky/a.png"), "etag", pictures.BYTES_MAX + 1))
    found = shop.refused()
    assert found.reason == "mask_invalid"
    assert "at most 268,435,456 are allowed" in found.message


def test_what_is_decoded_at_the_same_time_is_bounded_in_pixels() -> None:
    room, order = Room(100), []

    def decode(name: str, pixels: int, begun: threading.Event, go_on: threading.Event) -> None:
        with room.taken(pixels):
            order.append(f"{name} begins")
            begun.set()
            assert go_on.wait(30)
            order.append(f"{name} ends")

    events = {name: (threading.Event(), threading.Event()) for name in ("small", "large", "other")}
    sizes = {"small": 30, "large": 100, "other": 70}
    threads = {n: threading.Thread(target=decode, args=(n, sizes[n], *events[n])) for n in events}
    threads["small"].start()
    assert events["small"][0].wait(30)
    threads["other"].start()  # beside the small one there is room for it
    assert events["other"][0].wait(30)
    threads["large"].start()
    events["large"][1].set()
    assert not events["large"][0].wait(0.2)
    for name in ("small", "other"):
        events[name][1].set()
        threads[name].join(30)
    threads["large"].join(30)
    assert order == ["small begins", "other begins", "small ends", "other ends", "large begins", "large ends"]


def test_room_is_given_back_where_a_picture_cannot_be_decoded() -> None:
    room = Room(10)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), room.taken(10):
            raise ZeroDivisionError
