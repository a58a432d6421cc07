"""`results --sync` fetches what is new or changed, whole, and writes nowhere but into its folder."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from stylefleet import naming, status
from stylefleet.cli import results as command
from stylefleet.errors import StoreUnavailable
from stylefleet.naming import Ref
from stylefleet.status import Phase, Status
from stylefleet.store import Object
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, RUN
from tests.command_line import Type, typing_for


class Store(MemoryStore):
    """One that counts what is read of it."""

    def __init__(self) -> None:
        self.now_is = NOW
        self.read: list[str] = []
        super().__init__("service", "shop", clock=lambda: self.now_is)

    def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
        if ref.bucket == "shop":
            self.read.append(ref.key)
        return super().get(ref, if_match=if_match)


@pytest.fixture
def store() -> Store:
    store = Store()
    found = Status(name="spring", run=RUN, phase=Phase.SUCCEEDED, output_prefix="s3://shop/out/")
    store.put(Ref("service", naming.status_key("spring")), status.to_json(found))
    for key, data in {"a.jpg": b"one", "deep/er/b.jpg": b"two"}.items():
        store.put(Ref("shop", f"out/{key}"), data)
    store.put(Ref("shop", "other/c.jpg"), b"three")
    return store


@pytest.fixture
def typed(store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Type:
    return typing_for(store, monkeypatch, capsys)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_results_are_listed_in_every_form(typed: Type) -> None:
    assert typed("results", "spring", "-o", "name").out == "a.jpg\ndeep/er/b.jpg\n"
    assert typed("results", "spring").out.splitlines()[0].split() == ["3", "2026-03-01", "12:00:00", "a.jpg"]
    assert "s3://shop/out/a.jpg" in typed("results", "spring", "-o", "wide").out
    as_json = json.loads(typed("results", "spring", "-o", "json").out)
    assert [one["path"] for one in as_json] == ["a.jpg", "deep/er/b.jpg"]
    assert yaml.safe_load(typed("results", "spring", "-o", "yaml").out) == as_json


def test_where_nothing_is_yet_the_forms_for_programs_are_empty_lists(store: Store, typed: Type) -> None:
    for key in ("out/a.jpg", "out/deep/er/b.jpg"):
        store.delete(Ref("shop", key))
    assert json.loads(typed("results", "spring", "-o", "json").out) == []
    assert "nothing lies in s3://shop/out/" in typed("results", "spring").err


def test_a_sync_fetches_all_and_the_next_one_only_what_is_new_or_changed(
    store: Store, typed: Type, tmp_path: Path
) -> None:
    assert typed("results", "spring", "--sync", str(tmp_path)).code == 0
    assert files(tmp_path) == {"a.jpg": b"one", "deep/er/b.jpg": b"two"}
    store.read.clear()
    store.now_is += timedelta(seconds=1)
    store.put(Ref("shop", "out/a.jpg"), b"ONE")
    store.put(Ref("shop", "out/new.jpg"), b"new")
    (tmp_path / "mine.txt").write_text("mine")
    answer = typed("results", "spring", "--sync", str(tmp_path))
    assert sorted(store.read) == ["out/a.jpg", "out/new.jpg"]
    assert files(tmp_path) == {"a.jpg": b"ONE", "deep/er/b.jpg": b"two", "new.jpg": b"new", "mine.txt": b"mine"}
    assert "2 fetched" in answer.err
    assert "1 were there already" in answer.err


def test_a_file_that_was_cut_here_is_fetched_again_though_its_time_is_right(typed: Type, tmp_path: Path) -> None:
    typed("results", "spring", "--sync", str(tmp_path))
    put_at = (tmp_path / "a.jpg").stat().st_mtime
    (tmp_path / "a.jpg").write_bytes(b"o")
    os.utime(tmp_path / "a.jpg", (put_at, put_at))
    typed("results", "spring", "--sync", str(tmp_path))
    assert (tmp_path / "a.jpg").read_bytes() == b"one"


HOSTILE = [
    "../outside.jpg",
    "a/../../outside.jpg",
    "/etc/outside.jpg",
    "a//outside.jpg",
    "./outside.jpg",
    "..\\outside.jpg",
    "evil\x1b[2J.jpg",
    "evil\u202e.jpg",
    "folder/",
    "x" * 300 + ".jpg",
    "a.jpg/inside-a-picture.jpg",
]


@pytest.mark.parametrize("key", HOSTILE)
def test_a_hostile_key_is_refused_and_named_and_the_rest_is_fetched(
    store: Store, typed: Type, tmp_path: Path, key: str
) -> None:
    store.put(Ref("shop", f"out/{key}"), b"evil")
    folder = tmp_path / "here"
    answer = typed("results", "spring", "--sync", str(folder))
    # Of a picture and a folder of one name, either may come first.
    assert answer.code == 3
    assert "not fetched: " in answer.err
    assert "\x1b" not in answer.err
    assert files(folder)["deep/er/b.jpg"] == b"two"
    if "inside" not in key:
        assert files(tmp_path) == {"here/a.jpg": b"one", "here/deep/er/b.jpg": b"two"}


@given(st.text())
def test_every_path_that_is_taken_stays_in_the_folder(path: str) -> None:
    if command.path_fault(path) == "":
        root = Path("/root/of/it")
        assert os.path.normpath(root / path) == str(root / path)
        assert (root / path).is_relative_to(root)


def test_a_link_in_the_folder_leads_nobody_out_of_it(store: Store, typed: Type, tmp_path: Path) -> None:
    folder, outside = tmp_path / "here", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "deep").symlink_to(outside)
    (folder / "a.jpg").symlink_to(outside / "a.jpg")
    answer = typed("results", "spring", "--sync", str(folder))
    assert answer.code == 3
    assert files(outside) == {}
    assert list(outside.iterdir()) == []
    assert "deep/er/b.jpg: a link leads out of the folder" in answer.err


def test_a_fetch_that_fails_leaves_the_old_version_and_nothing_half_done(
    store: Store, typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed("results", "spring", "--sync", str(tmp_path))
    store.now_is += timedelta(seconds=1)
    store.put(Ref("shop", "out/a.jpg"), b"ONE")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(command.os, "replace", full)
    answer = typed("results", "spring", "--sync", str(tmp_path))
    assert answer.code == 3
    assert "a.jpg: No space left on device" in answer.err
    assert files(tmp_path) == {"a.jpg": b"one", "deep/er/b.jpg": b"two"}


def test_a_store_that_is_away_is_told_as_such(
    store: Store, typed: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = store.get

    def away(ref: Ref, *, if_match: str | None = None) -> Object:
        if ref.bucket == "shop":
            raise StoreUnavailable("the store answered 503")
        return plain(ref, if_match=if_match)

    monkeypatch.setattr(store, "get", away)
    assert typed("results", "spring", "--sync", str(tmp_path)).code == 5


def test_a_run_without_results_and_one_that_nobody_knows_are_not_found(store: Store, typed: Type) -> None:
    found = Status(name="new", run=RUN, phase=Phase.PENDING)
    store.put(Ref("service", naming.status_key("new")), status.to_json(found))
    answer = typed("results", "new")
    assert answer.code == 4
    assert "no results yet: the run is Pending" in answer.err
    assert typed("results", "nobody").code == 4
