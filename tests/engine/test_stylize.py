"""The whole algorithm on small pictures."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from stylefleet.engine import Engine, Iterate, run, style_target, stylize
from stylefleet.engine._tensorflow import tf
from stylefleet.errors import ImageInvalid
from stylefleet.recipe import recipe_for
from tests.engine.pictures import contents, painting, photo, recipe, targets

SMALL = recipe((32, 10), (48, 6))


@pytest.fixture(scope="module")
def iterates(engine: Engine) -> list[Iterate]:
    return list(stylize(engine, contents(SMALL), targets(engine, SMALL), SMALL))


def test_iterates_count_up_to_the_total_and_grow_with_the_scales(iterates: list[Iterate]) -> None:
    assert iterates[-1].iteration == iterates[-1].iterations_total == 16
    assert [i.iteration for i in iterates] == sorted({i.iteration for i in iterates})
    assert [i.scale_px for i in iterates] == sorted(i.scale_px for i in iterates)
    assert {(i.scale_px, i.raw.shape[1:3]) for i in iterates} == {(32, (21, 32)), (48, (32, 48))}


def test_the_result_is_a_picture_of_the_contents_size(iterates: list[Iterate]) -> None:
    result = iterates[-1]
    assert result.pixels.dtype == np.uint8
    assert result.pixels.shape == (1, 32, 48, 3)
    assert result.losses.shape == (1,)
    assert np.isfinite(result.losses).all()
    assert np.abs(result.pixels - np.clip(result.raw.numpy(), 0, 255)).max() <= 0.5


def test_the_loss_is_the_weighted_sum_of_the_terms_it_reports(iterates: list[Iterate]) -> None:
    from stylefleet.engine.objective import term_weights

    weights = dataclasses.asdict(term_weights(SMALL))
    for iterate in iterates:
        total = sum(weights[name] * term for name, term in iterate.terms.items())
        assert total == pytest.approx(iterate.losses, rel=1e-4)


def test_within_a_scale_the_loss_falls(engine: Engine) -> None:
    wanted = recipe((48, 40))
    losses = [float(i.losses[0]) for i in stylize(engine, contents(wanted), targets(engine, wanted), wanted)]
    assert len(losses) == 4
    assert all(later < earlier for earlier, later in itertools.pairwise(losses))


def distance(engine: Engine, pixels: np.ndarray, style: np.ndarray) -> float:
    """How far the Gram at block2_conv1 of a picture uint8 [H, W, 3] is from the style's, relatively."""
    size = max(pixels.shape[:2])
    found, wanted = (style_target(engine, p, size).layers["block2_conv1"].gram for p in (pixels, style))
    return float(np.square(found - wanted).sum() / np.square(wanted).sum())


def test_the_picture_goes_from_the_content_toward_the_style(engine: Engine, iterates: list[Iterate]) -> None:
    content = contents(SMALL)[0]
    before, after = distance(engine, content, painting()), distance(engine, iterates[-1].pixels[0], painting())
    assert after < 0.5 * before
    # and the content stays recognizable: its light and dark are still where they were
    gray = [p.astype(float).mean(axis=-1).ravel() for p in (content, iterates[-1].pixels[0])]
    assert np.corrcoef(*gray)[0, 1] > 0.4


def test_more_content_weight_keeps_more_of_the_content(engine: Engine) -> None:
    terms = []
    for weight in (1e2, 1e3, 1e4):
        wanted = recipe((48, 25), content_weight=weight)
        terms.append(run(engine, contents(wanted), targets(engine, wanted), wanted).terms)
    assert terms[0]["content"] > terms[1]["content"] > terms[2]["content"]
    assert terms[0]["style"] < terms[2]["style"]


def test_more_total_variation_weight_is_smoother(engine: Engine) -> None:
    rough, smooth = (
        run(engine, contents(w), targets(engine, w), w).terms["tv"]
        for w in (recipe((48, 25), tv_weight=0.0), recipe((48, 25), tv_weight=30.0))
    )
    assert smooth < 0.8 * rough


def test_the_same_inputs_give_the_same_bytes(engine: Engine, iterates: list[Iterate]) -> None:
    again = run(engine, contents(SMALL), targets(engine, SMALL), SMALL)
    assert again.raw.numpy().tobytes() == iterates[-1].raw.numpy().tobytes()


def test_another_seed_gives_another_picture(engine: Engine, iterates: list[Iterate]) -> None:
    other = dataclasses.replace(SMALL, seed=1)
    assert not np.array_equal(run(engine, contents(SMALL), targets(engine, SMALL), other).pixels, iterates[-1].pixels)


def test_a_picture_gets_the_same_alone_and_in_a_batch(engine: Engine) -> None:
    wanted = recipe((32, 4), (48, 2))
    pictures = [photo(), photo()[::-1], painting(48)[:32]]
    batch = run(engine, contents(wanted, *pictures), targets(engine, wanted), wanted)
    for index, picture in enumerate(pictures):
        alone = run(engine, contents(wanted, picture), targets(engine, wanted), wanted)
        assert alone.losses[0] == pytest.approx(batch.losses[index], rel=1e-3)
        assert np.abs(alone.pixels[0].astype(int) - batch.pixels[index]).mean() < 1


def test_a_shape_never_seen_before_is_not_traced_again(engine: Engine, iterates: list[Iterate]) -> None:
    programs = (engine.advance, engine.activations)
    before = [p.experimental_get_tracing_count() for p in programs]  # type: ignore[attr-defined]
    wanted = recipe((40, 2))
    square = np.zeros((2, 40, 40, 3), np.uint8)
    run(engine, square, targets(engine, wanted), wanted)
    assert [p.experimental_get_tracing_count() for p in programs] == before  # type: ignore[attr-defined]
    assert before == [1, 1]


@pytest.mark.parametrize("value", [0, 255])
def test_a_picture_of_one_colour_is_restyled_too(engine: Engine, value: int) -> None:
    wanted = recipe((32, 8))
    flat = np.full((1, 21, 32, 3), value, np.uint8)
    result = run(engine, flat, targets(engine, wanted), wanted)
    assert np.isfinite(result.losses).all()
    assert result.pixels.std() > 5


@pytest.mark.parametrize("colour", [0, 255])
def test_a_style_of_one_colour_ends_in_finite_numbers(engine: Engine, colour: int) -> None:
    wanted = recipe((32, 8))
    style = np.full((32, 32, 3), colour, np.uint8)
    assert np.isfinite(run(engine, contents(wanted), targets(engine, wanted, style), wanted).losses).all()


def test_a_narrow_picture_keeps_its_shape(engine: Engine) -> None:
    wanted = recipe((32, 2), (64, 2))
    result = run(engine, np.zeros((1, 64, 16, 3), np.uint8), targets(engine, wanted), wanted)
    assert result.pixels.shape == (1, 64, 16, 3)


def test_the_caller_may_stop_at_any_iterate(engine: Engine) -> None:
    wanted = recipe((32, 10_000))
    for iterate in stylize(engine, contents(wanted), targets(engine, wanted), wanted):
        assert iterate.pixels.shape == (1, 21, 32, 3)
        break


def test_what_does_not_fit_together_is_refused(engine: Engine) -> None:
    good = targets(engine, SMALL)
    with pytest.raises(ValueError, match="size 48"):
        next(stylize(engine, contents(recipe((32, 1))), good, SMALL))
    with pytest.raises(ValueError, match="uint8"):
        next(stylize(engine, contents(SMALL).astype(np.float32), good, SMALL))
    with pytest.raises(ValueError, match=r"\[32, 48\]; found \[32\]"):
        next(stylize(engine, contents(SMALL), good[:1], SMALL))
    foreign = tuple(dataclasses.replace(t, weights_sha256="0" * 64) for t in good)
    with pytest.raises(ValueError, match="another backbone"):
        next(stylize(engine, contents(SMALL), foreign, SMALL))


def test_a_style_picture_that_is_too_small_is_refused(engine: Engine) -> None:
    with pytest.raises(ImageInvalid):
        style_target(engine, np.zeros((4, 40, 3), np.uint8), 64)


@pytest.mark.parametrize("preset", ["draft", "balanced", "fine"])
@pytest.mark.parametrize("size_px", [16, 100, 256, 1024])
def test_every_preset_has_targets_for_every_scale(engine: Engine, preset: str, size_px: int) -> None:
    for scale in recipe_for(preset=preset, size_px=size_px).scales:  # type: ignore[arg-type]
        if scale.size_px <= 128:
            assert style_target(engine, painting(), scale.size_px).size_px == scale.size_px


def test_the_engine_says_what_it_is(engine: Engine) -> None:
    assert engine.tensorflow_version == tf.__version__
    assert engine.precision == "float32"
    assert engine.device
    assert "advance" not in repr(engine)
