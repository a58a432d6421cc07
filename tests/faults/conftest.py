from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _quiet(quiet_logs: None) -> None:
    """All of these tests log by the thousand."""
