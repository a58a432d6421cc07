from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from stylefleet import naming, planner, receipt, timing_book
from stylefleet.cost import predicted_seconds
from stylefleet.errors import PlanInvalid, RecordUnreadable, StoreUnavailable
from stylefleet.ledger import Ledger
from stylefleet.naming import Ref
from stylefleet.plan import Plan, plan_to_json
from stylefleet.planner import Pace
from stylefleet.store import Listed, Store
from stylefleet.store_memory import MemoryStore
from stylefleet.tally import Sums
from stylefleet.tasks import Task, tasks_from_bytes
from tests.builders import NOW, RUN, jpeg_bytes, make_manifest, make_plan, make_receipt
from tests.fake_cluster import HookedStore


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore("service", "shop")
    store.put(Ref("shop", "styles/waves.jpg"), jpeg_bytes())
    for name in "abc":
        store.put(Ref("shop", f"catalog/{name}.jpg"), name.encode())
    return store


def plan(store: Store, **spec: object) -> Plan:
    return planner.plan_run(
        store,
        "service",
        name="spring",
        manifest=make_manifest(**spec),
        manifest_bytes=b"manifest",
        run=RUN,
        pace=Pace(shard_seconds=900.0, worker_flops=1e12),
        now=NOW,
    )


def tasks_of_shard(store: Store, made: Plan, index: int) -> list[Task]:
    entry = made.shards[index]
    data = store.get(Ref("service", naming.shard_key(made.name, made.run, index, entry.digest))).data
    return tasks_from_bytes(data)


def keys_of_shard(store: MemoryStore, made: Plan, index: int) -> list[str]:
    return [t.content.key for t in tasks_of_shard(store, made, index)]


def test_a_plan_and_its_shards_are_in_the_bucket(store: MemoryStore) -> None:
    made = plan(store)
    assert planner.load_plan(store, "service", "spring", RUN) == made
    assert (made.pictures, made.skipped, [s.tasks for s in made.shards]) == (3, 0, [2, 1])
    assert keys_of_shard(store, made, 0) == ["catalog/a.jpg", "catalog/b.jpg"]
    assert keys_of_shard(store, made, 1) == ["catalog/c.jpg"]


def test_shards_are_cut_by_what_pictures_took_and_the_plan_says_so(store: MemoryStore) -> None:
    recipe = make_manifest().spec.recipe.to_recipe()
    assumed = predicted_seconds(recipe, flops=1e12)
    for number in range(40):
        store.put(Ref("shop", f"catalog/{number:02d}.jpg"), b"x")

    def shards(run: str) -> Plan:
        return planner.plan_run(
            store,
            "service",
            name="spring",
            manifest=make_manifest(run={"parallelism": 1}),
            manifest_bytes=b"manifest",
            run=run,
            pace=Pace(shard_seconds=20 * assumed, worker_flops=1e12),
            now=NOW,
        )

    before = shards("1")
    assert [s.tasks for s in before.shards] == [20, 20, 3]
    assert before.seconds_per_picture == assumed
    assert before.seconds_source == "by operations at an assumed 1,000 GFLOP/s"
    sums = Sums()
    for number in range(16):
        sums.add(make_receipt(f"{number}.jpg", stage_seconds={"optimize": 4 * assumed}))
    timing_book.learn(store, "service", before, sums)
    after = shards("2")
    assert [s.tasks for s in after.shards] == [5] * 8 + [3]
    assert after.seconds_per_picture == pytest.approx(4 * assumed)
    assert after.seconds_source == "measured: 16 pictures of spring/1 on cpu, this recipe"


def test_a_plan_tells_the_workers_what_results_are(store: MemoryStore) -> None:
    output = {"prefix": "s3://shop/o/", "format": "png", "quality": 80, "depth": 16, "keepMetadata": ["icc", "exif"]}
    made = plan(store, output=output)
    assert (made.image_format, made.quality, made.depth, made.keep_metadata) == ("png", 80, 16, ("exif", "icc"))
    assert planner.load_plan(store, "service", "spring", RUN) == made


def test_the_plan_of_another_run_is_not_taken() -> None:
    store = MemoryStore("service")
    store.put(Ref("service", naming.plan_key("spring", RUN)), plan_to_json(make_plan(name="autumn")))
    with pytest.raises(RecordUnreadable, match="is that of autumn"):
        planner.load_plan(store, "service", "spring", RUN)


def test_there_is_no_plan_before_planning(store: MemoryStore) -> None:
    assert planner.load_plan(store, "service", "spring", RUN) is None


def test_the_first_plan_of_a_run_stands_whatever_a_second_planner_sees(store: MemoryStore) -> None:
    first = plan(store)
    store.put(Ref("shop", "catalog/d.jpg"), b"d")
    assert plan(store) == first
    assert planner.load_plan(store, "service", "spring", RUN) == first
    assert keys_of_shard(store, first, 1) == ["catalog/c.jpg"]


def test_a_bucket_of_results_that_is_not_there_is_told_also_to_a_first_run(store: MemoryStore) -> None:
    with pytest.raises(PlanInvalid) as caught:
        plan(store, output={"prefix": "s3://nobody/out/"})
    assert [(e.path, e.message) for e in caught.value.errors] == [("spec.output.prefix", "s3://nobody: no such bucket")]


def test_results_are_listed_only_where_a_receipt_is_of_one_of_the_tasks(store: MemoryStore) -> None:
    for name in "abc":
        store.put(Ref("shop", f"restyled/spring/{name}.jpg"), b"result")
    listed = Listings(store)
    made = plan(listed)
    assert listed.ends == {"restyled/spring/": 1}
    task = tasks_of_shard(store, made, 0)[0]
    receipts = [make_receipt("catalog/of-another-recipe.jpg"), make_receipt(task, result_etag="gone")]
    for attempt, (one, seen) in enumerate(zip(receipts, (1, 1 + 3), strict=True)):
        key = naming.receipts_key("spring", "0" * 16, 0, "pod", attempt)
        store.put(Ref("service", key), receipt.to_lines([one]))
        listed = Listings(store)
        plan(listed)
        assert listed.ends == {"restyled/spring/": seen}


def test_a_shard_that_says_what_it_has_done_in_one_object_has_no_other_receipt_read(store: MemoryStore) -> None:
    made = plan(store)
    tasks = [task for index in range(2) for task in tasks_of_shard(store, made, index)]
    etag = store.put(Ref("shop", "restyled/spring/a.jpg"), b"result")
    store.put(Ref("shop", "restyled/spring/b.jpg"), b"result")
    done = receipt.done_among([make_receipt(tasks[0], result_etag=etag)])
    store.put(Ref("service", naming.done_key("spring", "1" * 16, 0, "pod")), receipt.done_to_lines(done))
    store.put(Ref("service", naming.receipts_key("spring", "1" * 16, 0, "pod", 0)), b"never read")
    of_other_shard = receipt.to_lines([make_receipt(tasks[1], result_etag=etag)])
    store.put(Ref("service", naming.receipts_key("spring", "1" * 16, 1, "pod", 0)), of_other_shard)
    store.delete(Ref("service", naming.plan_key("spring", RUN)))
    again = plan(store)
    assert keys_of_shard(store, again, 0) == ["catalog/c.jpg"]


def test_what_a_tenant_of_the_same_name_has_done_is_not_read(store: MemoryStore) -> None:
    for key in ("runs/spring/autumn/1/receipts/00000/pod-00000.jsonl", "runs/spring/receipts/00000/1/plan.json"):
        store.put(Ref("service", key), b"never read")
    assert plan(store).tasks == 3


class Listings(HookedStore):
    """Tells how far each listing of results was read."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.ends: Counter[str] = Counter()

    def list(self, prefix: Ref) -> Iterator[Listed]:
        for each in super().list(prefix):
            if prefix.key.startswith("restyled/"):
                self.ends[prefix.key] += 1
            yield each


def test_a_run_is_not_planned_before_its_last_shard_is_written(store: MemoryStore) -> None:
    def full(action: str, ref: Ref) -> None:
        if action == "put" and "/shards/00001-" in ref.key:
            raise StoreUnavailable("full")

    broken = HookedStore(store)
    broken.before = full
    with pytest.raises(StoreUnavailable, match="full"):
        plan(broken)
    assert planner.load_plan(store, "service", "spring", RUN) is None
    assert plan(store).tasks == 3


def test_a_picture_that_is_named_twice_is_planned_once(store: MemoryStore) -> None:
    made = plan(store, content={"keys": ["s3://shop/catalog/a.jpg", "s3://shop/catalog/a.jpg"]})
    assert made.pictures == 1


def test_styles_masks_and_starts_inside_the_content_folder_are_not_restyled(store: MemoryStore) -> None:
    for key in ("waves.jpg", "sky.png", "keep/a.png", "keepsakes/b.jpg", "earlier/a.jpg"):
        store.put(Ref("shop", f"catalog/{key}"), jpeg_bytes())
    made = plan(
        store,
        styles=[{"image": "s3://shop/catalog/waves.jpg", "mask": "s3://shop/catalog/sky.png"}],
        protect="s3://shop/catalog/keep/",
        start="s3://shop/catalog/earlier/",
        recipe={"start": "picture"},
        run={"parallelism": 1},
    )
    keys = ["catalog/a.jpg", "catalog/b.jpg", "catalog/c.jpg", "catalog/keepsakes/b.jpg"]
    assert keys_of_shard(store, made, 0) == keys


def test_masks_beside_the_pictures_in_one_folder_are_told_apart_by_patterns_only(store: MemoryStore) -> None:
    store.put(Ref("shop", "catalog/a.png"), jpeg_bytes())
    made = plan(store, protect="s3://shop/catalog/", content={"prefix": "s3://shop/catalog/", "include": ["*.jpg"]})
    assert made.pictures == 3


def test_styles_are_pinned_to_the_version_that_is_there(store: MemoryStore) -> None:
    made = plan(store)
    assert [s.etag for s in made.styles] == [store.get(Ref("shop", "styles/waves.jpg")).etag]


MASKED_STYLES = [
    {"image": "s3://shop/styles/waves.jpg", "mask": "s3://shop/masks/"},
    {"image": "s3://shop/styles/waves.jpg"},
]


def test_masks_are_pinned_to_the_version_that_is_there_and_a_missing_one_stops_nothing(store: MemoryStore) -> None:
    etag = store.put(Ref("shop", "masks/a.png"), b"a")
    one = store.put(Ref("shop", "one.png"), b"one")
    made = plan(store, styles=MASKED_STYLES, protect="s3://shop/one.png")
    assert [(c.role, c.at) for c in made.companions] == [
        ("mask", Ref("shop", "masks/")),
        ("protect", Ref("shop", "one.png")),
    ]
    assert [s.mask for s in made.styles] == [Ref("shop", "masks/"), None]
    tasks = [t for index in range(len(made.shards)) for t in tasks_of_shard(store, made, index)]
    assert [[(p.ref.key, p.etag, p.size_bytes) for p in t.companions] for t in tasks] == [
        [("masks/a.png", etag, 1), ("one.png", one, 3)],
        [("masks/b.png", "", 0), ("one.png", one, 3)],
        [("masks/c.png", "", 0), ("one.png", one, 3)],
    ]


@pytest.mark.parametrize(
    ("place", "found"), [("s3://shop/no/", "nothing is there"), ("s3://shop/no.png", "nothing is there")]
)
def test_a_place_of_masks_where_nothing_is_is_refused_before_a_worker_is_asked_for(
    store: MemoryStore, place: str, found: str
) -> None:
    with pytest.raises(PlanInvalid) as caught:
        plan(store, styles=[{"image": "s3://shop/styles/waves.jpg", "mask": place}], protect="s3://nobody/x/")
    assert [(e.path, e.message, e.found) for e in caught.value.errors] == [
        ("spec.styles[0].mask", found, place),
        ("spec.protect", "s3://nobody: no such bucket", "s3://nobody/x/"),
    ]


def test_a_folder_that_is_named_twice_is_listed_once(store: MemoryStore) -> None:
    store.put(Ref("shop", "masks/a.png"), b"a")
    listed: list[Ref] = []

    class Counting:
        def list(self, prefix: Ref, *, after: str = "") -> Iterator[Listed]:
            listed.append(prefix)
            return store.list(prefix, after=after)

    manifest = make_manifest(styles=MASKED_STYLES, protect="s3://shop/masks/")
    with Ledger() as ledger:
        found = planner.find_companions(Counting(), manifest, ledger)  # type: ignore[arg-type]
    assert [c.role for c in found] == ["mask", "protect"]
    assert listed == [Ref("shop", "masks/")]
