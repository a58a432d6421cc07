"""/metrics, /healthz and /readyz of the controller; /metrics of a worker.

Healthy means: the last look that succeeded, at the inbox or (as a standby) at the Lease, is not too old. A loop that
hangs or fails for minutes is restarted by the kubelet, however well its threads answer. A standby is ready: it can take
over at any time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment


REQUEST_SECONDS_MAX = 30


class Health:
    """When the controller last succeeded; safe to use from several threads."""

    def __init__(self, *, stale_after_seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._stale_after_seconds = stale_after_seconds
        self._monotonic = monotonic
        self._started = monotonic()
        self._last: float | None = None

    def succeeded(self) -> None:
        self._last = self._monotonic()

    @property
    def age_seconds(self) -> float:
        """Since the last success, or since the start where there was none."""
        return self._monotonic() - (self._started if self._last is None else self._last)

    @property
    def live(self) -> bool:
        return self.age_seconds < self._stale_after_seconds

    @property
    def ready(self) -> bool:
        return self._last is not None and self.live


class _Server(ThreadingMixIn, WSGIServer):
    """One thread a request: a client that connects and says nothing must not make the probes fail."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    timeout = REQUEST_SECONDS_MAX

    def log_message(self, format: str, *args: Any) -> None:
        """Probes come every few seconds; they are not worth a log line each."""


def app(
    registry: CollectorRegistry, health: Health | None
) -> Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]:
    """The WSGI application; without `health` it has metrics only."""
    metrics = make_wsgi_app(registry)

    def respond(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "/")
        if path == "/metrics":
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        good = None if health is None else {"/healthz": health.live, "/readyz": health.ready}.get(path)
        status = "404 Not Found" if good is None else "200 OK" if good else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        age = {} if health is None else {"lastSuccessSecondsAgo": round(health.age_seconds, 1)}
        return [json.dumps({"ok": bool(good), **age}).encode()]

    return respond


def serve(registry: CollectorRegistry, health: Health | None, *, port: int, host: str = "") -> WSGIServer:
    """Serve in a daemon thread, on all of this machine's addresses or on one; the real port is in `server_port`. Raises
    OSError where the port is taken."""
    server = make_server(host, port, app(registry, health), server_class=_Server, handler_class=_QuietHandler)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    return server
