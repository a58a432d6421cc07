"""The benchmarks' made up bucket answers as a real one does, to our own client."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from benchmarks.fake_s3 import FakeS3, fake_s3

from stylefleet.errors import NotFound
from stylefleet.naming import Ref
from stylefleet.store_s3 import S3Store, make_client


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """Keys with what XML has to escape."""

    prefix: str = "numbers/"
    count: int = 2001

    def listed(self, place: int) -> tuple[str, str, int]:
        return f"numbers/&<{place:05d}>", f"etag{place}", place

    def data(self, key: str) -> bytes:
        return key.encode()


@pytest.fixture
def server() -> Iterator[FakeS3]:
    with fake_s3([Numbers()]) as server:
        yield server


def test_it_lists_page_by_page_gives_what_it_lists_and_counts(server: FakeS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    store = S3Store(make_client(server.url, None))
    found = list(store.list(Ref("shop", "numbers/")))
    assert [(o.ref.key, o.etag, o.size_bytes) for o in found] == [Numbers().listed(n) for n in range(2001)]
    assert list(store.list(Ref("shop", "nothing/"))) == []
    assert store.get(Ref("shop", "numbers/&<00007>")).data == b"numbers/&<00007>"
    with pytest.raises(NotFound):
        store.get(Ref("shop", "nothing/1"))
    store.put(Ref("shop", "out/1"), b"x" * 100_000)
    assert server.counts() == {
        "LIST numbers/": 3,
        "LIST nothing/": 1,
        "GET numbers/": 1,
        "GET nothing/": 1,
        "PUT out/": 1,
    }
    assert not server.counts()
