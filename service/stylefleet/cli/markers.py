"""The commands that put a marker beside a manifest, or take it away: cancel, pause, resume."""

from __future__ import annotations

from rich.console import Console

from stylefleet import naming
from stylefleet.errors import NotFound
from stylefleet.following import is_paused
from stylefleet.naming import Ref
from stylefleet.store import Store
from stylefleet.submitting import mark


def cancel(store: Store, bucket: str, name: str) -> None:
    """Put the marker that stops the run; raises NotFound where there is no such manifest."""
    mark(store, bucket, name, naming.cancel_key(name))
    _say(f"cancelling {name}; what is finished stays")


def pause(store: Store, bucket: str, name: str) -> None:
    """Put the marker that keeps workers from the run; raises NotFound where there is no such manifest."""
    mark(store, bucket, name, naming.pause_key(name))
    _say(f"pausing {name}; its workers end and keep what they have\ngo on with:  stylefleet resume {name}")


def resume(store: Store, bucket: str, name: str) -> None:
    """Take that marker away; raises NotFound where there is none."""
    ref = Ref(bucket, naming.pause_key(name))
    if not is_paused(store, bucket, name):
        raise NotFound(f"{name}: not paused: there is no {ref}")
    store.delete(ref)
    _say(f"going on with {name}\nwatch it:  stylefleet wait {name}")


def _say(text: str) -> None:
    Console(stderr=True).print(text, highlight=False)
