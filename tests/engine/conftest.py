"""Engines for the whole folder; loading one takes a second or two."""

from __future__ import annotations

import pytest

from stylefleet.engine import Engine, load_engine
from tests.engine.pictures import recipe


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Of the default layers, in float32."""
    return load_engine(recipe((32, 1)))
