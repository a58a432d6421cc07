"""A Job asks for what its largest picture takes."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet.errors import SettingsInvalid
from stylefleet.memory import at_least, bytes_of, memory_needed
from stylefleet.presets import recipe_for
from stylefleet.recipe import SIZE_PX_MAX, SIZE_PX_MIN, Refinement
from stylefleet.settings import controller_settings

PAGE = (Path(__file__).parents[2] / "docs/memory.md").read_text()
SIZES_PX = (64, 512, 1024, 1341, 1342, 2048, 3000, 4096, 6000, 8192)


def needed(size_px: int, *, gpu: bool = False) -> int:
    return memory_needed(recipe_for(size_px=size_px), gpu=gpu)


@given(st.lists(st.integers(SIZE_PX_MIN, SIZE_PX_MAX), min_size=2, max_size=2), st.booleans())
def test_a_larger_size_never_needs_less(sizes_px: list[int], gpu: bool) -> None:
    small, large = sorted(sizes_px)
    assert needed(small, gpu=gpu) <= needed(large, gpu=gpu)


def test_from_half_a_megapixel_on_a_larger_size_needs_more() -> None:
    for small, large in pairwise(SIZES_PX[1:]):
        assert needed(small) < needed(large)


def test_more_is_needed_for_what_comes_with_a_picture_and_less_beside_a_gpu() -> None:
    plain = memory_needed(recipe_for(size_px=4096))
    assert memory_needed(recipe_for(size_px=4096), regions=2) > plain
    assert memory_needed(recipe_for(size_px=4096), regions=3) > memory_needed(recipe_for(size_px=4096), regions=2)
    assert memory_needed(recipe_for(size_px=4096), kept=True) > plain
    assert memory_needed(recipe_for(size_px=4096, averaging=0.9)) > plain
    assert needed(4096, gpu=True) < plain


def test_a_refinement_needs_what_a_picture_of_its_size_does() -> None:
    half = Refinement(box=(0.25, 0.25, 0.75, 0.75), zoom=4.0, iterations=10)
    refined = memory_needed(recipe_for(size_px=1024, refine=(half,)))
    assert needed(2048) < refined < needed(4096)


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("1000", 1000), ("1k", 1000), ("1.5Gi", 3 * 2**29), ("8Gi", 2**33), ("500M", 5 * 10**8)],
)
def test_quantities_are_read_as_kubernetes_reads_them(text: str, number: int) -> None:
    assert bytes_of(text) == number


@pytest.mark.parametrize("text", ["", "8 Gi", "8GiB", "8gi", "-1Gi", "1e3", "Gi", "٨Gi", "1K"])
def test_what_is_no_quantity_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"found {text!r}, allowed is a number of bytes")):
        bytes_of(text)


def test_the_setting_stands_where_it_is_enough() -> None:
    assert at_least("8Gi", 2**33) == "8Gi"
    assert at_least("8Gi", 2**33 + 1) == "8193Mi"


def test_a_setting_that_is_no_quantity_ends_the_controller_at_its_start() -> None:
    environment = {"STYLEFLEET_BUCKET": "service", "STYLEFLEET_WORKER_MEMORY": "8 GB"}
    with pytest.raises(SettingsInvalid, match="STYLEFLEET_WORKER_MEMORY: found '8 GB', allowed is"):
        controller_settings(environment)


def test_the_page_has_the_numbers_that_jobs_ask_for() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \| [\d.]+ \| ([\d.]+) GiB \| ([\d.]+) GiB \|$", PAGE)
    assert [int(size) for size, _, _ in rows] == [512, 1024, 2048, 4096, 6000, 8192]
    for size, cpu, gpu in rows:
        told = f"{needed(int(size)) / 2**30:.1f}", f"{needed(int(size), gpu=True) / 2**30:.1f}"
        assert (cpu, gpu) == told, f"{size} px"
