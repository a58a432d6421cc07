from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from stylefleet import http_server
from stylefleet.http_server import Health
from stylefleet.metrics import ControllerMetrics


@dataclass
class Clock:
    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@dataclass(frozen=True)
class Server:
    port: int
    health: Health
    clock: Clock

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def server() -> Iterator[Server]:
    clock = Clock()
    health = Health(stale_after_seconds=120.0, monotonic=clock)
    wsgi = http_server.serve(ControllerMetrics().registry, health, port=0)
    yield Server(port=wsgi.server_port, health=health, clock=clock)
    wsgi.shutdown()
    wsgi.server_close()


def test_the_metrics_are_served_as_text(server: Server) -> None:
    code, body = server.get("/metrics")
    assert code == 200
    assert 'stylefleet_manifests_rejected_total{reason="ManifestInvalid"} 0.0' in body


def test_a_controller_that_just_started_is_alive_and_not_ready(server: Server) -> None:
    assert server.get("/healthz")[0] == 200
    assert server.get("/readyz")[0] == 503


def test_after_a_look_at_the_inbox_it_is_ready(server: Server) -> None:
    server.health.succeeded()
    server.clock.seconds += 7.0
    code, body = server.get("/readyz")
    assert code == 200
    assert json.loads(body) == {"ok": True, "lastSuccessSecondsAgo": 7.0}


def test_a_controller_that_fails_for_too_long_is_neither_alive_nor_ready_until_it_succeeds(server: Server) -> None:
    server.health.succeeded()
    server.clock.seconds += 119.0
    assert server.get("/healthz")[0] == 200
    server.clock.seconds += 1.0
    assert server.get("/healthz")[0] == 503
    assert server.get("/readyz")[0] == 503
    server.health.succeeded()
    assert server.get("/healthz")[0] == 200


def test_a_controller_that_never_succeeds_is_restarted(server: Server) -> None:
    server.clock.seconds += 120.0
    assert server.get("/healthz")[0] == 503


@pytest.mark.parametrize("path", ["/", "/metric", "/healthz/x", "/../etc/passwd"])
def test_other_paths_are_not_found(server: Server, path: str) -> None:
    assert server.get(path)[0] == 404


def test_a_client_that_connects_and_says_nothing_does_not_hold_up_the_probes(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as silent:
        silent.sendall(b"GET /heal")
        assert server.get("/healthz")[0] == 200


def test_a_worker_has_metrics_and_no_health() -> None:
    wsgi = http_server.serve(ControllerMetrics().registry, None, host="127.0.0.1", port=0)
    worker = Server(port=wsgi.server_port, health=Health(stale_after_seconds=1), clock=Clock())
    assert "stylefleet_build_info" in worker.get("/metrics")[1]
    assert [worker.get(path)[0] for path in ("/healthz", "/readyz", "/")] == [404, 404, 404]
    assert wsgi.server_address[0] == "127.0.0.1"
    wsgi.shutdown()
    wsgi.server_close()
