"""A server that answers what a test wants: for what a healthy S3 server, or API server, never says."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Answer:
    """What the server says; `cut` bytes of the body are promised and not sent, `dropped` hangs up unsaid."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int = 0
    dropped: bool = False


Request = http.server.BaseHTTPRequestHandler
Responder = Callable[[Request], Answer]


class FaultServer:
    """Answers requests with `respond`, and remembers them."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.respond: Responder = lambda _: Answer()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outer.requests.append(f"{self.command} {self.path}")
                answer = outer.respond(self)
                if answer.dropped:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(answer.body[: len(answer.body) - answer.cut])
                self.close_connection = self.close_connection or answer.cut > 0

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815 - names of the base class

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the tests look at `requests`."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def fault(status: int, code: str, message: str = "no") -> Answer:
    return Answer(status=status, body=f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode())


def page(keys: list[str], more: str = "", modified_at: str = "2026-03-01T12:00:00.789Z") -> Answer:
    contents = "".join(
        f"<Contents><Key>{k}</Key><LastModified>{modified_at}</LastModified><ETag>&quot;e&quot;</ETag>"
        f"<Size>1</Size></Contents>"
        for k in keys
    )
    rest = f"<NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    truncated = "true" if more else "false"
    body = f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{contents}{rest}</ListBucketResult>"
    return Answer(
        body=f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode(), headers={"Content-Type": "application/xml"}
    )
