"""A real worker, scraped while it works."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.acceptance.one_shard import SHORT, Shard, two_pictures
from tests.fleet import eventually

pytestmark = pytest.mark.timeout(900)


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def scraped(port: int) -> dict[tuple[str, ...], float]:
    """Name and label values -> value; empty where nobody answers yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
            text = answer.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return {}
    families = text_string_to_metric_families(text)
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}


def test_a_scrape_in_the_midst_finds_what_was_done_and_what_is_left(shard: Shard) -> None:
    shard.plan(two_pictures(), SHORT)
    port = free_port()
    # The first picture's receipt is there, and the second one's result is kept waiting.
    shard.gate.hold("PUT", "/out/1.png")
    attempt = shard.start(STYLEFLEET_METRICS_PORT=str(port), STYLEFLEET_METRICS_HOST="127.0.0.1")
    shard.gate.await_request("PUT", "/out/1.png")
    left = ("stylefleet_worker_pictures_left",)
    eventually(lambda: scraped(port).get(left) == 1, "the first picture has its receipt")
    found = scraped(port)
    first = shard.receipts()["0.png"]
    assert first.engine is not None
    assert found["stylefleet_worker_info", "cpu", first.engine.precision] == 1
    assert found["stylefleet_worker_iterations_total",] == 2 * first.iterations == 40
    assert found["stylefleet_worker_loss",] > 0
    assert not [name for name, *_ in found if "gpu" in name]
    puts = sum(1 for request in shard.gate.seen if request.startswith("PUT "))
    assert found["stylefleet_s3_requests_total", "PutObject", "ok"] == puts - 1, "all but the one that waits"
    shard.gate.open()
    assert attempt.exit_code(60) == 0


def test_a_port_that_is_taken_costs_no_picture(shard: Shard) -> None:
    shard.plan(two_pictures(), SHORT)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        attempt = shard.start(STYLEFLEET_METRICS_PORT=str(port), STYLEFLEET_METRICS_HOST="127.0.0.1")
        assert attempt.exit_code(300) == 0
    assert [line["port"] for line in attempt.events("metrics_not_served")] == [port]
    assert len(shard.receipts()) == 2
