"""A collector of OpenTelemetry spans: an HTTP server that takes OTLP as protobuf."""

from __future__ import annotations

import gzip
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, kw_only=True)
class Span:
    """As it came in."""

    name: str
    trace: bytes
    own: bytes
    parent: bytes
    began: int
    ended: int
    """Nanoseconds since 1970."""
    attributes: dict[str, Any]
    error: str
    """Empty where it went well."""
    resource: dict[str, Any]


@dataclass(kw_only=True)
class Collector:
    """What came in so far."""

    url: str
    spans: list[Span] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of each request, in small letters."""

    def pictures(self) -> dict[str, Span]:
        """By the picture's name."""
        return {s.attributes["content"].rpartition("/")[2]: s for s in self.spans if s.name == "picture"}

    def inside(self, span: Span) -> list[Span]:
        """In the order in which they began."""
        found = [s for s in self.spans if (s.trace, s.parent) == (span.trace, span.own)]
        return sorted(found, key=lambda s: s.began)

    def take(self, data: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(data).resource_spans:
            resource = _plain(group.resource.attributes)
            for span in (span for scope in group.scope_spans for span in scope.spans):
                self.spans.append(
                    Span(
                        name=span.name,
                        trace=span.trace_id,
                        own=span.span_id,
                        parent=span.parent_span_id,
                        began=span.start_time_unix_nano,
                        ended=span.end_time_unix_nano,
                        attributes=_plain(span.attributes),
                        error=span.status.message if span.status.code == span.status.STATUS_CODE_ERROR else "",
                        resource=resource,
                    )
                )


def _plain(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


@contextmanager
def collector() -> Iterator[Collector]:
    """One that listens until the block ends."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                data = gzip.decompress(data)
            known = self.path == "/v1/traces" and self.headers["Content-Type"] == "application/x-protobuf"
            if known:
                found.headers.append({name.lower(): value for name, value in self.headers.items()})
                found.take(data)
            self.send_response(200 if known else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the tests look at what came in."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Collector(url=f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
