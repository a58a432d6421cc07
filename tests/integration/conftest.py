"""A real S3 server for the tests, started once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from stylefleet import local_s3
from stylefleet.local_s3 import LocalS3
from stylefleet.store_s3 import S3Store, make_client


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalS3]:
    with local_s3.local_s3(tmp_path_factory.mktemp("s3")) as server, pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        yield server


@pytest.fixture(scope="session")
def s3_store(s3_server: LocalS3) -> S3Store:
    """With the client that the service uses."""
    return S3Store(make_client(s3_server.endpoint_url, None))


@pytest.fixture(scope="session")
def s3_bucket(s3_server: LocalS3) -> str:
    s3_server.create_bucket("test-bucket")
    return "test-bucket"
