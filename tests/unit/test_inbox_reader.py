"""The inbox that is listed in ranges is the inbox."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stylefleet import inbox_reader, naming, store_memory
from stylefleet.inbox import Inbox, inbox_of
from stylefleet.inbox_reader import InboxReader
from stylefleet.naming import Ref
from stylefleet.store import Listed, Page
from stylefleet.store_memory import MemoryStore
from tests.fake_cluster import HookedStore
from tests.world import World

INBOX = Ref("service", naming.INBOX_PREFIX)


class FoldersInPlace(MemoryStore):
    """As stores that are file systems: the files of a folder stand where the folder's name does."""

    def list(self, prefix: Ref, *, after: str = "") -> Iterator[Listed]:
        for listed in sorted(super().list(prefix), key=lambda o: o.ref.key.split("/")):
            if listed.ref.key.split("/") > after.split("/"):
                yield listed


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_memory, "PAGE_OBJECTS", 5)
    monkeypatch.setattr(inbox_reader, "PAGE_OBJECTS", 5)
    monkeypatch.setattr(inbox_reader, "RANGE_OBJECTS", 4)


def put(store: MemoryStore | HookedStore, name: str, data: bytes = b"x") -> None:
    store.put(Ref("service", INBOX.key + name), data)


def listed(store: MemoryStore, *, of_tenants: bool) -> Inbox:
    objects = sorted(store.list(INBOX), key=lambda o: o.ref.key)
    return inbox_of(objects, of_tenants=of_tenants)


def content(inbox: Inbox) -> tuple[Mapping[str, Listed], set[Listed], frozenset[str]]:
    return inbox.manifests, set(inbox.twins), inbox.keys


STEMS = ("a", "a-", "a0", "b", "b-1", "c", "d", "e", "f")
FILES = [stem + suffix for stem in STEMS for suffix in (".yaml", ".json")]
IN_FOLDERS = [f"{folder}/{file}" for folder in ("a", "b", "zz") for file in ("a.yaml", "b.yaml", "b.cancel")]
CHANGES = st.tuples(st.booleans(), st.sampled_from([*FILES, "a.cancel", *IN_FOLDERS]))
"""Whether a file comes, or goes."""


@pytest.mark.parametrize("kind", [MemoryStore, FoldersInPlace])
@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(CHANGES, max_size=12), max_size=8), st.booleans())
def test_whatever_comes_and_goes_it_shows_what_one_listing_shows(
    kind: type[MemoryStore], steps: list[list[tuple[bool, str]]], of_tenants: bool
) -> None:
    store = kind("service")
    for name in FILES:
        put(store, name)
    reader = InboxReader(store, "service", of_tenants=of_tenants)
    for number, step in enumerate(steps):
        for comes, name in step:
            if comes:
                put(store, name, f"{number}".encode())
            else:
                store.delete(Ref("service", INBOX.key + name))
        found, expected = content(reader.read()), content(listed(store, of_tenants=of_tenants))
        if kind is MemoryStore:
            assert found == expected
        else:  # which of two files of one name is its twin depends on the order
            assert (found[0].keys(), found[2]) == (expected[0].keys(), expected[2])
        assert content(reader.read()) == found


def filled(count: int) -> tuple[HookedStore, InboxReader]:
    store = HookedStore(MemoryStore("service"))
    for number in range(count):
        put(store, f"m{number:03d}.yaml")
    reader = InboxReader(store, "service", of_tenants=False)
    reader.read()
    return store, reader


def test_an_inbox_that_did_not_change_is_the_same_inbox() -> None:
    _, reader = filled(40)
    first = reader.read()
    assert reader.read() is first


def test_what_did_not_change_beside_a_change_is_the_same_object() -> None:
    store, reader = filled(40)
    first = reader.read()
    put(store, "m020.yaml", b"changed")
    second = reader.read()
    assert second is not first
    assert second.manifests["m020"] is not first.manifests["m020"]
    same = [name for name in first.manifests if second.manifests[name] is first.manifests[name]]
    assert len(same) >= 40 - 2 * 5, "but for the pages on which the changed one stands"


@pytest.mark.parametrize(("count", "requests"), [(0, 1), (4, 1), (40, 11)])
def test_a_range_is_one_request(count: int, requests: int) -> None:
    store, reader = filled(count)
    reader.read()
    asked: list[str] = []
    store.before = lambda method, _: asked.append(method)
    reader.read()
    assert asked == ["list"] * requests


def test_an_inbox_that_was_emptied_is_one_request_again() -> None:
    store, reader = filled(40)
    for number in range(1, 40):
        store.delete(Ref("service", f"{INBOX.key}m{number:03d}.yaml"))
    reader.read()
    asked: list[str] = []
    store.before = lambda method, _: asked.append(method)
    assert list(reader.read().manifests) == ["m000"]
    assert asked == ["list"]


def test_in_an_inbox_of_finished_manifests_a_new_one_and_a_changed_one_are_carried_out_and_the_rest_is_left_alone() -> (
    None
):
    world = World()
    for number in range(30):
        world.put(f"bad-{number:02d}.yaml", b"no manifest")
    world.tick(3)
    calls: list[tuple[str, object]] = []
    world.store.before = lambda method, subject: calls.append((method, subject))
    world.tick()
    assert {method for method, _ in calls} == {"list"}
    world.submit("bad-07")
    world.submit("new")
    world.tick()
    assert len(world.cluster.created) == 2
    read = {str(subject) for method, subject in calls if method == "get" and "/jobs/" in str(subject)}
    assert read == {"s3://service/jobs/bad-07.yaml", "s3://service/jobs/new.yaml"}


def test_a_page_without_digest_is_never_taken_for_one_that_is_known() -> None:
    class Plain(HookedStore):
        def pages(self, prefix: Ref, *, after: str = "", known: Mapping[bytes, Page]) -> Iterator[Page]:
            assert b"" not in known
            for page in super().pages(prefix, after=after, known={}):
                yield Page(objects=page.objects, digest=b"")

    store = Plain(MemoryStore("service"))
    put(store, "a.yaml")
    reader = InboxReader(store, "service", of_tenants=False)
    reader.read()
    put(store, "b.yaml")
    assert list(reader.read().manifests) == ["a", "b"]
