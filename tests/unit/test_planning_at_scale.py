"""Planning holds no list of pictures, and comes to what one would get that did."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from stylefleet import naming, planner, receipt, stocktaking
from stylefleet.companions import Pin, companions_of
from stylefleet.cost import predicted_seconds
from stylefleet.errors import FieldError, PlanInvalid
from stylefleet.manifest import Manifest
from stylefleet.naming import Ref
from stylefleet.once import Once
from stylefleet.plan import Plan
from stylefleet.planner import Pace
from stylefleet.receipt import Receipt
from stylefleet.store import Listed
from stylefleet.store_memory import MemoryStore
from stylefleet.tasks import Shaping, Task, tasks_from_bytes
from tests import plain_planning
from tests.builders import NOW, RUN, jpeg_bytes, make_listed, make_manifest, make_receipt, make_styles, tasks_for


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few pictures, so that there are several."""
    monkeypatch.setattr(stocktaking, "CHUNK", 3)
    monkeypatch.setattr(planner, "CHUNK", 3)


# --- as one would write it for a hundred pictures ---------------------------------------------------------------

LAYOUTS = [
    ("catalog/", "restyled/", "masks/"),
    ("out/x/catalog/", "out/x/", "masks/"),  # pictures where the results go
    ("catalog/", "masks/out/", "masks/out/m/"),  # masks where the results go
]
NAMES = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "", "a/", "catalog/", "m/"]),
        st.sampled_from(["x", "y", "é"]),
        st.sampled_from([".png", ".png.jpg", ".jpg", ".JPEG", ".webp", ".gif"]),
    ),
)
LONG_NAMES = st.sampled_from(["a/" + "l" * 1006 + ".png", "l" * 1008 + ".png", "~" * 1008 + ".png"])
"""Results of these have too long a key, where they are JPEG."""
UNUSABLE_NAMES = st.sampled_from(["/x.jpg", "a/../x.jpg", "x\n.jpg", "~/./x.jpg"])
TWINS = ["x.png", "x.png.jpg", "y.png", "y.png.jpg"]
OVERWRITING = ["x.jpg", "catalog/x.jpg", "m/x.png"]
PLACES = 4
OFTEN_NONE = st.sampled_from([0, 0, 0, 0, 1, 2])


@dataclass
class World:
    """What a bucket holds, and what is asked of it."""

    names: list[str]
    layout: tuple[str, str, str]
    image_format: str
    masks: list[str]
    """Paths below the folder of masks; none: no masks are asked for."""
    earlier: list[tuple[int, bool, int, int]]
    """Receipts: number of the picture, whether done, which version of the result, minutes."""
    results: dict[int, int]
    """Version of the result that lies there, by number of the picture."""
    whole: set[int]
    """Places, of a run and a shard each, whose receipts are said once more in one object."""
    store: MemoryStore = field(default_factory=lambda: MemoryStore("service", "shop"))

    def manifest(self) -> Manifest:
        content, output, masks = self.layout
        style: dict[str, str] = {"image": "s3://shop/styles/waves.jpg"}
        if self.masks:
            style["mask"] = f"s3://shop/{masks}"
        return make_manifest(
            content={"prefix": f"s3://shop/{content}", "exclude": ["*Y.webp", "é*"]},
            styles=[style],
            output={"prefix": f"s3://shop/{output}", "format": self.image_format},
        )

    def fill(self) -> None:
        content, _, masks = self.layout
        self.store.put(Ref("shop", "styles/waves.jpg"), jpeg_bytes())
        for name in self.names:
            self.store.put(Ref("shop", content + name), name.encode())
        for name in self.masks:
            self.store.put(Ref("shop", masks + name), b"mask")

    def plainly(self) -> list[Task]:
        """The tasks that are to be done, or PlanInvalid; writes receipts and results of earlier runs on the way."""
        manifest = self.manifest()
        spec = manifest.spec
        prefix = naming.parse_uri(spec.content.prefix or "")
        pictures = [
            o
            for o in self.store.list(prefix)
            if plain_planning.matches(o.ref.key[len(prefix.key) :], spec.content)
            and not any(naming.is_below(o.ref, c.at) for c in companions_of(spec))
        ]
        pins = {
            c: {o.ref.key: Pin(o.ref, o.etag, o.size_bytes) for o in self.store.list(c.at)} for c in companions_of(spec)
        }
        styles = planner.pinned_styles(self.store, manifest, Once())
        tasks = plain_planning.tasks_for(manifest, styles, pictures, pins)
        if not tasks:
            raise PlanInvalid([planner._no_pictures(manifest)])
        receipts = []
        known = [each for each in self.earlier if each[0] < len(tasks)]
        for part, (number, done, version, minutes) in enumerate(known):
            one = _receipt(tasks[number], done, version, minutes)
            receipts.append(one)
            place = part % PLACES
            key = naming.receipts_key("spring", f"{place % 2:016x}", place // 2, "pod", part)
            self.store.put(Ref("service", key), receipt.to_lines([one]))
        for place in self.whole:
            done = receipt.done_among(receipts[place::PLACES])
            key = naming.done_key("spring", f"{place % 2:016x}", place // 2, "pod")
            self.store.put(Ref("service", key), receipt.done_to_lines(done))
        etags = {}
        for number, version in self.results.items():
            if number < len(tasks) and not prefix.key.startswith(spec.output.prefix.removeprefix("s3://shop/")):
                etags[tasks[number].output.key] = self.store.put(tasks[number].output, f"version {version}".encode())
        return plain_planning.not_yet_done(tasks, receipts, etags)

    def planned(self) -> tuple[Plan, list[Task]]:
        plan = planner.plan_run(
            self.store,
            "service",
            name="spring",
            manifest=self.manifest(),
            manifest_bytes=b"manifest",
            run=RUN,
            pace=Pace(shard_seconds=900.0, worker_flops=1e12),
            now=NOW,
        )
        tasks = []
        for shard in plan.shards:
            key = naming.shard_key("spring", RUN, shard.index, shard.digest)
            tasks += tasks_from_bytes(self.store.get(Ref("service", key)).data)
        return plan, tasks


def _receipt(task: Task, done: bool, version: int, minutes: int) -> Receipt:
    etag = MemoryStore("x").put(Ref("x", "x"), f"version {version}".encode())
    outcome: Any = "done" if done else "failed"
    return make_receipt(task, outcome=outcome, result_etag=etag, finished_at=NOW + timedelta(minutes=minutes))


WORLDS = st.builds(
    World,
    names=st.builds(
        lambda *parts: list(dict.fromkeys(itertools.chain.from_iterable(parts))),
        st.lists(NAMES, max_size=12, unique=True),
        st.sampled_from([[], [], [], TWINS, TWINS[:2], TWINS[2:], OVERWRITING, OVERWRITING[2:] + TWINS]),
        OFTEN_NONE.flatmap(lambda n: st.lists(LONG_NAMES, min_size=n, max_size=n, unique=True)),
        OFTEN_NONE.flatmap(lambda n: st.lists(UNUSABLE_NAMES, min_size=n, max_size=n, unique=True)),
    ),
    layout=st.sampled_from(LAYOUTS),
    image_format=st.sampled_from(["jpeg", "png"]),
    masks=st.lists(st.sampled_from(["x.png", "y.png", "a/x.png"]), max_size=2, unique=True),
    earlier=st.lists(
        st.tuples(st.integers(0, 11), st.booleans(), st.integers(0, 2), st.integers(0, 3)),
        max_size=12,
        unique_by=lambda e: (e[0], e[3]),
    ),
    results=st.dictionaries(st.integers(0, 11), st.integers(0, 2), max_size=12),
    whole=st.sets(st.integers(0, PLACES - 1)),
)


@given(WORLDS)
def test_planning_comes_to_what_lists_and_dicts_come_to(world: World) -> None:
    world.fill()
    wanted: list[Task] | list[FieldError]
    found: list[Task] | list[FieldError]
    try:
        wanted = world.plainly()
    except PlanInvalid as error:
        wanted = list(error.errors)
    try:
        plan, found = world.planned()
        assert (plan.tasks, sum(s.tasks for s in plan.shards)) == (len(found), len(found))
    except PlanInvalid as error:
        found = list(error.errors)
    event(next((e.message for e in wanted if isinstance(e, FieldError)), "planned"))
    event(f"{bool(world.earlier)} {bool(world.results)} {bool(world.whole)}")
    assert found == wanted


LONG = "l" * 1010 + ".png"
TWIN = ["a.png", "a.png.jpg"]
OVER_STYLE = "waves.jpg"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*TWIN, "b.jpg", OVER_STYLE, "c.jpg", "d.jpg", LONG], "two pictures would have the same result"),
        ([*TWIN, "b.jpg", LONG, "c.jpg", "d.jpg", OVER_STYLE], "two pictures would have the same result"),
        ([OVER_STYLE, "b.jpg", "c.jpg", *TWIN, LONG], "a result would overwrite a source picture"),
        (["a.png", OVER_STYLE, "b.jpg", "a.png.jpg"], "a result would overwrite a source picture"),
        (["b.jpg", "c.jpg", "d.jpg", LONG, *TWIN], "in the result's place the key is longer than 1024 bytes"),
        (["a.png", "b.jpg", "c.jpg", "d.jpg", LONG, "a.png.jpg", OVER_STYLE], "in the result's place the key is"),
        ([*TWIN, LONG, "e.jpg", "/f.jpg"], "the key has an empty, '.' or '..' segment"),
    ],
    ids=lambda x: x if isinstance(x, str) else ",".join(n[:9] for n in x),
)
def test_of_several_faults_the_first_in_the_listing_is_told_but_unusable_keys_before_all(
    names: list[str], message: str
) -> None:
    manifest = make_manifest(output={"prefix": "s3://shop/styles/"})
    with pytest.raises(PlanInvalid) as caught:
        tasks_for(manifest, make_styles(), [make_listed(f"catalog/{name}") for name in names])
    (error,) = caught.value.errors
    assert error.message.startswith(message)


@given(NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.text(max_size=8), st.booleans())
def test_a_tasks_id_is_that_of_the_whole_list_written_as_json(name: str, odd: str, etag: str, masked: bool) -> None:
    world = World([name], LAYOUTS[0], "jpeg", ["x.png"] if masked else [], [], {}, set())
    world.fill()
    manifest = world.manifest()
    spec, recipe = manifest.spec, manifest.spec.recipe.to_recipe()
    styles = planner.pinned_styles(world.store, manifest, Once())
    companions = tuple(companions_of(spec))
    shared: dict[str, Any] = {
        "styles": styles,
        "recipe": recipe,
        "image_format": "jpeg",
        "quality": 92,
        "depth": 8,
        "keep_metadata": ["exif"],
        "companions": companions,
    }
    pins = [Pin(Ref("shop", name), etag, 1) for _ in companions]
    own = {"content": Ref("shop", name + odd), "content_etag": etag, "pins": pins}
    assert Shaping(**shared).task_id(**own) == plain_planning.task_id(**shared, **own)


# --- memory -----------------------------------------------------------------------------------------------------


LINE = receipt.to_lines([make_receipt(task_id="TASK", result_etag="ETAG")])


class Catalog:
    """A bucket of so many pictures, each listed when it is its turn; what is put is counted and let go.

    All but one in ten are done by an earlier run.
    """

    def __init__(self, pictures: int) -> None:
        self.pictures = pictures
        self.style = jpeg_bytes()
        self.puts = 0
        self.memory = MemoryStore("service", "shop")
        self.memory.put(Ref("shop", "styles/waves.jpg"), jpeg_bytes())
        styles = planner.pinned_styles(self.memory, make_manifest(), Once())
        spec = make_manifest().spec
        self.shaping = Shaping(
            styles=styles,
            recipe=spec.recipe.to_recipe(),
            image_format=spec.output.format,
            quality=spec.output.quality,
            depth=spec.output.depth,
            keep_metadata=spec.output.keep_metadata,
        )

    def list(self, prefix: Ref) -> Iterator[Listed]:
        folder = prefix.key.partition("/")[0]
        if folder == "catalog":
            return (make_listed(f"catalog/{n:06d}.jpg", etag=f"{n:032x}") for n in range(self.pictures))
        if folder == "restyled":
            return (make_listed(f"restyled/spring/{n:06d}.jpg", etag=f"r{n:031x}") for n in range(self.pictures))
        if folder == "runs":
            keys = (naming.receipts_key("spring", "0" * 16, 0, "p", n) for n in range(self.pictures // 10))
            return (make_listed(key, bucket="service") for key in keys)
        return self.memory.list(prefix)

    def get(self, ref: Ref) -> Any:
        if ref.key.startswith("runs/"):
            part = int(ref.key[-11:-6])
            return Found(b"".join(self.receipt(10 * part + n) for n in range(9)))
        return self.memory.get(ref)

    def receipt(self, number: int) -> bytes:
        task_id = self.shaping.task_id(Ref("shop", f"catalog/{number:06d}.jpg"), f"{number:032x}")
        return LINE.replace(b"TASK", task_id.encode()).replace(b"ETAG", b"r%031x" % number)

    def put(self, ref: Ref, data: bytes, **_: Any) -> str:
        self.puts += 1
        return "etag"


@dataclass(frozen=True)
class Found:
    data: bytes


def peak_bytes(pictures: int) -> tuple[int, Plan]:
    """The most that Python's objects take while so many pictures are planned."""
    catalog, recipe = Catalog(pictures), make_manifest().spec.recipe.to_recipe()
    tracemalloc.start()
    try:
        plan = planner.plan_run(
            catalog,  # type: ignore[arg-type]
            "service",
            name="spring",
            manifest=make_manifest(run={"parallelism": 1}),
            manifest_bytes=b"manifest",
            run=RUN,
            pace=Pace(shard_seconds=20 * predicted_seconds(recipe, flops=1e12), worker_flops=1e12),
            now=NOW,
        )
        return tracemalloc.get_traced_memory()[1], plan
    finally:
        tracemalloc.stop()


def test_ten_times_the_pictures_take_the_same_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planner, "LINES_HELD", 40)
    monkeypatch.setattr(stocktaking, "READERS", 2)
    peak_bytes(100)  # what is made once
    small, _ = peak_bytes(1000)
    large, plan = peak_bytes(10_000)
    assert (plan.pictures, plan.skipped, len(plan.shards)) == (10_000, 9000, 50)
    # Lists and dicts took 600 bytes for each of the 9000 more.
    assert large < 1.5 * small
