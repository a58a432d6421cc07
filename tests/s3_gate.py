"""A gate before an S3 server: it passes requests on, tells which came, and keeps those waiting that a test names. It
can set the server's clock wrong, which is all times in its answers, and do what networks and busy servers do."""

from __future__ import annotations

import contextlib
import email.utils
import http.client
import http.server
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from tests.fleet import eventually


class Fault(StrEnum):
    """What may befall a request."""

    SLOW_DOWN = "503 SlowDown"
    """Refused, nothing is done."""
    EXPIRED = "403 ExpiredToken"
    """The same: these credentials have run out."""
    RESET = "reset"
    """The connection ends, nothing is done."""
    LOST = "answer lost"
    """It is done, and the connection ends."""
    TRUNCATED = "truncated"
    """It is done, and the connection ends in the middle of the answer."""
    STALL = "stall"
    """It is done after STALL_SECONDS."""


STALL_SECONDS = 20.0
_REFUSALS = {
    Fault.SLOW_DOWN: (503, b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"),
    Fault.EXPIRED: (403, b"<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message></Error>"),
}


def no_fault(_request: str) -> Fault | None:
    """All is well."""
    return None


class Gate:
    """What comes by, as `METHOD /bucket/key`."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.url = ""
        self.ahead = timedelta()
        """How far the server's clock is ahead of all others; negative where it is behind."""
        self.fault_of: Callable[[str], Fault | None] = no_fault
        """What befalls a request, given as in `seen`."""
        self._held = ""
        self._opened = threading.Event()

    def hold(self, method: str, part: str) -> None:
        """From now on, requests of this method whose path has this part get no answer until the gate is opened."""
        self._held, self._opened = f"{method} {part}", threading.Event()

    def open(self) -> None:
        self._held = ""
        self._opened.set()

    def saw(self, method: str, part: str) -> bool:
        return any(request.startswith(f"{method} ") and part in request for request in self.seen)

    def await_request(self, method: str, part: str) -> None:
        eventually(lambda: self.saw(method, part), f"a {method} of {part}")

    def pass_or_wait(self, request: str) -> None:
        """Called for each request before it is passed on."""
        opened, (method, _, part) = self._opened, self._held.partition(" ")
        held = bool(part) and request.startswith(f"{method} ") and part in request
        self.seen.append(request)
        if held:
            opened.wait()

    def date(self, text: str) -> str:
        """A time of the server's in a header, by its wrong clock."""
        return email.utils.format_datetime(email.utils.parsedate_to_datetime(text) + self.ahead, usegmt=True)

    def dates_in(self, listing: bytes) -> bytes:
        def by_its_clock(found: re.Match[bytes]) -> bytes:
            return (datetime.fromisoformat(found[0].decode()) + self.ahead).isoformat().encode()

        return re.sub(rb"(?<=<LastModified>)[^<]+", by_its_clock, listing)


@contextmanager
def s3_gate(server_url: str) -> Iterator[Gate]:
    """A gate at a port of its own, before the server of this URL, until the block ends."""
    gate = Gate()
    address = urllib.parse.urlsplit(server_url).netloc

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = f"{self.command} {self.path.partition('?')[0]}"
            gate.pass_or_wait(request)
            fault = gate.fault_of(request)
            if fault in _REFUSALS:
                self.refuse(*_REFUSALS[fault])
                return
            if fault is Fault.RESET:
                self.hang_up()
                return
            if fault is Fault.STALL:
                time.sleep(STALL_SECONDS)
            # With the headers as they are: the signature is of them, the host's name among them.
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "expect")}
            connection = http.client.HTTPConnection(address)
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            if gate.ahead and (answer.getheader("Content-Type") or "").startswith("application/xml"):
                data = gate.dates_in(data)
            connection.close()
            if fault is Fault.LOST:
                self.hang_up()
                return
            try:
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection", "date", "server"):
                        self.send_header(name, gate.date(value) if name.lower() == "last-modified" else value)
                length = answer.getheader("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(data)))
                self.end_headers()
                if fault is Fault.TRUNCATED:
                    self.wfile.write(data[: len(data) // 2])
                    self.hang_up()
                    return
                self.wfile.write(data)
            except ConnectionError:
                self.close_connection = True  # who asked has been killed meanwhile

        def refuse(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def hang_up(self) -> None:
            self.close_connection = True
            with contextlib.suppress(OSError):  # who asked may have hung up first
                self.connection.shutdown(socket.SHUT_RDWR)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any  # noqa: N815 - names of the base class

        def date_time_string(self, timestamp: float | None = None) -> str:
            return email.utils.format_datetime(datetime.now(UTC) + gate.ahead, usegmt=True)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: the tests look at `seen`."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    gate.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield gate
    finally:
        gate.open()
        server.shutdown()
        server.server_close()
        thread.join()
