"""A real Prometheus on this machine, with the chart's rules, that scrapes every second."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.requirements import absent

Json = dict[str, Any]
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """Asked by its API."""

    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer. Fails with what Prometheus says of a query that it does not take."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:  # noqa: S310
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def query(self, query: str, *, at: float | None = None) -> list[Json]:
        """The vector that a query gives."""
        found: list[Json] = self.ask("query", query=query, **({} if at is None else {"time": str(at)}))["result"]
        return found

    def number(self, query: str) -> float:
        """Of a query that gives one number."""
        (sample,) = self.query(query)
        return float(sample["value"][1])

    def rules(self) -> list[Json]:
        return [rule for group in self.ask("rules")["groups"] for rule in group["rules"]]

    def targets(self) -> list[Json]:
        found: list[Json] = self.ask("targets", state="active")["activeTargets"]
        return found


def static(jobs: dict[str, list[str]], *, namespace: str) -> list[Json]:
    """Scrape configs of fixed addresses by job, all in one namespace."""
    return [
        {"job_name": name, "static_configs": [{"targets": addresses, "labels": {"namespace": namespace}}]}
        for name, addresses in jobs.items()
    ]


@contextlib.contextmanager
def prometheus(folder: Path, *, scrape_configs: list[Json], rules: Json) -> Iterator[Prometheus]:
    """Ends the server at the end."""
    program = shutil.which("prometheus")
    if program is None:
        absent("Prometheus is not installed")
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    (folder / "prometheus.yaml").write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
                "rule_files": ["rules.yaml"],
                "scrape_configs": scrape_configs,
            }
        )
    )
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        server = Prometheus(url=f"http://127.0.0.1:{port}")
        _wait_until_ready(server, process, folder / "prometheus.log")
        yield server
    finally:
        process.terminate()
        process.wait(30)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_until_ready(server: Prometheus, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{server.url}/-/ready", timeout=5):  # noqa: S310
            return
        time.sleep(0.1)
    raise AssertionError(f"Prometheus did not start:\n{log.read_text()}")
