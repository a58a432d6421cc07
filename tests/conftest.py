"""Fixtures and settings of every test."""

from __future__ import annotations

import os

import pytest
import structlog
from hypothesis import HealthCheck, settings

# No deadline: tests run beside others on few cores, and a slow machine is not a broken rule.
settings.register_profile(
    "stylefleet", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("thorough", parent=settings.get_profile("stylefleet"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "stylefleet"))


@pytest.fixture
def quiet_logs() -> None:
    """Nothing of what is logged is printed."""
    structlog.configure(
        processors=[structlog.processors.KeyValueRenderer()], logger_factory=structlog.ReturnLoggerFactory()
    )
