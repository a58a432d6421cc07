"""What every store promises, checked on the twin in memory and on a real S3 server (SeaweedFS)."""

from __future__ import annotations

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from stylefleet import store as stores
from stylefleet.errors import NotFound, PreconditionFailed, StoreUnfit
from stylefleet.naming import Ref
from stylefleet.store import Listed, Store
from stylefleet.store_memory import MemoryStore

ODD_KEYS = [
    "plain.jpg",
    "a b.jpg",
    "a+b.jpg",
    "a%20b.jpg",
    "a%b.jpg",
    "a#b.jpg",
    "a?b=c&d.jpg",
    "a;b,c:d@e!$'()*~[]{}|^`.jpg",
    '"quoted" <b>&amp;.jpg',
    "ünï/写真/😀.jpg",
    "combining e\u0301.jpg",
    "line\u2028separator.jpg",
    " leading and trailing ",
    ".hidden",
    "UPPER.JPG",
    "deep/" * 50 + "x",
]


class Box:
    """A store and a folder of the test's own in it."""

    def __init__(self, store: Store, folder: Ref) -> None:
        self.store = store
        self.folder = folder

    def ref(self, key: str) -> Ref:
        return Ref(self.folder.bucket, self.folder.key + key)

    def put(self, key: str, data: bytes = b"data", **condition: object) -> str:
        return self.store.put(self.ref(key), data, **condition)  # type: ignore[arg-type]

    def keys(self, prefix: str = "") -> list[str]:
        return [o.ref.key.removeprefix(self.folder.key) for o in self.store.list(self.ref(prefix))]

    def data(self, key: str) -> bytes:
        return self.store.get(self.ref(key)).data


@pytest.fixture(params=["memory", "s3"])
def box(request: pytest.FixtureRequest) -> Box:
    if request.param == "memory":
        return Box(MemoryStore("a-bucket"), Ref("a-bucket", "folder/"))
    # One bucket for all: making one takes SeaweedFS a second.
    return Box(request.getfixturevalue("s3_store"), Ref(request.getfixturevalue("s3_bucket"), f"{uuid.uuid4().hex}/"))


def test_what_was_put_is_got_with_its_etag_and_metadata(box: Box) -> None:
    etag = box.put("a", b"one", metadata={"stylefleet-task": "t1"}, content_type="image/jpeg")
    found = box.store.get(box.ref("a"))
    assert (found.ref, found.data, found.etag) == (box.ref("a"), b"one", etag)
    assert dict(found.metadata) == {"stylefleet-task": "t1"}
    assert etag
    assert '"' not in etag


def test_a_head_says_what_a_get_says_without_the_content(box: Box) -> None:
    for condition in ({}, {"if_absent": True}):
        key = f"a{len(condition)}"
        etag = box.put(key, b"12345", metadata={"stylefleet-task": "t1"}, **condition)
        found = box.store.head(box.ref(key))
        assert (found.ref, found.etag, found.size_bytes) == (box.ref(key), etag, 5)
        assert dict(found.metadata) == {"stylefleet-task": "t1"}
    with pytest.raises(NotFound, match="never"):
        box.store.head(box.ref("never"))
    with pytest.raises(NotFound, match="no-such-bucket-here"):
        box.store.head(Ref("no-such-bucket-here", "a"))


def test_a_put_replaces_the_object_and_its_metadata(box: Box) -> None:
    first = box.put("a", b"one", metadata={"x": "1"})
    second = box.put("a", b"two")
    assert first != second
    found = box.store.get(box.ref("a"))
    assert (found.data, found.etag, dict(found.metadata)) == (b"two", second, {})
    assert box.keys() == ["a"]


def test_an_empty_object_is_an_object(box: Box) -> None:
    box.put("empty", b"")
    assert box.data("empty") == b""
    assert [o.size_bytes for o in box.store.list(box.ref(""))] == [0]


def test_a_large_object_comes_back_whole(box: Box) -> None:
    data = bytes(range(256)) * (4096 * 5)
    box.put("large", data)
    assert box.data("large") == data


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_key_is_taken_literally(box: Box, key: str) -> None:
    etag = box.put(key, key.encode())
    assert box.data(key) == key.encode()
    assert [(o.ref, o.etag) for o in box.store.list(box.ref(""))] == [(box.ref(key), etag)]
    assert box.keys(key) == [key]
    assert box.put(key, b"2", if_match=etag)
    box.store.delete(box.ref(key))
    assert box.keys() == []


def test_a_listing_of_a_folder_is_in_the_order_of_utf_8_bytes(box: Box) -> None:
    keys = ["b", "a", "a.b", "a b", "A", "Z", "ä", "é", "z", "写", "\uff5e", "😀", "a-b", "a0", "_"]
    for key in keys:
        box.put(key)
    assert box.keys() == sorted(keys, key=str.encode)


def test_a_listing_has_the_prefix_and_nothing_else_of_it(box: Box) -> None:
    for key in ("runs/a/1", "runs/a/2", "runs/ab/1", "runs/b", "run", "other/runs/a/1"):
        box.put(key)
    assert box.keys("runs/a/") == ["runs/a/1", "runs/a/2"]
    assert box.keys("runs/a") == ["runs/a/1", "runs/a/2", "runs/ab/1"]
    assert box.keys("runs/a/1") == ["runs/a/1"]
    assert box.keys("nothing/") == []


def test_a_listing_goes_on_beyond_one_page(box: Box) -> None:
    keys = [f"page/{n:05d}" for n in range(1020)]
    nested = [f"page/{n % 7}/{n:05d}" for n in range(70)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(box.put, keys + nested))
    found = box.keys("page/")
    assert sorted(found) == sorted(keys + nested)
    assert [k for k in found if k.count("/") == 1] == keys


def test_pages_are_the_listing_in_pieces_and_a_known_one_is_the_same_object(box: Box) -> None:
    numbers = range(1002)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: box.put(f"pages/{n:04d}"), numbers))
    folder = box.ref("pages/")
    first = list(box.store.pages(folder, known={}))
    assert [o for page in first for o in page.objects] == list(box.store.list(folder))
    assert [len(page.objects) for page in first] == [1000, 2]
    known = {page.digest: page for page in first}
    assert len(known) == 2
    assert all(new is old for new, old in zip(box.store.pages(folder, known=known), first, strict=True))
    box.put("pages/0007", b"another")
    again = list(box.store.pages(folder, known=known))
    assert again[0].digest not in known
    assert again[1] is first[1]
    assert again[0].objects[7].etag != first[0].objects[7].etag
    after = list(box.store.pages(folder, after=f"{folder.key}0999", known={}))
    assert [o for page in after for o in page.objects] == list(first[1].objects)


def test_a_listing_after_a_key_has_the_greater_ones_on_every_page_of_it(box: Box) -> None:
    keys = [f"{folder:05d}/part-{part:05d}.jsonl" for folder in range(3) for part in range(501)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(box.put, keys))

    def after(key: str) -> list[str]:
        listed = box.store.list(box.ref(""), after=box.folder.key + key)
        return [o.ref.key.removeprefix(box.folder.key) for o in listed]

    assert after("00000/part-00499.jsonl") == keys[500:]
    assert after("00001/") == keys[501:]
    assert after("00001/part-00500.jsonl") == keys[1002:]
    assert after("00002/part-00500.jsonl") == []
    assert after("") == keys


def test_a_listing_says_what_a_get_says(box: Box) -> None:
    etag = box.put("a", b"12345")
    found = box.store.get(box.ref("a"))
    assert list(box.store.list(box.ref("a"))) == [
        Listed(ref=box.ref("a"), etag=etag, size_bytes=5, modified_at=found.modified_at)
    ]


def test_times_are_whole_seconds_with_time_zone(box: Box) -> None:
    before = datetime.now(UTC)
    box.put("a")
    after = datetime.now(UTC)
    (listed,) = box.store.list(box.ref("a"))
    for modified_at in (listed.modified_at, box.store.get(box.ref("a")).modified_at):
        assert modified_at.microsecond == 0
        assert modified_at.tzinfo is not None
        assert before - timedelta(seconds=2) <= modified_at <= after + timedelta(seconds=2)


def test_the_stores_time_is_the_one_by_which_it_dates_objects(box: Box) -> None:
    box.put("before")
    told = box.store.now()
    box.put("after")
    before, after = (box.store.get(box.ref(key)).modified_at for key in ("before", "after"))
    assert told.tzinfo is not None
    assert before - timedelta(seconds=1) <= told <= after + timedelta(seconds=1)


def test_a_put_if_absent_goes_through_once(box: Box) -> None:
    box.put("a", b"first", if_absent=True)
    with pytest.raises(PreconditionFailed):
        box.put("a", b"second", if_absent=True)
    assert box.data("a") == b"first"
    box.store.delete(box.ref("a"))
    box.put("a", b"third", if_absent=True)
    assert box.data("a") == b"third"


def test_a_put_if_match_goes_through_over_the_very_version_only(box: Box) -> None:
    first = box.put("a", b"first")
    second = box.put("a", b"second", if_match=first)
    with pytest.raises(PreconditionFailed):
        box.put("a", b"stale", if_match=first)
    assert box.data("a") == b"second"
    box.put("a", b"third", if_match=second)
    assert box.data("a") == b"third"


def test_a_put_if_match_over_nothing_fails(box: Box) -> None:
    etag = box.put("a")
    box.store.delete(box.ref("a"))
    for key in ("a", "never"):
        with pytest.raises(PreconditionFailed):
            box.put(key, b"x", if_match=etag)
    assert box.keys() == []


def test_conditional_puts_keep_the_metadata_and_add_none(box: Box) -> None:
    etag = box.put("a", b"1", if_absent=True, metadata={"x": "1"})
    assert dict(box.store.get(box.ref("a")).metadata) == {"x": "1"}
    box.put("a", b"2", if_match=etag)
    assert dict(box.store.get(box.ref("a")).metadata) == {}


def test_a_get_if_match_sees_that_very_version_or_fails(box: Box) -> None:
    first = box.put("a", b"first")
    assert box.store.get(box.ref("a"), if_match=first).data == b"first"
    box.put("a", b"second")
    with pytest.raises(PreconditionFailed):
        box.store.get(box.ref("a"), if_match=first)


def test_of_many_writers_over_one_version_one_wins(box: Box) -> None:
    etag = box.put("a", b"start")
    start = threading.Barrier(8)

    def write(number: int) -> int | None:
        start.wait()
        try:
            box.put("a", f"writer {number}".encode(), if_match=etag)
        except PreconditionFailed:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [n for n in pool.map(write, range(8)) if n is not None]
    assert len(winners) == 1
    assert box.data("a") == f"writer {winners[0]}".encode()


def test_what_is_not_there_is_not_found(box: Box) -> None:
    with pytest.raises(NotFound, match="a-key"):
        box.store.get(box.ref("a-key"))
    with pytest.raises(NotFound):
        box.store.get(box.ref("a-key"), if_match="etag")


def test_a_bucket_that_is_not_there_is_not_found_and_named(box: Box) -> None:
    gone = Ref("no-such-bucket-here", "a")
    with pytest.raises(NotFound, match="no-such-bucket-here"):
        box.store.get(gone)
    with pytest.raises(NotFound, match="no-such-bucket-here"):
        list(box.store.list(gone))


@pytest.mark.parametrize("condition", [{}, {"if_absent": True}, {"if_match": "etag"}], ids=str)
def test_a_put_into_a_bucket_that_is_not_there_is_not_found(condition: dict[str, Any]) -> None:
    # Not asked of SeaweedFS, which makes the bucket; of S3's answer to it: test_store_s3_faults.
    with pytest.raises(NotFound, match="no-such-bucket-here"):
        MemoryStore("a-bucket").put(Ref("no-such-bucket-here", "a"), b"", **condition)


def test_deleting_is_done_once_or_often(box: Box) -> None:
    box.put("a")
    box.put("a/b")
    for _ in range(3):
        box.store.delete(box.ref("a"))
    assert box.keys() == ["a/b"]
    box.store.delete(box.ref("never"))


def test_conditional_puts_pass_the_probe_which_leaves_nothing_behind(box: Box) -> None:
    stores.probe(box.store, box.ref("cache/"))
    assert box.keys() == []


class _EveryWriterWins(MemoryStore):
    """A server that ignores the condition, as older S3-like servers do."""

    def put(self, ref: Ref, data: bytes, **fields: object) -> str:
        return super().put(ref, data)


def test_a_store_without_conditional_puts_fails_the_probe() -> None:
    store = _EveryWriterWins("a-bucket")
    with pytest.raises(
        StoreUnfit, match="a-bucket: of 8 simultaneous conditional puts exactly one must succeed, but 8 did"
    ):
        stores.probe(store, Ref("a-bucket", "cache/"))
    assert list(store.list(Ref("a-bucket", ""))) == []
