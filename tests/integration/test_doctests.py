"""The examples in the docstrings of the Python API do what they say, against a real S3 server."""

from __future__ import annotations

import doctest
import importlib
import threading
from collections.abc import Iterator

import pytest

from stylefleet import following, naming, status
from stylefleet.local_s3 import LocalS3, local_s3
from stylefleet.naming import Ref
from stylefleet.status import Phase, Status
from stylefleet.store_s3 import S3Store, make_client


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalS3]:
    """A server of their own, as the examples' bucket has a name that other tests use too."""
    with local_s3(tmp_path_factory.mktemp("s3")) as server:
        server.create_bucket("shop")
        yield server


@pytest.fixture
def shop(server: LocalS3, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A service with that bucket, whose controller finds every run done at once."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("STYLEFLEET_S3_ENDPOINT", server.endpoint_url)
    monkeypatch.setattr(following, "POLL_SECONDS", 0.05)
    bucket = "shop"
    store, ended = S3Store(make_client(server.endpoint_url, None)), threading.Event()

    def controller() -> None:
        while not ended.wait(0.05):
            run = following.submitted_run(store, bucket, "spring")
            if run is not None:
                done = Status(name="spring", run=run, phase=Phase.SUCCEEDED, pictures=2, done=2)
                store.put(Ref(bucket, naming.status_key("spring")), status.to_json(done))

    thread = threading.Thread(target=controller)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.parametrize("module", ["stylefleet.client", "stylefleet.style_job"])
@pytest.mark.usefixtures("shop")
def test_the_examples_do_what_they_say(module: str) -> None:
    outcome = doctest.testmod(importlib.import_module(module), verbose=False)
    assert outcome.attempted >= 2
    assert outcome.failed == 0
