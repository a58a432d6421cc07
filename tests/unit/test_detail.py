"""What a refinement sees of the original."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet.pictures import detail, resize, result_size
from stylefleet.recipe import Refinement


def refinement(*box: float, zoom: float = 2.0) -> Refinement:
    left, top, right, bottom = box
    return Refinement(box=(left, top, right, bottom), zoom=zoom, iterations=1)


EDGES = st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True).map(sorted)


@given(st.integers(12, 90), st.integers(12, 90), st.integers(24, 64), EDGES, EDGES, st.integers(1, 4))
def test_a_detail_is_that_part_of_the_whole_original_at_that_size(
    width: int, height: int, size_px: int, across: list[float], down: list[float], zoom: int
) -> None:
    # Low contrast: Pillow clips between its two passes, and takes first the one that is less work.
    pixels = np.random.default_rng(width * height).integers(90, 166, (height, width, 3), dtype=np.uint8)
    size = max(size_px, 16 * max(width, height) // min(width, height) + 16)
    w, h = result_size(width, height, size)
    box = refinement(across[0], down[0], across[1], down[1], zoom=zoom)
    found = detail(pixels, box, w, h)
    left, top, right, bottom = box.crop(w, h)
    whole = resize(pixels, w * zoom, h * zoom)[top * zoom : bottom * zoom, left * zoom : right * zoom]
    assert (found.dtype, found.shape[1::-1]) == (np.uint8, box.crop_size(w, h))
    # Each pass rounds.
    assert np.abs(found.astype(int) - whole).max() <= 2


def test_a_detail_of_everything_is_the_original_at_that_size() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    assert np.array_equal(detail(pixels, refinement(0, 0, 1, 1), 60, 45), pixels)


@pytest.mark.parametrize("zoom", [1.5, 2.37, 8])
def test_a_detail_has_the_size_that_the_refinement_tells(zoom: float) -> None:
    pixels = np.zeros((30, 40, 3), np.uint8)
    box = refinement(0.31, 0.2, 0.62, 0.9, zoom=zoom)
    assert detail(pixels, box, 20, 15).shape[1::-1] == box.crop_size(20, 15)


def test_of_a_huge_original_only_the_part_is_touched() -> None:
    # 30 GB if anything looked at all of it.
    pixels = np.broadcast_to(np.array([10, 200, 60], np.uint8), (100_000, 100_000, 3))
    found = detail(pixels, refinement(0.5, 0.5, 0.501, 0.501, zoom=8), 1000, 1000)
    assert np.unique(found.reshape(-1, 3), axis=0).tolist() == [[10, 200, 60]]
