"""A small fleet for tests: a real S3 server, a real controller process, real workers; pictures of a few pixels."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stylefleet import naming, receipt
from stylefleet.local_s3 import LocalS3
from stylefleet.naming import Ref
from stylefleet.receipt import Receipt
from stylefleet.store import Store

PATIENCE_SECONDS = 400.0


def picture(width: int = 48, height: int = 32, *, seed: int = 0, image_format: str = "JPEG") -> bytes:
    """A small picture with soft shapes; other seeds give other pictures."""
    noise = np.random.default_rng(seed).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


def eventually(condition: Callable[[], Any], what: str, *, seconds: float = PATIENCE_SECONDS) -> Any:
    """The first true value of `condition`; fails with `what` after a time that no healthy machine needs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.3)
    raise AssertionError(f"did not happen within {seconds:.0f} s: {what}")


@dataclass(kw_only=True)
class Fleet:
    """One bucket with a controller that can be killed and started."""

    s3: LocalS3
    store: Store
    bucket: str
    folder: Path
    environment: Mapping[str, str]
    """Settings of the controller beside bucket and credentials."""
    controller: subprocess.Popen[bytes] | None = None
    logs: list[Path] = field(default_factory=list)

    def start(self) -> None:
        """Start a controller process."""
        self.logs.append(self.folder / f"controller-{len(self.logs)}.log")
        environment = {
            **self.s3.process_environment(os.environ),
            "STYLEFLEET_BUCKET": self.bucket,
            "STYLEFLEET_POLL_SECONDS": "0.5",
            "STYLEFLEET_HTTP_PORT": "0",
            **self.environment,
        }
        with self.logs[-1].open("wb") as log:
            self.controller = subprocess.Popen(
                [sys.executable, "-m", "stylefleet.cli.main", "controller"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=log,
            )

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send the controller a signal and wait for its end."""
        if self.controller is not None:
            self.controller.send_signal(number)
            self.controller.wait(60)
            self.controller = None

    def put(self, key: str, data: bytes) -> None:
        self.store.put(Ref(self.bucket, key), data)

    def put_shapes(self, count: int) -> None:
        """Pictures `catalog/N.jpg`, each of another shape: each is a batch of its own, with receipts of its own."""
        for index in range(count):
            self.put(f"catalog/{index}.jpg", picture(48, 24 + 2 * index, seed=index))

    def submit(self, name: str, **changes: Any) -> None:
        """Put a manifest; `changes` replace parts of its spec."""
        self.put(f"jobs/{name}.yaml", self.manifest(name, **changes))

    def manifest(self, name: str, **changes: Any) -> bytes:
        spec = {
            "content": {"prefix": f"s3://{self.bucket}/catalog/"},
            "styles": [{"image": f"s3://{self.bucket}/styles/style.jpg"}],
            "output": {"prefix": f"s3://{self.bucket}/out/{name}/"},
            "recipe": {"preset": "draft", "size": 48},
        }
        document = {
            "apiVersion": "stylefleet.dev/v1",
            "kind": "StyleJob",
            "metadata": {"name": name},
            "spec": spec | changes,
        }
        return json.dumps(document).encode()

    def status(self, name: str) -> dict[str, Any]:
        """The status document; empty where there is none yet."""
        key = naming.status_key(name)
        if not any(o.ref.key == key for o in self.store.list(Ref(self.bucket, key))):
            return {}
        document: dict[str, Any] = json.loads(self.store.get(Ref(self.bucket, key)).data)
        return document

    def wait(self, name: str, *phases: str) -> dict[str, Any]:
        """The status once its phase is one of `phases`; fails at once on another final phase."""

        def reached() -> dict[str, Any] | None:
            assert self.controller is None or self.controller.poll() is None, self.log()
            status = self.status(name)
            final = status.get("phase") in ("Succeeded", "PartiallySucceeded", "Failed", "Cancelled", "Rejected")
            assert not final or status["phase"] in phases, f"{json.dumps(status, indent=1)}\n{self.log()}"
            return status if status.get("phase") in phases else None

        found: dict[str, Any] = eventually(reached, f"{name} in phase {phases}; controller: {self.log()}")
        return found

    def report(self, name: str) -> dict[str, Any]:
        uri = self.status(name)["report"]
        document: dict[str, Any] = json.loads(self.store.get(naming.parse_uri(uri)).data)
        return document

    def receipts(self, name: str) -> list[Receipt]:
        """Of all runs of this name, in the order of their keys."""
        keys = [o.ref for o in self.store.list(Ref(self.bucket, f"runs/{name}/")) if "/receipts/" in o.ref.key]
        return [r for ref in keys for r in receipt.from_lines(self.store.get(ref).data)]

    def result_keys(self, name: str) -> list[str]:
        return [o.ref.key for o in self.store.list(Ref(self.bucket, f"out/{name}/"))]

    def log(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in self.logs)
