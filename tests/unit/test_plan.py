from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet import plan as plans
from stylefleet.errors import PlanInvalid, RecordUnreadable
from stylefleet.manifest import Content
from stylefleet.naming import Ref
from stylefleet.plan import SHARDS_MAX, StyleShare, Task, matches, not_yet_done, task_id_for, tasks_for, tasks_per_shard
from stylefleet.recipe import Recipe, Scale, recipe_for
from tests.builders import make_listed, make_manifest, make_plan, make_styles, make_task


def tasks(keys: Iterable[str], **spec: object) -> list[Task]:
    return list(tasks_for(make_manifest(**spec), make_styles(), [make_listed(k) for k in keys]))


def plan_errors(keys: Iterable[str], **spec: object) -> list[tuple[str, str, str]]:
    with pytest.raises(PlanInvalid) as caught:
        tasks(keys, **spec)
    return [(e.path, e.message, e.found) for e in caught.value.errors]


# --- identity ---------------------------------------------------------------------------------------------------


def identity(**changes: object) -> str:
    inputs: dict[str, object] = {
        "content": Ref("shop", "catalog/a.jpg"),
        "content_etag": "e1",
        "styles": (
            StyleShare(image=Ref("shop", "s.jpg"), etag="s1", weight=0.7),
            StyleShare(image=Ref("shop", "t.jpg"), etag="t1", weight=0.3),
        ),
        "recipe": recipe_for(preset="draft", size_px=64),
        "image_format": "jpeg",
        "quality": 92,
    }
    return task_id_for(**(inputs | changes))  # type: ignore[arg-type]


STYLE = StyleShare(image=Ref("shop", "s.jpg"), etag="s1", weight=0.7)
OTHER = StyleShare(image=Ref("shop", "t.jpg"), etag="t1", weight=0.3)


@pytest.mark.parametrize(
    "changes",
    [
        {"content": Ref("shop", "catalog/b.jpg")},
        {"content": Ref("shop-2", "catalog/a.jpg")},
        {"content_etag": "e2"},
        {"styles": (STYLE,)},
        {"styles": (OTHER, STYLE)},
        {"styles": (STYLE, StyleShare(image=OTHER.image, etag="t2", weight=0.3))},
        {"styles": (STYLE, StyleShare(image=OTHER.image, etag="t1", weight=0.4))},
        {"recipe": recipe_for(preset="draft", size_px=65)},
        {"recipe": recipe_for(preset="draft", size_px=64, seed=1)},
        {"recipe": recipe_for(preset="draft", size_px=64, tv_weight=2.0)},
        {"recipe": recipe_for(preset="draft", size_px=64, precision="float32")},
        {"recipe": recipe_for(preset="draft", size_px=64, backbone="vgg19-imagenet")},
        {"image_format": "png"},
        {"quality": 91},
    ],
    ids=str,
)
def test_a_task_is_another_one_when_anything_that_shapes_its_result_changes(changes: dict[str, object]) -> None:
    assert identity(**changes) != identity()


def test_a_task_is_another_one_with_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity()
    monkeypatch.setattr(plans, "ENGINE_VERSION", "another")
    assert identity() != before


def test_a_task_is_the_same_wherever_its_style_lies_and_its_result_goes() -> None:
    moved = StyleShare(image=Ref("elsewhere", "x.jpg"), etag="s1", weight=0.7)
    assert identity(styles=(moved, OTHER)) == identity()
    (here,) = tasks(["catalog/a.jpg"])
    (there,) = tasks(["catalog/a.jpg"], output={"prefix": "s3://shop/other/"}, run={"parallelism": 9})
    assert here.task_id == there.task_id
    assert here.output != there.output


def test_a_tasks_identity_never_changes_between_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever the presets and the engine become: these numbers are this task.
    monkeypatch.setattr(plans, "ENGINE_VERSION", "1")
    recipe = Recipe(
        backbone="vgg16-hed",
        scales=(Scale(size_px=64, iterations=40),),
        content_weight=1e3,
        style_weight=1e-2,
        tv_weight=1.0,
        seed=0,
        precision="auto",
    )
    assert identity(recipe=recipe) == "5972adbb37f48429a5fafe36003e190b5f2476a4e69a504c075ee6ef02408edb"


# --- pictures to tasks ------------------------------------------------------------------------------------------


def test_each_picture_is_a_task_that_keeps_its_path() -> None:
    found = tasks(["catalog/a.jpg", "catalog/sub/b.png"])
    assert [str(t.output) for t in found] == [
        "s3://shop/restyled/spring/a.jpg",
        "s3://shop/restyled/spring/sub/b.png.jpg",
    ]
    assert [(t.content.key, t.content_etag, t.size_bytes) for t in found] == [
        ("catalog/a.jpg", "etag-of-catalog/a.jpg", 10),
        ("catalog/sub/b.png", "etag-of-catalog/sub/b.png", 10),
    ]


def test_pictures_named_one_by_one_keep_their_whole_path() -> None:
    (task,) = tasks(["catalog/a.jpg"], content={"keys": ["s3://shop/catalog/a.jpg"]})
    assert task.output == Ref("shop", "restyled/spring/catalog/a.jpg")


def test_two_pictures_with_one_result_are_refused() -> None:
    ((path, message, found),) = plan_errors(["catalog/a.png", "catalog/a.png.jpg"])
    assert (path, message) == ("spec.content", "two pictures would have the same result")
    assert "catalog/a.png " in found
    assert found.endswith("s3://shop/restyled/spring/a.png.jpg")


def test_equal_keys_of_two_buckets_are_refused() -> None:
    pictures = [make_listed("a.jpg", bucket="one"), make_listed("a.jpg", bucket="two")]
    manifest = make_manifest(content={"keys": ["s3://one/a.jpg", "s3://two/a.jpg"]})
    with pytest.raises(PlanInvalid, match="the same result"):
        list(tasks_for(manifest, make_styles(), pictures))


@pytest.mark.parametrize(
    ("key", "content", "output"),
    [
        ("a.jpg", {"keys": ["s3://shop/a.jpg"]}, "s3://shop/"),
        ("x/catalog/catalog/a.jpg", {"prefix": "s3://shop/x/catalog/"}, "s3://shop/x/"),
    ],
)
def test_a_result_never_overwrites_a_picture(key: str, content: dict[str, object], output: str) -> None:
    source = key.removeprefix("x/catalog/")
    errors = plan_errors([key, f"x/{source}"] if key != source else [key], content=content, output={"prefix": output})
    assert [(path, message) for path, message, _ in errors] == [
        ("spec.output.prefix", "a result would overwrite a source picture")
    ]


def test_a_result_never_overwrites_a_style() -> None:
    ((path, _, found),) = plan_errors(["catalog/waves.jpg"], output={"prefix": "s3://shop/styles/"})
    assert path == "spec.output.prefix"
    assert found == "s3://shop/catalog/waves.jpg -> s3://shop/styles/waves.jpg"


def test_keys_that_cannot_be_used_are_refused_all_at_once_when_planning() -> None:
    keys = ["catalog/good.jpg", "catalog//a.jpg", "catalog/../b.jpg", "catalog/c\n.jpg"]
    assert [(message, found) for _, message, found in plan_errors(keys)] == [
        ("the key has an empty, '.' or '..' segment", "s3://shop/catalog//a.jpg"),
        ("the key has an empty, '.' or '..' segment", "s3://shop/catalog/../b.jpg"),
        ("the key has a control character", "s3://shop/catalog/c\n.jpg"),
    ]


def test_a_result_whose_key_would_be_too_long_is_refused_when_planning() -> None:
    ((_, message, found),) = plan_errors(["catalog/" + "x" * 1010 + ".png"])
    assert message == "in the result's place the key is longer than 1024 bytes"
    assert len(found) <= 400


@pytest.mark.parametrize(
    ("relative", "include", "exclude", "wanted"),
    [
        ("a.jpg", ["*.jpg"], [], True),
        ("A.JPG", ["*.jpg"], [], True),
        ("a.jpg", ["*.JPG"], [], True),
        ("sub/deep/a.jpg", ["*.jpg"], [], True),
        ("sub/a.jpg", ["sub/*"], [], True),
        ("a.jpg", ["sub/*"], [], False),
        ("a.png", ["*.jpg", "*.png"], [], True),
        ("a.gif", ["*.jpg", "*.png"], [], False),
        ("a_thumb.jpg", ["*.jpg"], ["*_thumb.*"], False),
        ("a_THUMB.jpg", ["*.jpg"], ["*_thumb.*"], False),
        ("a.jpg", ["*.jpg"], ["*"], False),
        ("a.jpg", [], [], False),
        ("a1.jpg", ["a[0-9].jpg"], [], True),
        ("ax.jpg", ["a[0-9].jpg"], [], False),
        ("a.jpg", ["?.jpg"], [], True),
        ("line\u2028break.jpg", ["*.jpg"], [], True),
    ],
)
def test_a_picture_is_wanted_where_an_include_and_no_exclude_pattern_fits(
    relative: str, include: list[str], exclude: list[str], wanted: bool
) -> None:
    content = Content.model_validate({"prefix": "s3://shop/c/", "include": include, "exclude": exclude})
    assert matches(relative, content) is wanted


@given(st.text(alphabet="ab*?[]!-.\\/(+", max_size=20))
def test_no_pattern_is_an_error(pattern: str) -> None:
    content = Content.model_validate({"prefix": "s3://shop/c/", "include": [pattern]})
    assert matches("ab", content) in (True, False)


# --- what is done already ---------------------------------------------------------------------------------------


def test_a_task_is_left_out_only_where_a_receipt_and_the_very_result_are_there() -> None:
    a, b, c, d = (make_task(f"catalog/{n}.jpg") for n in "abcd")
    receipts = {a.task_id: "e-a", b.task_id: "e-b", c.task_id: "e-c"}
    results = {a.output.key: "e-a", b.output.key: "replaced", d.output.key: "e-d"}
    # a: done; b: its result was replaced; c: its result was deleted; d: a file that no run of ours has made.
    assert list(not_yet_done([a, b, c, d], receipts, results)) == [b, c, d]


# --- shards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "seconds_per_task", "parallelism", "size"),
    [
        (1000, 10.0, 1, 90),
        (1000, 10.0, 8, 90),
        (100, 10.0, 8, 13),
        (8, 10.0, 8, 1),
        (9, 10.0, 8, 2),
        (1, 10.0, 8, 1),
        (0, 10.0, 8, 1),
        (10, 5000.0, 1, 1),
        (10_000_000, 900.0, 1000, 1000),
        (SHARDS_MAX * 3 + 1, 900.0, 8, 4),
    ],
)
def test_a_shard_is_900_seconds_of_work_unless_workers_would_idle_or_shards_be_too_many(
    count: int, seconds_per_task: float, parallelism: int, size: int
) -> None:
    found = tasks_per_shard(count, seconds_per_task=seconds_per_task, shard_seconds=900.0, parallelism=parallelism)
    assert found == size


@given(st.integers(1, 10**7), st.floats(1e-3, 1e5), st.floats(1.0, 1e5), st.integers(1, 1000))
def test_there_are_never_too_many_shards(count: int, seconds: float, shard_seconds: float, parallelism: int) -> None:
    size = tasks_per_shard(count, seconds_per_task=seconds, shard_seconds=shard_seconds, parallelism=parallelism)
    assert size >= 1
    assert -(-count // size) <= SHARDS_MAX


def test_the_prediction_grows_with_pixels_and_steps_and_shrinks_with_speed() -> None:
    small = plans.predicted_seconds(recipe_for(preset="draft", size_px=512), flops=1e12)
    assert plans.predicted_seconds(recipe_for(preset="draft", size_px=1024), flops=1e12) == pytest.approx(
        4 * small, rel=0.05
    )
    assert plans.predicted_seconds(recipe_for(preset="fine", size_px=512), flops=1e12) > small
    assert plans.predicted_seconds(recipe_for(preset="draft", size_px=512), flops=2e12) == pytest.approx(small / 2)


# --- the objects in the bucket ----------------------------------------------------------------------------------

HOSTILE = [
    'catalog/"quoted" \\back\\slash.jpg',
    "catalog/写真 é 😀.jpg",
    "catalog/line\u2028separator\u2029.jpg",
    "catalog/next\x85line.jpg",
    "catalog/s3:/shop/inside.jpg",
    "catalog/a b+c%20#d?e&f=g.jpg",
]


def test_a_shard_is_one_line_a_task_whatever_the_keys_are() -> None:
    shard = [make_task(key) for key in HOSTILE]
    data = plans.shard_bytes(shard)
    assert data.count(b"\n") == len(shard)
    assert plans.tasks_from_bytes(data) == shard


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20), max_size=5))
def test_any_shard_is_read_back(names: list[str]) -> None:
    shard = [make_task(f"catalog/x{name}".replace("/", "-")) for name in names]
    assert plans.tasks_from_bytes(plans.shard_bytes(shard)) == shard


def test_an_empty_shard_is_read_back() -> None:
    assert plans.tasks_from_bytes(plans.shard_bytes([])) == []


def test_a_plan_is_read_back_with_every_field() -> None:
    plan = make_plan(
        shards=(3, 2), skipped=4, queue="gpu-batch", gpus=0, styles=make_styles(image=Ref("shop", HOSTILE[1]))
    )
    assert plans.plan_from_json(plans.plan_to_json(plan)) == plan
    assert (plan.pictures, plan.tasks) == (9, 5)


def test_equal_plans_are_equal_bytes() -> None:
    assert plans.plan_to_json(make_plan()) == plans.plan_to_json(make_plan())
    assert tasks(["catalog/a.jpg", "catalog/b.jpg"]) == tasks(["catalog/a.jpg", "catalog/b.jpg"])


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'"x"', json.dumps({"name": "x"}).encode()])
def test_what_is_no_plan_is_a_plain_error(data: bytes) -> None:
    with pytest.raises(RecordUnreadable, match="a plan cannot be read"):
        plans.plan_from_json(data)
