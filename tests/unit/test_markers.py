"""Cancel, pause and resume put and take away markers, and say what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stylefleet.cli import bucket as buckets
from stylefleet.cli import markers
from stylefleet.errors import NotFound
from stylefleet.inbox import inbox_of
from stylefleet.naming import Ref
from stylefleet.store import Store
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, make_listed, manifest_bytes


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore("service", clock=lambda: NOW)
    store.put(Ref("service", "jobs/spring.yaml"), manifest_bytes("spring"))
    return store


def keys(store: MemoryStore) -> set[str]:
    return {o.ref.key for o in store.list(Ref("service", "jobs/"))}


@pytest.mark.parametrize("command", [markers.cancel, markers.pause])
def test_a_marker_needs_a_manifest(store: MemoryStore, command: Callable[[Store, str, str], None]) -> None:
    with pytest.raises(NotFound, match="spring-2: no manifest in s3://service/jobs/"):
        command(store, "service", "spring-2")
    assert keys(store) == {"jobs/spring.yaml"}


def test_pause_and_resume_put_a_marker_and_take_it_away(store: MemoryStore, capsys: pytest.CaptureFixture[str]) -> None:
    markers.pause(store, "service", "spring")
    assert keys(store) == {"jobs/spring.yaml", "jobs/spring.pause"}
    assert "go on with:  stylefleet resume spring" in capsys.readouterr().err
    markers.resume(store, "service", "spring")
    assert keys(store) == {"jobs/spring.yaml"}


def test_what_is_not_paused_cannot_be_resumed(store: MemoryStore) -> None:
    store.put(Ref("service", "jobs/spring.pauses"), b"")
    with pytest.raises(NotFound, match=r"spring: not paused: there is no s3://service/jobs/spring\.pause"):
        markers.resume(store, "service", "spring")


def test_submitting_leaves_a_pause_in_force_and_says_so(
    store: MemoryStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "spring.yaml"
    path.write_bytes(manifest_bytes("spring"))
    markers.pause(store, "service", "spring")
    markers.cancel(store, "service", "spring")
    capsys.readouterr()
    buckets.submit(store, "service", buckets.read_manifest(path), wait_for_end=False)
    assert keys(store) == {"jobs/spring.yaml", "jobs/spring.pause"}
    assert "it is paused:  stylefleet resume spring" in capsys.readouterr().err


def test_markers_are_of_the_very_name() -> None:
    keys = ["jobs/spring.yaml", "jobs/spring.pause", "jobs/spring-2.yaml", "jobs/spring-2.cancel"]
    inbox = inbox_of(make_listed(key) for key in keys)
    assert inbox.markers("spring") == (False, True)
    assert inbox.markers("spring-2") == (True, False)
    assert inbox.markers("sprin") == (False, False)
    assert set(inbox.manifests) == {"spring", "spring-2"}
