"""A bucket that changes between two looks at it: between LIST and GET, and between the pages of one listing."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from stylefleet import naming
from stylefleet.naming import Ref
from stylefleet.plan import plan_from_json
from stylefleet.status import Phase
from stylefleet.store import Listed
from stylefleet.tasks import tasks_from_bytes
from tests.builders import jpeg_bytes
from tests.world import PICTURES, World

MANIFEST = Ref("service", "jobs/spring.yaml")
STYLE = Ref("shop", "styles/waves.jpg")


@pytest.fixture
def world() -> World:
    return World()


def once_before(world: World, method: str, ref: Ref, happens: Callable[[], None]) -> None:
    """Let something happen between everything before and the first call of `method` for `ref`."""
    happened = False

    def hook(called: str, subject: object) -> None:
        nonlocal happened
        if not happened and called == method and subject == ref:
            happened = True
            happens()

    world.store.before = hook


def test_a_manifest_that_is_replaced_between_list_and_get_is_carried_out_as_it_is_then(world: World) -> None:
    world.submit()
    once_before(world, "get", MANIFEST, lambda: world.submit(output={"prefix": "s3://shop/newer/"}))
    world.tick()
    world.tick()
    assert len(world.cluster.created) == 1
    world.cluster.work()
    world.cluster.finish()
    world.tick(2)
    assert (world.status().phase, world.status().output_prefix) == (Phase.SUCCEEDED, "s3://shop/newer/")
    assert not any(key.startswith("restyled/") for key in world.keys("shop"))


def test_a_manifest_that_is_deleted_between_list_and_get_is_no_run_and_stops_nobody(world: World) -> None:
    world.submit()
    world.submit("summer")
    once_before(world, "get", MANIFEST, lambda: world.remove("spring.yaml"))
    world.tick(3)
    assert world.status("summer").phase is Phase.RUNNING
    assert len(world.cluster.created) == 1


def test_a_style_that_is_replaced_between_list_and_get_is_pinned_as_it_was_read(world: World) -> None:
    world.submit()
    once_before(world, "get", STYLE, lambda: world.memory.put(STYLE, jpeg_bytes(99)) and None)
    world.tick()
    (key,) = [key for key in world.keys("service") if key.endswith("/plan.json")]
    plan = plan_from_json(world.memory.get(Ref("service", key)).data)
    assert plan.styles[0].etag == world.keys("shop")[STYLE.key]


def test_a_style_that_is_deleted_between_list_and_get_is_told_as_missing(world: World) -> None:
    world.submit()
    once_before(world, "get", STYLE, lambda: world.memory.delete(STYLE))
    world.tick()
    assert world.status().phase is Phase.REJECTED
    assert "spec.styles[0].image: the style is not there" in world.status().message


def test_pictures_that_come_and_go_between_two_pages_are_planned_as_each_page_showed_them(world: World) -> None:
    whole = world.store.list

    def pages(prefix: Ref, *, after: str = "") -> Iterator[Listed]:
        for number, listed in enumerate(whole(prefix, after=after)):
            yield listed
            if prefix.key == "catalog/" and number == 0:
                world.memory.delete(Ref("shop", "catalog/a.jpg"))  # was shown
                world.memory.delete(Ref("shop", "catalog/b.jpg"))  # is on this page
                world.picture("aa")  # comes before what is shown next, on a page that was shown

    world.store.list = pages  # type: ignore[method-assign]
    world.submit()
    world.tick()
    tasks = [
        task.content.key
        for key in world.keys("service")
        if "/shards/" in key
        for task in tasks_from_bytes(world.memory.get(Ref("service", key)).data)
    ]
    assert sorted(tasks) == [f"catalog/{name}.jpg" for name in PICTURES]
    assert world.status().phase is Phase.RUNNING
    # The next submission sees the bucket as it has become.
    world.store.list = whole  # type: ignore[method-assign]
    world.submit()
    world.tick(3)
    assert world.status().pictures == 2


def test_receipts_that_come_while_they_are_listed_are_counted_by_this_look_or_the_next(world: World) -> None:
    world.submit()
    world.tick()
    prefix = naming.receipts_prefix("spring", world.status().run)
    once_before(world, "list", Ref("service", prefix), lambda: world.cluster.work(only={0}))
    world.tick(2)
    assert world.status().done == 2
