"""The content in the style's colours."""

from __future__ import annotations

import numpy as np
import pytest

from stylefleet.engine.colors import color_moments, match_colors
from tests.engine.pictures import painting, photo


def matched(pixels: np.ndarray, style: np.ndarray) -> np.ndarray:
    mean, gram = color_moments(style)
    return match_colors(pixels, mean=mean, gram=gram)


def test_the_moments_are_mean_and_mean_outer_product() -> None:
    pixels = photo()
    flat = pixels.reshape(-1, 3).astype(float)
    mean, gram = color_moments(pixels)
    assert mean == pytest.approx(flat.mean(axis=0), rel=1e-5)
    assert gram == pytest.approx(np.einsum("nc,nd->cd", flat, flat) / len(flat), rel=1e-5)


def test_a_matched_picture_has_the_styles_mean_and_covariance() -> None:
    rng = np.random.default_rng(0)
    content = rng.normal((120, 100, 90), (40, 20, 30), (60, 60, 3)).clip(0, 255).astype(np.uint8)
    mixing = np.array([[20, 5, 0], [0, 15, 10], [5, 0, 25]])
    style = (rng.normal(size=(60, 60, 3)) @ mixing.T + (90, 120, 140)).clip(0, 255).astype(np.uint8)
    found = matched(content, style).reshape(-1, 3)
    assert found.mean(axis=0) == pytest.approx(style.reshape(-1, 3).mean(axis=0), abs=1)
    wanted = np.cov(style.reshape(-1, 3), rowvar=False)
    assert np.cov(found, rowvar=False) == pytest.approx(wanted, abs=0.2 * wanted.max())


def test_a_picture_matched_to_itself_hardly_changes() -> None:
    assert np.abs(matched(painting(), painting()).astype(int) - painting()).mean() < 2


def test_a_flat_picture_takes_the_styles_mean_colour() -> None:
    flat = np.full((20, 30, 3), 255, np.uint8)
    mean = painting().reshape(-1, 3).mean(axis=0)
    assert matched(flat, painting())[5, 5] == pytest.approx(mean, abs=1)


def test_faint_noise_is_not_stretched_over_the_palette() -> None:
    noisy = (128 + np.random.default_rng(0).normal(0, 1, (40, 40, 3))).astype(np.uint8)
    assert matched(noisy, painting()).std(axis=(0, 1)).max() < 20


def test_a_style_of_one_colour_gives_a_picture_of_that_colour() -> None:
    style = np.full((20, 20, 3), (10, 200, 30), np.uint8)
    assert np.abs(matched(photo(), style).astype(int) - (10, 200, 30)).max() <= 2
