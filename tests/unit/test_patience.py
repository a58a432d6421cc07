"""The engine may be silent for as long as the slowest machine needs, and not for ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stylefleet import patience
from stylefleet.cost import flop_per_pixel_step
from stylefleet.presets import recipe_for
from stylefleet.recipe import SIZE_PX_MAX, SIZE_PX_MIN


@given(st.integers(SIZE_PX_MIN, SIZE_PX_MAX), st.floats(0, 10_000))
def test_the_limit_leaves_room_for_a_slow_machine_and_for_a_step_like_the_longest_so_far(
    size_px: int, longest_seconds: float
) -> None:
    recipe = recipe_for(size_px=size_px)
    limit = patience.limit_seconds(recipe, longest_seconds=longest_seconds)
    assert limit >= 1800
    assert limit >= 50 * longest_seconds
    assert limit >= size_px**2 * flop_per_pixel_step(recipe) / 5e9


def test_the_limit_of_usual_pictures_is_half_an_hour() -> None:
    assert patience.limit_seconds(recipe_for(size_px=1024)) == 1800
