"""The whole algorithm on small pictures."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from stylefleet.engine import Batch, Engine, Iterate, load_engine, looks_for, optimize, run, style_target
from stylefleet.engine._tensorflow import tf
from stylefleet.errors import ImageInvalid
from stylefleet.presets import recipe_for
from stylefleet.recipe import PRESETS
from tests.engine.pictures import contents, gray_levels, looks, painting, photo, recipe, restyled

SMALL = recipe((32, 10), (48, 6))


@pytest.fixture(scope="module")
def iterates(engine: Engine) -> list[Iterate]:
    return list(optimize(engine, Batch(contents=contents(SMALL)), looks(engine, SMALL), SMALL))


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

    weights = term_weights(SMALL)._asdict()
    for iterate in iterates:
        total = sum(weights[name] * term for name, term in iterate.terms.items())
        assert total == pytest.approx(iterate.losses, rel=1e-4)


def test_within_a_scale_the_loss_falls(engine: Engine) -> None:
    wanted = recipe((48, 40))
    losses = [
        float(i.losses[0]) for i in optimize(engine, Batch(contents=contents(wanted)), looks(engine, wanted), wanted)
    ]
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
    gray = [gray_levels(p) for p in (content, iterates[-1].pixels[0])]
    assert np.corrcoef(*gray)[0, 1] > 0.4


def test_more_content_weight_keeps_more_of_the_content(engine: Engine) -> None:
    terms = []
    for weight in (1e2, 1e3, 1e4):
        wanted = recipe((48, 25), content_weight=weight)
        terms.append(restyled(engine, wanted).terms)
    assert terms[0]["content"] > terms[1]["content"] > terms[2]["content"]
    assert terms[0]["style"] < terms[2]["style"]


def test_more_total_variation_weight_is_smoother(engine: Engine) -> None:
    rough, smooth = (
        restyled(engine, w).terms["tv"] for w in (recipe((48, 25), tv_weight=0.0), recipe((48, 25), tv_weight=30.0))
    )
    assert smooth < 0.8 * rough


def test_the_same_inputs_give_the_same_bytes(engine: Engine, iterates: list[Iterate]) -> None:
    again = restyled(engine, SMALL)
    assert again.raw.numpy().tobytes() == iterates[-1].raw.numpy().tobytes()


def test_another_seed_gives_another_picture(engine: Engine, iterates: list[Iterate]) -> None:
    other = dataclasses.replace(SMALL, seed=1)
    assert not np.array_equal(restyled(engine, other).pixels, iterates[-1].pixels)


def test_a_picture_gets_the_same_alone_and_in_a_batch(engine: Engine) -> None:
    wanted = recipe((32, 4), (48, 2))
    pictures = [photo(), photo()[::-1], painting(48)[:32]]
    batch = restyled(engine, wanted, *pictures)
    for index, picture in enumerate(pictures):
        alone = restyled(engine, wanted, picture)
        assert alone.losses[0] == pytest.approx(batch.losses[index], rel=1e-3)
        assert np.abs(alone.pixels[0].astype(int) - batch.pixels[index]).mean() < 1


def test_a_shape_never_seen_before_is_not_traced_again(engine: Engine, iterates: list[Iterate]) -> None:
    before = engine.programs.traces
    wanted = recipe((40, 2))
    square = Batch(contents=np.zeros((2, 40, 40, 3), np.uint8))
    run(engine, square, looks(engine, wanted), wanted)
    assert engine.programs.traces == before
    assert engine.activations.experimental_get_tracing_count() == 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("value", [0, 255])
def test_a_picture_of_one_colour_is_restyled_too(engine: Engine, value: int) -> None:
    wanted = recipe((32, 8))
    flat = np.full((1, 21, 32, 3), value, np.uint8)
    result = run(engine, Batch(contents=flat), looks(engine, wanted), wanted)
    assert np.isfinite(result.losses).all()
    assert result.pixels.std() > 5


@pytest.mark.parametrize("colour", [0, 255])
def test_a_style_of_one_colour_ends_in_finite_numbers(engine: Engine, colour: int) -> None:
    wanted = recipe((32, 8))
    style = np.full((32, 32, 3), colour, np.uint8)
    assert np.isfinite(restyled(engine, wanted, style=style).losses).all()


def test_a_narrow_picture_keeps_its_shape(engine: Engine) -> None:
    wanted = recipe((32, 2), (64, 2))
    result = run(engine, Batch(contents=np.zeros((1, 64, 16, 3), np.uint8)), looks(engine, wanted), wanted)
    assert result.pixels.shape == (1, 64, 16, 3)


def test_the_caller_may_stop_at_any_iterate(engine: Engine) -> None:
    wanted = recipe((32, 10_000))
    for iterate in optimize(engine, Batch(contents=contents(wanted)), looks(engine, wanted), wanted):
        assert iterate.pixels.shape == (1, 21, 32, 3)
        break


def plain(**arrays: np.ndarray) -> Batch:
    return Batch(**{"contents": contents(SMALL), **arrays})  # type: ignore[arg-type]


def test_what_does_not_fit_together_is_refused_with_what_would(engine: Engine) -> None:
    good = looks(engine, SMALL)
    two = looks(engine, SMALL, painting(), painting(seed=2))
    foreign = tuple(tuple(dataclasses.replace(t, weights_sha256="0" * 64) for t in look) for look in good)
    gram = good[0][0].layers["block1_conv1"]
    poisoned = dataclasses.replace(
        good[0][0], layers={**good[0][0].layers, "block1_conv1": dataclasses.replace(gram, gram=gram.gram * np.nan)}
    )
    mask = np.full((1, 1, 32, 48), 255, np.uint8)
    refined = recipe((48, 1), refine=[])
    for batch, given, wanted, sentence in [
        (plain(), good, recipe((32, 1)), r"size 32, found 48 x 32: resize"),
        (plain(contents=contents(SMALL).astype(np.float32)), good, SMALL, "uint8"),
        (plain(contents=np.full((1, 32, 48, 3), np.nan)), good, SMALL, r"float64 \[1, 32, 48, 3\]; decode"),
        (plain(contents=np.zeros((0, 32, 48, 3), np.uint8)), good, SMALL, "at least one picture and one pixel"),
        (plain(contents=np.zeros((1, 0, 48, 3), np.uint8)), good, SMALL, "at least one picture and one pixel"),
        (plain(), good[:1], SMALL, r"\[32, 48\]; found \[32\]"),
        (plain(), foreign, SMALL, "another backbone"),
        (plain(), ((poisoned,), good[1]), SMALL, "not finite"),
        (plain(), good, dataclasses.replace(SMALL, pooling="average"), "loaded for another"),
        (plain(), good, dataclasses.replace(SMALL, precision="mixed_bfloat16"), "loaded for another"),
        (plain(), two, SMALL, r"1 masks and \[2\] looks"),
        (plain(masks=mask), two, SMALL, r"1 masks and \[2\] looks"),
        (plain(masks=mask[..., :40]), good, SMALL, r"`masks` is uint8 \[1, 1, 32, 48\], found uint8 \[1, 1, 32, 40\]"),
        (plain(protect=mask[0].astype(float)), good, SMALL, "`protect` is uint8"),
        (plain(starts=contents(SMALL)), good, SMALL, "starts from a picture, and with no other"),
        (plain(), good, dataclasses.replace(SMALL, start="picture"), "Give `starts`"),
        (plain(details=(contents(SMALL),)), looks(engine, refined), refined, "One detail for each refinement"),
        (plain(), good, dataclasses.replace(SMALL, content_weight=float("nan")), r"contentWeight: .*found: nan"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            next(optimize(engine, batch, given, wanted))


def test_an_engine_without_a_layer_to_look_at_is_refused() -> None:
    zeros = tuple(dataclasses.replace(layer, weight=0.0) for layer in SMALL.style_layers)
    with pytest.raises(ValueError, match=r"styleLayers: no layer counts .*a weight above 0"):
        load_engine(dataclasses.replace(SMALL, style_layers=zeros))


def test_styles_and_weights_that_make_no_look_are_refused(engine: Engine) -> None:
    for group, sentence in [
        ([], "No style was given"),
        ([(painting(), 0.0)], "sum above 0"),
        ([(painting(), float("nan"))], "finite numbers"),
        ([(painting(), 1.0), (painting(), -0.5)], "at least 0"),
        ([(painting(), 1.0), painting()], "style 1 of region 0 has none"),
        ([(painting().astype(float), 1.0)], "style 0 of region 0 is float64"),
        ([(painting()[:0], 1.0)], "at least one pixel"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            looks_for(engine, [group], SMALL)
    with pytest.raises(ValueError, match="made for its contents"):
        looks_for(engine, [[(painting(), 1.0)]], dataclasses.replace(SMALL, colors="match"))


def test_a_style_picture_that_is_too_small_is_refused(engine: Engine) -> None:
    with pytest.raises(ImageInvalid):
        style_target(engine, np.zeros((4, 40, 3), np.uint8), 64)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_paints(engine: Engine, preset: str) -> None:
    """At a tenth of a preset's steps."""
    whole = recipe_for(preset=preset, size_px=192, precision="float32")  # type: ignore[arg-type]
    scales = tuple(dataclasses.replace(s, size_px=s.size_px // 4, iterations=s.iterations // 10) for s in whole.scales)
    wanted = dataclasses.replace(whole, scales=scales)
    loaded = load_engine(wanted)
    result = restyled(loaded, wanted)
    assert np.isfinite(result.losses).all()
    assert distance(engine, result.pixels[0], painting()) < 0.75 * distance(engine, contents(wanted)[0], painting())


GOLDEN = {"style": 0.1312, "content": 0.3350, "tv": 0.01797}
"""Terms of SMALL after its last step, from the first run that was looked at. They differ in the third digit between
kinds of CPU, whose sums are ordered otherwise, and a real change of the algorithm moves them by far more."""


def test_the_numbers_are_those_of_yesterday(iterates: list[Iterate]) -> None:
    assert {name: float(term[0]) for name, term in iterates[-1].terms.items()} == pytest.approx(GOLDEN, rel=0.03)


def test_the_engine_says_what_it_is(engine: Engine) -> None:
    assert engine.tensorflow_version == tf.__version__
    assert engine.precision == "float32"
    assert engine.device
    assert "programs" not in repr(engine)
