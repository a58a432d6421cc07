"""One S3 server for all acceptance tests; a bucket and a fleet of local processes for each."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from stylefleet.local_s3 import LocalS3, local_s3
from tests.fleet import Fleet, picture


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
