"""SIGTERM to a real worker with a real S3 server, wherever the worker may be at that moment (docs/stopping.md)."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil
import pytest

from stylefleet import naming
from stylefleet.recipe import Scale
from tests.acceptance.one_shard import SHORT, Shard, two_pictures, undisturbed
from tests.builders import RUN
from tests.fleet import eventually, picture

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="what a process does is read from /proc"),
]

STEPS = 300
LONG = (Scale(size_px=48, iterations=STEPS),)
"""Some seconds of computing for a picture."""
MIDST_SECONDS = 0.5
"""Of computing, after which a picture of LONG is in the works: it has taken ten steps, and not all of them."""


def test_while_it_imports_tensorflow(shard: Shard) -> None:
    shard.plan(two_pictures(), SHORT)
    attempt = shard.start()
    maps = Path(f"/proc/{attempt.process.pid}/maps")
    eventually(lambda: "tensorflow" in maps.read_text(), "TensorFlow is mapped")
    assert shard.gate.seen == []
    attempt.tell_to_end()
    assert attempt.exit_code() == 143
    assert shard.gate.seen == []


@pytest.mark.parametrize(
    ("phase", "method", "part"),
    [
        ("reading its plan", "GET", "/plan.json"),
        ("fetching a style", "GET", "/styles/"),
        ("loading, with the engine there", "GET", "/cache/style/"),
        ("fetching a picture", "GET", "/catalog/1.png"),
    ],
)
def test_while_the_store_keeps_it_waiting_and_nothing_is_in_the_works(
    shard: Shard, phase: str, method: str, part: str
) -> None:
    shard.plan(two_pictures(), SHORT)
    shard.gate.hold(method, part)
    attempt = shard.start()
    shard.gate.await_request(method, part)
    attempt.tell_to_end()
    assert attempt.exit_code() == 143, phase
    assert (shard.receipts(), shard.results(), shard.keys("checkpoints/")) == ({}, {}, [])


def test_while_it_optimizes_a_picture(shard: Shard) -> None:
    shard.plan(two_pictures(), LONG)
    first = shard.start()
    shard.gate.await_request("PUT", "/receipts/")
    first.await_work(MIDST_SECONDS)
    first.tell_to_end()
    first.tell_to_end()  # the second is no more than the first
    assert first.exit_code() == 143
    assert set(shard.receipts()) == {"0.png"}
    assert shard.keys("checkpoints/") == [naming.checkpoint_key(shard.tasks[1].task_id)]
    (stopped,) = first.events("picture_stopped")
    assert stopped["content"] == str(shard.tasks[1].content)
    assert 0 < stopped["steps"] < STEPS
    assert (stopped["run"], stopped["shard"], stopped["attempt"]) == (RUN, 0, "attempt-1")

    second = shard.finish()
    (found,) = second.events("checkpoint_found")
    assert found["iteration"] == stopped["steps"]
    assert {name: (r.attempt, r.iterations) for name, r in shard.receipts().items()} == {
        "0.png": ("attempt-1", STEPS),
        "1.png": ("attempt-2", STEPS),
    }
    assert shard.keys("checkpoints/") == []
    assert shard.results() == undisturbed(shard, two_pictures(), LONG)


def test_while_a_step_takes_longer_than_there_is_time(shard: Shard) -> None:
    """A large picture: each of its steps goes through the network tile by tile."""
    large = picture(1360, 1360, seed=5)
    scales = (Scale(size_px=64, iterations=20), Scale(size_px=1360, iterations=1))
    shard.plan({"large.png": large}, scales)
    first = shard.start()
    shard.gate.await_request("PUT", "/cache/style/")
    process = psutil.Process(first.process.pid)
    eventually(lambda: process.memory_info().rss > 1.5 * 2**30, "the activations of a tile")
    first.tell_to_end()
    assert first.exit_code() == 143
    assert shard.receipts() == {}
    assert len(first.events("picture_stopped")) == 1
    assert shard.keys("checkpoints/") == [naming.checkpoint_key(shard.tasks[0].task_id)]

    second = shard.finish()
    assert len(second.events("checkpoint_found")) == 1
    assert shard.receipts()["large.png"].iterations == 21
    assert shard.results() == undisturbed(shard, {"large.png": large}, scales)


@pytest.mark.parametrize("part", ["/out/0.png", "/receipts/"])
def test_while_the_store_does_not_take_a_result_or_its_receipt(shard: Shard, part: str) -> None:
    shard.plan(two_pictures(), SHORT)
    shard.gate.hold("PUT", part)
    first = shard.start()
    shard.gate.await_request("PUT", part)
    first.tell_to_end()
    assert first.exit_code() == 143
    assert shard.keys(naming.receipts_prefix("spring", RUN)) == []
    assert len(first.events("cut_short")) == 1

    shard.finish()
    assert {r.outcome for r in shard.receipts().values()} == {"done"}


def test_a_result_that_is_stored_just_in_time_has_its_receipt(shard: Shard) -> None:
    shard.plan(two_pictures(), SHORT)
    shard.gate.hold("PUT", "/out/0.png")
    first = shard.start()
    shard.gate.await_request("PUT", "/out/0.png")
    first.tell_to_end()
    eventually(lambda: first.events("told_to_end"), "the worker knows")
    shard.gate.open()
    assert first.exit_code() == 143
    assert set(shard.receipts()) == {"0.png"}


def test_while_the_store_takes_no_checkpoint(shard: Shard) -> None:
    shard.plan(two_pictures(), LONG)
    shard.gate.hold("PUT", "/checkpoints/")
    first = shard.start()
    shard.gate.await_request("PUT", "/receipts/")
    first.await_work(MIDST_SECONDS)
    first.tell_to_end()
    assert first.exit_code() == 143
    assert shard.gate.saw("PUT", "/checkpoints/")
    assert len(first.events("picture_stopped")) == 1
    assert set(shard.receipts()) == {"0.png"}
