"""The short form of `make soak`."""

from __future__ import annotations

import pytest

from tests.soak.soak import soak

MINUTES = 0.7


@pytest.mark.timeout(1500)
def test_after_random_faults_every_picture_is_done_exactly_once() -> None:
    outcome = soak(MINUTES, seed=7, pictures_a_run=6)
    print(*outcome.log, outcome.faults, sep="\n")
    assert not outcome.findings
    assert outcome.runs >= 1
    assert sum(outcome.faults.values()) >= 3
