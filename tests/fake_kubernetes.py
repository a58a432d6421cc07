"""A small Kubernetes API server over real HTTP: Leases with resourceVersions, Jobs that nobody carries out, pods and
events as a test puts them. It can refuse, stay silent, lose answers, and tells who asked for what and when.

It answers as a real one does (`tests/kubernetes_answers.py` asks both).
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

NAMESPACE = "art"
_LEASES = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
_JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
_KINDS = {"leases": "lease", "jobs": "job", "pods": "pod", "events": "event", "workloads": "workload"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request as it came in."""

    at: float
    """Seconds of this machine's monotonic clock."""
    who: str
    """The bearer token."""
    method: str
    kind: str
    """lease, job, pod, event or workload."""
    query: str = ""

    @property
    def writes(self) -> bool:
        return self.method != "GET"


@dataclass(kw_only=True)
class Fault:
    """What befalls the next request of `who` that it fits."""

    who: str
    method: str
    """Any where it is empty, and so with the kind."""
    kind: str = "lease"
    query: str = ""
    """What the request's query must contain."""
    spares: int = 0
    """Requests that it fits and lets through."""
    status: int | None = None
    """Answer with this status and do nothing."""
    headers: dict[str, str] = field(default_factory=dict)
    lose_answer: bool = False
    """Do what was asked, then close the connection without an answer."""
    silent_until: threading.Event | None = None
    """Do nothing and say nothing until this is set, as behind a half-open connection; then serve it as ever."""
    truncated: bool = False
    """Answer with half of the promised bytes."""
    page: bool = False
    """Answer 200 with some proxy's page."""
    struck: threading.Event = field(default_factory=threading.Event)

    def befalls(self, request: Request) -> bool:
        """Whether it is this request's turn."""
        fits = (
            self.who == request.who
            and self.method in ("", request.method)
            and self.kind in ("", request.kind)
            and self.query in request.query
        )
        self.spares -= fits
        return fits and self.spares < 0


@dataclass(kw_only=True)
class FakeKubernetes:
    """A running server and its objects by name."""

    url: str
    leases: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    pods: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, str] = field(default_factory=dict)
    """What pods wrote, by their names."""
    page_max: int = 500
    """Objects that one answer lists at the most."""
    requests: list[Request] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    version: int = 0

    def of(self, who: str, *, kind: str = "", writes: bool = False) -> list[Request]:
        with self.lock:
            return [r for r in self.requests if r.who == who and kind in ("", r.kind) and (r.writes or not writes)]

    def strike(self, fault: Fault) -> Fault:
        with self.lock:
            self.faults.append(fault)
        return fault

    def kubeconfig(self, folder: Path, who: str) -> Path:
        """For a client that calls itself `who`."""
        path = folder / f"kubeconfig-{who}"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": who}}],
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": who, "user": {"token": who}}],
        }
        path.write_text(yaml.safe_dump(document))
        return path

    def stored(self, document: dict[str, Any]) -> dict[str, Any]:
        """The object with the next resourceVersion."""
        self.version += 1
        uid = document["metadata"].get("uid") or f"uid-{self.version}"
        metadata = {**document["metadata"], "resourceVersion": str(self.version), "uid": uid}
        return {**document, "metadata": metadata}


@contextmanager
def fake_kubernetes(port: int = 0) -> Iterator[FakeKubernetes]:
    server = _Server(("127.0.0.1", port), _Handler)
    fake = FakeKubernetes(url=f"http://127.0.0.1:{server.server_port}")
    server.fake = fake  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # clients are killed here
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def fake(self) -> FakeKubernetes:
        found: FakeKubernetes = self.server.fake  # type: ignore[attr-defined]
        return found

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve(self._get)

    def do_POST(self) -> None:
        self._serve(self._create)

    def do_PUT(self) -> None:
        self._serve(self._update)

    def do_PATCH(self) -> None:
        self._serve(self._patch)

    def do_DELETE(self) -> None:
        self._serve(self._delete)

    def _serve(self, act: Callable[[str, Any], tuple[int, dict[str, Any] | str]]) -> None:
        path, _, query = self.path.partition("?")
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "{}")
        kind = next(_KINDS[part] for part in path.split("/") if part in _KINDS)
        who = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        request = Request(at=time.monotonic(), who=who, method=self.command, kind=kind, query=query)
        with self.fake.lock:
            self.fake.requests.append(request)
            fits = [f for f in self.fake.faults if f.befalls(request)]
            fault = fits[0] if fits else Fault(who=who, method=self.command)
            if fits:
                self.fake.faults.remove(fault)
        fault.struck.set()
        if fault.silent_until is not None:
            fault.silent_until.wait()
        with self.fake.lock:
            status, answer = (fault.status, {}) if fault.status is not None else act(path, body)
        if fault.lose_answer:
            self.close_connection = True
            return
        data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        if fault.page:
            status, data = 200, b"<html>sign in</html>"
        try:
            self.send_response(status)
            for name, value in {"Content-Type": "application/json", **fault.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if fault.truncated else data)
        except OSError:
            self.close_connection = True  # the client has given up, or was killed
        if fault.truncated:
            self.close_connection = True

    def _objects(self, path: str) -> dict[str, dict[str, Any]]:
        return self.fake.leases if path.startswith(_LEASES) else self.fake.jobs

    def _get(self, path: str, _: dict[str, Any]) -> tuple[int, dict[str, Any] | str]:
        query = dict(urllib.parse.parse_qsl(self.path.partition("?")[2]))
        if path == _JOBS:
            return self._listed(list(self.fake.jobs.values()), query)
        if path.endswith("/log"):
            pod = path.split("/")[-2]
            if pod not in self.fake.logs:
                return 400, {"message": f"container in pod {pod} is waiting to start"}
            lines = self.fake.logs[pod].splitlines(keepends=True)
            return 200, "".join(lines[-int(query["tailLines"]) :])
        if path.endswith("/pods"):
            phase = query.get("fieldSelector", "").removeprefix("status.phase=")
            return self._listed([p for p in self.fake.pods if phase in ("", p["status"]["phase"])], query)
        if path.endswith("/events"):
            return self._listed(self.fake.events, query)
        found = self._objects(path).get(path.rpartition("/")[2])  # no Kueue: no workloads
        return (404, {"message": "not found"}) if found is None else (200, found)

    def _listed(self, items: list[dict[str, Any]], query: dict[str, str]) -> tuple[int, dict[str, Any]]:
        start = int(query.get("continue", "0"))
        end = start + min(self.fake.page_max, int(query.get("limit", "500")))
        return 200, {
            "items": items[start:end],
            "metadata": {"continue": str(end)} if end < len(items) else {},
        }

    def _create(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        objects, name = self._objects(path), body["metadata"]["name"]
        if name in objects:
            return 409, {"message": "already exists"}
        objects[name] = self.fake.stored({"status": {}, **body})
        return 201, objects[name]

    def _update(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        objects, name = self._objects(path), path.rpartition("/")[2]
        if name not in objects:
            return 404, {"message": "not found"}
        if objects[name]["metadata"]["resourceVersion"] != body["metadata"].get("resourceVersion"):
            return 409, {"message": "the object has been modified"}
        objects[name] = self.fake.stored(body)
        return 200, objects[name]

    def _patch(self, path: str, operations: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        objects, name = self._objects(path), path.rpartition("/")[2]
        if name not in objects:
            return 404, {"message": "not found"}
        patched = json.loads(json.dumps(objects[name]))
        for operation in operations:
            _, part, field_name = operation["path"].split("/")
            if operation["op"] == "test" and patched[part].get(field_name) != operation["value"]:
                return 422, {"message": "the server rejected our request due to an error in our request"}
            patched[part][field_name] = operation["value"]
        self._keep(objects, patched)
        return 200, patched

    def _delete(self, path: str, options: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        objects, name = self._objects(path), path.rpartition("/")[2]
        if name not in objects:
            return 404, {"message": "not found"}
        found = objects[name]
        if (options.get("preconditions") or {}).get("uid") not in (None, found["metadata"]["uid"]):
            return 409, {"message": "the UID in the precondition does not match"}
        self._keep(objects, {**found, "metadata": {**found["metadata"], "deletionTimestamp": "2026-03-01T12:00:00Z"}})
        return 200, {"status": "Success"}

    def _keep(self, objects: dict[str, dict[str, Any]], document: dict[str, Any]) -> None:
        """Store it, or remove it where it was deleted and nobody holds it any more."""
        metadata = document["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            del objects[metadata["name"]]
        else:
            objects[metadata["name"]] = self.fake.stored(document)
