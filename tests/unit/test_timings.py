"""What pictures took decides how long the next shards are."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from stylefleet import naming, timing_book, timings
from stylefleet.cost import predicted_seconds
from stylefleet.errors import RecordUnreadable
from stylefleet.naming import Ref
from stylefleet.presets import recipe_for
from stylefleet.recipe import Recipe
from stylefleet.store_memory import MemoryStore
from stylefleet.tally import Sums
from stylefleet.timings import ENOUGH_PICTURES, KEPT, Prediction, Timing, flop_of, predict, timing_of, with_new
from tests.builders import FACTS, RUN, failed_receipt, make_plan, make_receipt
from tests.iam import PolicedStore

pytestmark = pytest.mark.usefixtures("quiet_logs")

RECIPE = recipe_for(preset="draft", size_px=64)
LARGER = recipe_for(preset="draft", size_px=128)
LARGEST = recipe_for(preset="draft", size_px=1024)
EXACT = recipe_for(preset="draft", size_px=64, precision="float32")


def timing(recipe: Recipe = RECIPE, **changes: object) -> Timing:
    made = Timing(
        recipe=recipe.digest,
        precision=recipe.precision,
        flop=flop_of(recipe),
        seconds=12.0,
        pictures=1000,
        device="Tesla T4",
        run="spring/0123",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


# --- what will it take -----------------------------------------------------------------------------------------


def test_a_recipe_that_was_run_takes_what_it_took() -> None:
    found = predict(RECIPE, [timing(LARGER, seconds=99.0), timing(seconds=12.5)], flops=1e12)
    assert found == Prediction(seconds=12.5, source="measured: 1,000 pictures of spring/0123 on Tesla T4, this recipe")


def test_another_recipe_takes_as_much_more_as_it_has_more_operations() -> None:
    found = predict(LARGER, [timing(seconds=12.0)], flops=1e12)
    assert found.seconds == pytest.approx(12.0 * flop_of(LARGER) / flop_of(RECIPE))
    assert found.source == "by operations from 1,000 pictures of spring/0123 on Tesla T4"


def test_of_several_other_recipes_the_one_nearest_in_operations_is_taken() -> None:
    known = [timing(LARGEST, seconds=1000.0, run="far/1"), timing(RECIPE, seconds=12.0, run="near/1")]
    assert "near/1" in predict(LARGER, known, flops=1e12).source
    assert "far/1" in predict(recipe_for(preset="draft", size_px=900), known, flops=1e12).source


def test_of_equally_near_ones_the_newest_is_taken() -> None:
    same_work = recipe_for(preset="draft", size_px=64, seed=1)
    known = [timing(same_work, seconds=5.0), timing(seconds=12.0)]
    assert predict(recipe_for(preset="draft", size_px=64, seed=2), known, flops=1e12).seconds == 5.0


def test_another_precision_says_nothing() -> None:
    found = predict(RECIPE, [timing(EXACT, seconds=50.0)], flops=1e12)
    assert found.seconds == predicted_seconds(RECIPE, flops=1e12)
    assert found.source == "by operations at an assumed 1,000 GFLOP/s"


@given(st.floats(1e6, 1e16), st.sampled_from([RECIPE, LARGER, EXACT]), st.lists(st.sampled_from([RECIPE, LARGEST])))
def test_a_prediction_is_always_a_time_and_says_where_it_is_from(
    flops: float, recipe: Recipe, known: list[Recipe]
) -> None:
    found = predict(recipe, [timing(r) for r in known], flops=flops)
    assert found.seconds > 0
    assert found.source


# --- what did it take ------------------------------------------------------------------------------------------


def tally_of(*seconds: float, device: str = "Tesla T4") -> Sums:
    sums = Sums()
    for number, each in enumerate(seconds):
        stages = {"fetch": 100.0, "style_target": each / 4, "optimize": each * 3 / 4, "encode": 100.0}
        sums.add(make_receipt(f"{number}.jpg", stage_seconds=stages, engine=replace(FACTS, device=device)))
    return sums


def test_a_run_took_the_engines_and_the_styles_seconds_for_each_picture_that_was_done() -> None:
    sums = tally_of(8.0, 16.0)
    sums.add(make_receipt("c.jpg", stage_seconds={"optimize": 12.0}, engine=replace(FACTS, device="A100")))
    sums.add(failed_receipt("d.jpg"))
    plan = make_plan(recipe=EXACT)
    assert timing_of(plan, sums) == timing(
        EXACT, seconds=12.0, pictures=3, device="A100, Tesla T4", run=f"spring/{plan.run}"
    )


def test_a_run_that_has_done_nothing_says_nothing() -> None:
    sums = Sums()
    assert timing_of(make_plan(), sums) is None
    sums.add(failed_receipt("d.jpg"))
    assert timing_of(make_plan(), sums) is None


# --- what is remembered ----------------------------------------------------------------------------------------


def test_the_newest_run_of_a_recipe_replaces_the_one_before_and_stands_first() -> None:
    known = [timing(LARGER), timing(seconds=3.0)]
    new = timing(seconds=12.0, run="spring/4567")
    assert with_new(known, new) == (new, timing(LARGER))
    assert with_new(with_new(known, new), new) == with_new(known, new)


def test_another_device_makes_all_anew() -> None:
    new = timing(seconds=1.0, device="A100")
    assert with_new([timing(LARGER), timing()], new) == (new,)


def test_a_run_of_a_few_pictures_counts_only_where_no_other_is_known() -> None:
    few, other_few = timing(pictures=ENOUGH_PICTURES - 1), timing(LARGER, pictures=1, device="A100")
    assert with_new([], few) == (few,)
    assert with_new([few], other_few) == (other_few,)
    assert with_new([timing(LARGER)], few) == (timing(LARGER),)
    enough = timing(LARGER, pictures=ENOUGH_PICTURES)
    assert with_new([few], enough) == (enough,)


def test_only_so_many_recipes_are_remembered() -> None:
    known: tuple[Timing, ...] = ()
    for seed in range(KEPT + 5):
        known = with_new(known, timing(recipe_for(preset="draft", size_px=64, seed=seed)))
    assert len(known) == KEPT
    assert known[0].recipe == recipe_for(preset="draft", size_px=64, seed=KEPT + 4).digest


def test_timings_are_read_back_and_fields_of_a_newer_version_are_left_out() -> None:
    known = (timing(LARGER), timing(device="GeForce \u2028"))
    assert timings.from_json(timings.to_json(known)) == known
    document = json.loads(timings.to_json(known))
    document["timings"][0]["joules"] = 5
    assert timings.from_json(json.dumps(document).encode()) == known


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"timings": [{}]}',
        b'{"timings": [5]}',
        *(
            timings.to_json([timing(**{field: value})])
            for field in ("seconds", "flop", "pictures")
            for value in (0, -1.0, float("nan"), float("inf"), 5e-324, 1e300, "12")
        ),
    ],
)
def test_what_is_no_timing_is_a_plain_error(data: bytes) -> None:
    with pytest.raises(RecordUnreadable, match="the timings cannot be read"):
        timings.from_json(data)


# --- in the bucket ---------------------------------------------------------------------------------------------

GPU = Ref("service", "cache/timings/gpu.json")


def test_what_was_learned_is_there_for_workers_of_the_same_kind_only() -> None:
    store, plan = MemoryStore("service"), make_plan(gpus=1)
    timing_book.learn(store, "service", plan, tally_of(12.0))
    assert [t.seconds for t in timing_book.load(store, "service", gpus=1, tenant="")] == [12.0]
    assert timing_book.load(store, "service", gpus=0, tenant="") == ()
    assert [o.ref for o in store.list(Ref("service", ""))] == [GPU]


def test_tenants_do_not_learn_of_each_others_runs() -> None:
    store = MemoryStore("service")
    timing_book.learn(store, "service", make_plan(name="design/spring"), tally_of(12.0))
    assert timing_book.load(store, "service", gpus=1, tenant="press") == ()
    assert [t.run for t in timing_book.load(store, "service", gpus=1, tenant="design")] == [f"design/spring/{RUN}"]
    assert [o.ref.key for o in store.list(Ref("service", ""))] == ["cache/timings/design/gpu.json"]


def test_a_run_that_says_nothing_new_writes_nothing() -> None:
    store, plan = MemoryStore("service"), make_plan()
    timing_book.learn(store, "service", plan, Sums())
    assert list(store.list(Ref("service", ""))) == []
    timing_book.learn(store, "service", plan, tally_of(12.0))
    policed = PolicedStore(store, frozenset({(f"s3:{a}", "*") for a in ("GetObject", "ListBucket")}))
    with structlog.testing.capture_logs() as logs:
        timing_book.learn(policed, "service", plan, tally_of(12.0))
    assert logs == []


def test_timings_that_cannot_be_read_are_told_passed_over_and_written_over() -> None:
    store = MemoryStore("service")
    store.put(GPU, b"half")
    with structlog.testing.capture_logs() as logs:
        assert timing_book.load(store, "service", gpus=1, tenant="") == ()
    assert [(entry["event"], entry["object"]) for entry in logs] == [("timings_unreadable", str(GPU))]
    timing_book.learn(store, "service", make_plan(), tally_of(12.0))
    assert len(timing_book.load(store, "service", gpus=1, tenant="")) == 1


def test_a_policy_from_before_timings_ends_no_run_and_is_told() -> None:
    policed = PolicedStore(MemoryStore("service"), frozenset())
    with structlog.testing.capture_logs() as logs:
        timing_book.learn(policed, "service", make_plan(), tally_of(12.0))
    assert [entry["event"] for entry in logs] == ["timings_unreadable", "timings_not_kept"]
    assert naming.timings_key(1) in logs[1]["error"]
