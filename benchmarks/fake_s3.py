"""An S3 server that makes up its objects, as many as a benchmark wants, in a process of its own.

It answers ListObjectsV2, GET and PUT as S3 words them; what is put is thrown away, and each kind of request is counted.
"""

from __future__ import annotations

import http.client
import http.server
import json
import multiprocessing
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Protocol
from xml.sax.saxutils import escape

PAGE_KEYS = 1000
COUNTS_PATH = "/.counts"
ETAG = "0" * 32
MODIFIED_AT = "2026-03-01T12:00:00.000Z"
LAST_MODIFIED = "Sun, 01 Mar 2026 12:00:00 GMT"


class Folder(Protocol):
    """Objects below one prefix, each made up when it is asked for; `place` is its number in the order of keys."""

    prefix: str
    count: int

    def listed(self, place: int) -> tuple[str, str, int]:
        """Key, ETag and size."""
        ...

    def data(self, key: str) -> bytes:
        """The object's bytes."""
        ...


@dataclass(frozen=True, kw_only=True)
class OneObject:
    """A folder of a single object."""

    prefix: str
    """Its key."""
    content: bytes
    count: int = 1

    def listed(self, place: int) -> tuple[str, str, int]:
        return self.prefix, ETAG, len(self.content)

    def data(self, key: str) -> bytes:
        return self.content


@dataclass(frozen=True, kw_only=True)
class FakeS3:
    """A running server."""

    url: str

    def counts(self) -> Counter[str]:
        """Requests since the last time, by kind: `LIST catalog/`, `PUT runs/`."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc)
        connection.request("GET", COUNTS_PATH)
        found = Counter[str](json.loads(connection.getresponse().read()))
        connection.close()
        return found


@contextmanager
def fake_s3(folders: Sequence[Folder]) -> Iterator[FakeS3]:
    """Serve one bucket of these folders, in another process, until the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folders, theirs), daemon=True)
    process.start()
    try:
        yield FakeS3(url=f"http://127.0.0.1:{ours.recv()}")
    finally:
        process.terminate()
        process.join()


def _serve(folders: Sequence[Folder], port: Connection) -> None:
    counts: Counter[str] = Counter()

    class Handler(_Handler):
        pass

    Handler.folders, Handler.counts = folders, counts
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port.send(server.server_port)
    server.serve_forever()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    folders: Sequence[Folder]
    counts: Counter[str]

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        if path == COUNTS_PATH:
            self._answer(json.dumps(self.counts).encode())
            self.counts.clear()
            return
        options = dict(urllib.parse.parse_qsl(query))
        key = urllib.parse.unquote(path.lstrip("/").partition("/")[2])
        if "list-type" in options:
            self._count("LIST", options.get("prefix", ""))
            self._list(options)
            return
        self._count("GET", key)
        folder = next((f for f in self.folders if key.startswith(f.prefix)), None)
        if folder is None:
            self._answer(b"<Error><Code>NoSuchKey</Code></Error>", status=404)
        else:
            self._answer(folder.data(key))

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        self._count("PUT", urllib.parse.unquote(self.path.lstrip("/").partition("/")[2]))
        self._answer(b"")

    def _count(self, kind: str, key: str) -> None:
        self.counts[f"{kind} {key.partition('/')[0]}/"] += 1

    def _list(self, options: dict[str, str]) -> None:
        folder = next((f for f in self.folders if f.prefix.startswith(options["prefix"])), None)
        first = int(options.get("continuation-token", "0"))
        end = min(first + PAGE_KEYS, folder.count) if folder is not None else 0
        more = folder is not None and end < folder.count
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{MODIFIED_AT}</LastModified><ETag>&quot;{etag}&quot;</ETag>"
            f"<Size>{size}</Size><StorageClass>STANDARD</StorageClass></Contents>"
            for key, etag, size in (folder.listed(place) for place in range(first, end) if folder is not None)
        )
        token = f"<NextContinuationToken>{end}</NextContinuationToken>" if more else ""
        self._answer(
            '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>bucket</Name><Prefix>{escape(options['prefix'])}</Prefix><MaxKeys>{PAGE_KEYS}</MaxKeys>"
            f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}"
            "</ListBucketResult>".encode()
        )

    def _answer(self, body: bytes, *, status: int = 200) -> None:
        self.send_response(status)
        for name, value in (("ETag", f'"{ETAG}"'), ("Last-Modified", LAST_MODIFIED), ("Content-Length", len(body))):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: requests are counted."""
