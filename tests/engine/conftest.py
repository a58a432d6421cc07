"""One engine for the whole folder; loading it takes a second or two."""

from __future__ import annotations

import pytest

from stylefleet.engine import Engine, load_engine


@pytest.fixture(scope="session")
def engine() -> Engine:
    return load_engine(backbone="vgg16-hed", precision="float32")
