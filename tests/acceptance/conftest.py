"""One S3 server for all acceptance tests; a bucket and a fleet of local processes for each."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stylefleet.local_s3 import LocalS3, local_s3
from tests.acceptance.one_shard import Shard, make_shard
from tests.fleet import Fleet, picture
from tests.s3_gate import s3_gate


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalS3]:
    with local_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def fleet(s3: LocalS3, tmp_path: Path) -> Iterator[Fleet]:
    bucket = f"fleet-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(bucket)
    fleet = Fleet(
        s3=s3,
        store=s3.store(),
        bucket=bucket,
        folder=tmp_path,
        environment={"STYLEFLEET_CLUSTER": "local", "STYLEFLEET_LOCAL_FOLDER": str(tmp_path / "jobs")},
    )
    fleet.put("styles/style.jpg", picture(96, 64, seed=99))
    yield fleet
    fleet.stop()


@pytest.fixture
def shard(s3: LocalS3, tmp_path: Path) -> Iterator[Shard]:
    with s3_gate(s3.endpoint_url) as gate:
        shard = make_shard(s3, gate, tmp_path)
        yield shard
        for attempt in shard.attempts:
            attempt.process.kill()
            attempt.process.wait()
