from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet.batches import BATCH_MAX, PIXELS_PER_STEP, WINDOW, WINDOW_PIXELS, batch_size, batches, window
from stylefleet.recipe import Refinement


class Picture(NamedTuple):
    number: int
    shape: tuple[int, int]
    position: tuple[int, int] | None = None


@pytest.mark.parametrize(
    ("shape", "size"),
    [((16, 16), 8), ((224, 224), 8), ((256, 244), 8), ((384, 512), 2), ((512, 512), 1), ((4096, 4096), 1)],
)
def test_a_step_has_half_a_megapixel_and_at_most_eight_pictures(shape: tuple[int, int], size: int) -> None:
    assert batch_size(shape) == size


@pytest.mark.parametrize(("size_px", "pictures"), [(16, 24), (1020, 24), (2048, 5), (4096, 1), (8192, 1)])
def test_few_large_pictures_are_fetched_ahead_and_always_one(size_px: int, pictures: int) -> None:
    assert window(size_px) == pictures


def test_a_full_batch_of_any_size_is_fetched_at_once() -> None:
    for size_px in range(16, 8193):
        assert window(size_px) >= batch_size((size_px, size_px))
        assert window(size_px) * size_px**2 <= max(WINDOW_PIXELS, size_px**2)
    assert window(16) == WINDOW


def test_pictures_of_equal_size_are_together_in_their_order() -> None:
    wide, tall = (400, 600), (600, 400)
    pictures = [Picture(n, wide if n % 3 else tall) for n in range(7)]
    assert [[p.number for p in batch] for batch in batches(pictures)] == [[0, 3], [6], [1, 2], [4, 5]]


def test_pictures_go_on_together_only_from_one_position() -> None:
    positions = [None, (0, 40), (1, 10), (0, 40), None, (1, 10)]
    pictures = [Picture(n, (64, 64), position) for n, position in enumerate(positions)]
    assert [[p.number for p in batch] for batch in batches(pictures)] == [[0, 4], [1, 3], [2, 5]]


def test_a_refinement_larger_than_the_result_makes_batches_smaller() -> None:
    whole = Refinement(box=(0.0, 0.0, 1.0, 1.0), zoom=6.0, iterations=1)
    pictures = [Picture(n, (171, 256)) for n in range(8)]
    assert [len(batch) for batch in batches(pictures)] == [8]
    assert [len(batch) for batch in batches(pictures, [whole])] == [1] * 8


def test_batches_can_be_made_smaller() -> None:
    pictures = [Picture(n, (64, 64)) for n in range(5)]
    assert [len(batch) for batch in batches(pictures, at_most=2)] == [2, 2, 1]
    assert [len(batch) for batch in batches(pictures, at_most=1)] == [1] * 5


def test_no_pictures_are_no_batches() -> None:
    assert batches([]) == []


shapes = st.sampled_from([(64, 64), (224, 224), (300, 500), (500, 300), (512, 512), (2000, 3000)])


@given(st.lists(shapes, max_size=60))
def test_every_picture_is_in_one_batch_of_its_size(found: list[tuple[int, int]]) -> None:
    pictures = [Picture(n, shape) for n, shape in enumerate(found)]
    made = batches(pictures)
    assert sorted(p for batch in made for p in batch) == pictures
    for batch in made:
        assert len({p.shape for p in batch}) == 1
        assert 1 <= len(batch) <= BATCH_MAX
        height, width = batch[0].shape
        assert len(batch) == 1 or len(batch) * height * width <= PIXELS_PER_STEP
