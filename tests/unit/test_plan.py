from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stylefleet import plan as plans
from stylefleet.companions import Companion, Listing, Pin, companions_of
from stylefleet.errors import PlanInvalid, RecordUnreadable
from stylefleet.ledger import Ledger
from stylefleet.manifest import Content
from stylefleet.naming import Ref
from stylefleet.plan import StyleShare, regions
from stylefleet.presets import recipe_for
from stylefleet.receipt import Done
from stylefleet.recipe import LayerWeight, Recipe, Refinement, Scale
from stylefleet.task_making import matcher
from stylefleet.tasks import SHARDS_MAX, Shaping, Task, shard_bytes, tasks_from_bytes, tasks_per_shard
from stylefleet.terms import Terms
from tests.builders import make_listed, make_manifest, make_plan, make_styles, make_task, tasks_for


def tasks(keys: Iterable[str], **spec: object) -> list[Task]:
    return tasks_for(make_manifest(**spec), make_styles(), [make_listed(k) for k in keys])


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
        "depth": 8,
        "keep_metadata": (),
    }
    inputs |= changes
    own = {name: inputs.pop(name) for name in ("content", "content_etag", "pins") if name in inputs}
    return Shaping(**inputs).task_id(**own)  # type: ignore[arg-type]


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
        {"depth": 16},
        {"keep_metadata": ("exif",)},
        {"keep_metadata": ("icc",)},
    ],
    ids=str,
)
def test_a_task_is_another_one_when_anything_that_shapes_its_result_changes(changes: dict[str, object]) -> None:
    assert identity(**changes) != identity()


def test_a_task_is_another_one_with_another_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity()
    monkeypatch.setattr("stylefleet.tasks.ENGINE_VERSION", "another")
    assert identity() != before


def test_a_task_is_the_same_wherever_its_style_lies_and_its_result_goes() -> None:
    moved = StyleShare(image=Ref("elsewhere", "x.jpg"), etag="s1", weight=0.7)
    assert identity(styles=(moved, OTHER)) == identity()
    (here,) = tasks(["catalog/a.jpg"])
    (there,) = tasks(["catalog/a.jpg"], output={"prefix": "s3://shop/other/"}, run={"parallelism": 9})
    assert here.task_id == there.task_id
    assert here.output != there.output


def test_what_the_manifest_says_about_results_is_part_of_their_tasks() -> None:
    output = {"prefix": "s3://shop/restyled/spring/", "format": "png"}
    found = [
        tasks(["catalog/a.jpg"], output=output | more)[0].task_id
        for more in ({}, {"depth": 16}, {"keepMetadata": ["icc"]}, {"keepMetadata": ["icc", "exif"]})
    ]
    assert len(set(found)) == 4
    (same,) = tasks(["catalog/a.jpg"], output=output | {"keepMetadata": ["exif", "icc", "exif"]})
    assert same.task_id == found[-1]


def test_a_tasks_identity_never_changes_between_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whatever the presets and the engine become: these numbers are this task.
    monkeypatch.setattr("stylefleet.tasks.ENGINE_VERSION", "1")
    recipe = Recipe(
        backbone="vgg16-hed",
        pooling="max",
        content_layers=(LayerWeight(layer="block4_conv2", weight=1.0),),
        style_layers=(LayerWeight(layer="block1_conv1", weight=0.2), LayerWeight(layer="block5_conv1", weight=0.2)),
        statistics="gram",
        scales=(Scale(size_px=64, iterations=40),),
        refine=(Refinement(box=(0.25, 0.0, 0.75, 0.5), zoom=2.0, iterations=60),),
        content_weight=1e3,
        style_weight=1e-2,
        tv_weight=1.0,
        optimizer="lbfgs",
        learning_rate=1.0,
        averaging=0.0,
        plateau=0.0,
        colors="style",
        start="content",
        seed=0,
        precision="auto",
    )
    assert identity(recipe=recipe) == "fb5e8cbe26b1995cfbc22739acd1d4aac9da9e1538367630fb43405f98dcdcee"


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
        tasks_for(manifest, make_styles(), pictures)


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
        ("the key has a control character", r"s3://shop/catalog/c\n.jpg"),
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
    assert matcher(content)(relative) is wanted


@given(st.text(alphabet="ab*?[]!-.\\/(+", max_size=20))
def test_no_pattern_is_an_error(pattern: str) -> None:
    content = Content.model_validate({"prefix": "s3://shop/c/", "include": [pattern]})
    assert matcher(content)("ab") in (True, False)


# --- masks and starts ---------------------------------------------------------------------------------------------

SKY = Companion(role="mask", at=Ref("shop", "masks/sky/"))
ONE = Companion(role="protect", at=Ref("shop", "masks/one.png"))
START = Companion(role="start", at=Ref("shop", "starts/"))


def listing(*keys: str) -> Listing:
    return {key: Pin(Ref("shop", key), f"etag-of-{key}", 7) for key in keys}.get


def test_a_manifests_masks_are_named_once_each_in_the_order_of_their_styles() -> None:
    spec = make_manifest(
        styles=[
            {"image": "s3://shop/a.jpg", "mask": "s3://shop/masks/b/"},
            {"image": "s3://shop/b.jpg"},
            {"image": "s3://shop/c.jpg", "mask": "s3://shop/masks/a.png"},
            {"image": "s3://shop/d.jpg", "mask": "s3://shop/masks/b/"},
        ],
        recipe={"start": "picture"},
        start="s3://shop/starts/",
        protect="s3://shop/masks/b/",
    ).spec
    assert [(c.role, str(c.at), c.is_folder, field) for c, field in companions_of(spec).items()] == [
        ("mask", "s3://shop/masks/b/", True, "spec.styles[0].mask"),
        ("mask", "s3://shop/masks/a.png", False, "spec.styles[2].mask"),
        ("protect", "s3://shop/masks/b/", True, "spec.protect"),
        ("start", "s3://shop/starts/", True, "spec.start"),
    ]


def test_each_task_has_its_own_companions_pinned_and_a_missing_one_without_version() -> None:
    companions = {
        SKY: listing("masks/sky/a.png", "masks/sky/b.jpg", "masks/sky/sub/c.png"),
        ONE: listing("masks/one.png"),
        START: listing("starts/a.jpg", "starts/a.png", "starts/b.webp"),
    }
    keys = ["catalog/a.jpg", "catalog/b.jpg", "catalog/sub/c.png"]
    found = [t.companions for t in tasks_for(make_manifest(), make_styles(), map(make_listed, keys), companions)]
    assert [[(p.ref.key, p.etag, p.size_bytes) for p in pins] for pins in found] == [
        [
            ("masks/sky/a.png", "etag-of-masks/sky/a.png", 7),
            ("masks/one.png", "etag-of-masks/one.png", 7),
            ("starts/a.jpg", "etag-of-starts/a.jpg", 7),
        ],
        [
            ("masks/sky/b.png", "", 0),
            ("masks/one.png", "etag-of-masks/one.png", 7),
            ("starts/b.webp", "etag-of-starts/b.webp", 7),
        ],
        [
            ("masks/sky/sub/c.png", "etag-of-masks/sky/sub/c.png", 7),
            ("masks/one.png", "etag-of-masks/one.png", 7),
            ("starts/sub/c.png", "", 0),
        ],
    ]


def test_pictures_named_one_by_one_find_their_companions_by_the_last_part_of_their_path() -> None:
    manifest = make_manifest(content={"keys": ["s3://shop/deep/er/a.jpg"]})
    companions = {SKY: listing("masks/sky/a.png")}
    (task,) = tasks_for(manifest, make_styles(), [make_listed("deep/er/a.jpg")], companions)
    assert task.companions[0].etag == "etag-of-masks/sky/a.png"


def test_a_result_never_overwrites_a_mask_also_where_the_mask_is_missing() -> None:
    inside = Companion(role="mask", at=Ref("shop", "restyled/spring/masks/"))
    manifest = make_manifest(output={"prefix": "s3://shop/restyled/spring/", "format": "png"})
    keys = ["catalog/a.png", "catalog/masks/a.png"]
    for there in (listing("restyled/spring/masks/a.png"), listing("restyled/spring/masks/x.png")):
        with pytest.raises(PlanInvalid, match="a result would overwrite a source picture"):
            tasks_for(manifest, make_styles(), map(make_listed, keys), {inside: there})
    assert len(tasks_for(manifest, make_styles(), [make_listed("catalog/b.png")], {inside: there})) == 1


def test_a_mask_whose_key_would_be_too_long_is_refused_when_planning() -> None:
    companions = {Companion(role="mask", at=Ref("shop", f"masks/{'m' * 30}/")): listing("masks/x.png")}
    with pytest.raises(PlanInvalid, match="in the place of its mask the key is longer than 1024 bytes"):
        tasks_for(make_manifest(), make_styles(), [make_listed("catalog/" + "x" * 1000 + ".jpg")], companions)


MASKED = (replace(STYLE, mask=SKY.at), OTHER)


@pytest.mark.parametrize(
    "changes",
    [
        {"pins": (Pin(Ref("shop", "x"), "e2", 1), Pin(Ref("shop", "y"), "e3", 1))},
        {"pins": (Pin(Ref("shop", "x"), "e1", 1), Pin(Ref("shop", "y"), "", 1))},
        {"companions": (SKY, replace(ONE, role="start"))},
        {"styles": (STYLE, replace(OTHER, mask=SKY.at))},
        {"styles": (replace(STYLE, mask=SKY.at), replace(OTHER, mask=SKY.at))},
    ],
    ids=str,
)
def test_a_task_is_another_one_when_a_companion_or_the_region_of_a_style_changes(changes: dict[str, object]) -> None:
    pins = (Pin(Ref("shop", "x"), "e1", 1), Pin(Ref("shop", "y"), "e3", 1))
    before: dict[str, object] = {"companions": (SKY, ONE), "pins": pins, "styles": MASKED}
    assert identity(**(before | changes)) != identity(**before)


def test_a_task_is_the_same_wherever_its_companions_lie() -> None:
    moved = Companion(role="mask", at=Ref("elsewhere", "m/"))
    here = identity(companions=(SKY,), pins=(Pin(Ref("shop", "x"), "e1", 1),), styles=MASKED)
    there = identity(
        companions=(moved,), pins=(Pin(Ref("shop", "y"), "e1", 2),), styles=(replace(STYLE, mask=moved.at), OTHER)
    )
    assert here == there


def test_styles_are_grouped_by_their_mask_in_the_order_of_first_appearance() -> None:
    a, b, c, d = (StyleShare(image=Ref("shop", n), etag=n, weight=1.0) for n in "abcd")
    styles = (a, replace(b, mask=SKY.at), c, replace(d, mask=SKY.at))
    assert {mask: [s.etag for s in group] for mask, group in regions(styles).items()} == {
        None: ["a", "c"],
        SKY.at: ["b", "d"],
    }
    assert list(regions(styles)) == [None, SKY.at]


# --- what is done already ---------------------------------------------------------------------------------------


def test_a_task_is_left_out_only_where_a_receipt_and_the_very_result_are_there() -> None:
    a, b, c, d = (make_task(f"catalog/{n}.jpg") for n in "abcd")
    with Ledger() as ledger:
        ledger.add_tasks([a, b, c, d])
        ledger.add_done([Done(a.task_id, "e-a", 0.0), Done(b.task_id, "e-b", 0.0), Done(c.task_id, "e-c", 0.0)])
        assert ledger.any_done()
        ledger.add_results([(a.output.key, "e-a"), (b.output.key, "replaced"), (d.output.key, "e-d")])
        # a: done; b: its result was replaced; c: its result was deleted; d: a file that no run of ours has made.
        assert ledger.close_books() == 3
        assert tasks_from_bytes(b"".join(ledger.lines_to_do())) == [b, c, d]


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
    data = shard_bytes(shard)
    assert data.count(b"\n") == len(shard)
    assert tasks_from_bytes(data) == shard


def test_a_task_with_companions_is_read_back_and_a_plain_one_says_nothing_of_them() -> None:
    pins = tuple(
        Pin(Ref("shop", key), etag, size)
        for key, etag, size in zip(HOSTILE[:3], ("e", "", "f"), (1, 0, 3), strict=True)
    )
    tasks = [replace(make_task(), companions=pins), make_task()]
    assert tasks_from_bytes(shard_bytes(tasks)) == tasks
    assert len(json.loads(tasks[1].to_line())) == 5


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20), max_size=5))
def test_any_shard_is_read_back(names: list[str]) -> None:
    shard = [make_task(f"catalog/x{name}".replace("/", "-")) for name in names]
    assert tasks_from_bytes(shard_bytes(shard)) == shard


def test_an_empty_shard_is_read_back() -> None:
    assert tasks_from_bytes(shard_bytes([])) == []


def test_a_plan_is_read_back_with_every_field() -> None:
    plan = make_plan(
        shards=(3, 2),
        skipped=4,
        queue="gpu-batch",
        gpus=0,
        styles=(*make_styles(image=Ref("shop", HOSTILE[1])), *make_styles(mask=SKY.at)),
        companions=(SKY, ONE, START),
        image_format="png",
        depth=16,
        keep_metadata=("exif", "icc"),
        terms=Terms(priority="high", deadline_seconds=60, failures_max=0),
        seconds_per_picture=2.5,
        seconds_source="measured",
    )
    assert plans.plan_from_json(plans.plan_to_json(plan)) == plan
    assert (plan.pictures, plan.tasks) == (9, 5)


def test_a_plan_from_before_depth_metadata_and_timings_has_eight_bit_and_none() -> None:
    document = json.loads(plans.plan_to_json(make_plan(depth=16, keep_metadata=("icc",))))
    for later in ("depth", "keepMetadata", "secondsPerPicture", "secondsSource"):
        del document[later]
    assert plans.plan_from_json(json.dumps(document).encode()) == make_plan()


def test_a_plan_from_before_terms_has_none() -> None:
    document = json.loads(plans.plan_to_json(make_plan(terms=Terms(failures_max=3))))
    del document["terms"]
    assert plans.plan_from_json(json.dumps(document).encode()) == make_plan()


@pytest.mark.parametrize("terms", [{"failures_max": "1%"}, {"mercy": 1}, 7, None])
def test_a_plan_with_odd_terms_is_a_plain_error(terms: object) -> None:
    document = json.loads(plans.plan_to_json(make_plan())) | {"terms": terms}
    with pytest.raises(RecordUnreadable):
        plans.plan_from_json(json.dumps(document).encode())


def test_equal_plans_are_equal_bytes() -> None:
    assert plans.plan_to_json(make_plan()) == plans.plan_to_json(make_plan())
    assert tasks(["catalog/a.jpg", "catalog/b.jpg"]) == tasks(["catalog/a.jpg", "catalog/b.jpg"])


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'"x"', json.dumps({"name": "x"}).encode()])
def test_what_is_no_plan_is_a_plain_error(data: bytes) -> None:
    with pytest.raises(RecordUnreadable, match="a plan cannot be read"):
        plans.plan_from_json(data)
