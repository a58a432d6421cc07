"""Waiting for a result, for the end, and not for ever."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future

import pytest

from stylefleet.errors import StepHung
from stylefleet.stopping import Stop, Stopped


def done(value: int) -> Future[int]:
    future: Future[int] = Future()
    future.set_result(value)
    return future


def test_a_result_that_is_there_is_given_also_to_who_is_told_to_end() -> None:
    stop = Stop()
    assert stop.result_of(done(1), limit_seconds=0) == 1
    stop.tell()
    assert stop.result_of(done(2)) == 2


def test_who_is_told_to_end_does_not_wait() -> None:
    stop = Stop()
    stop.tell()
    with pytest.raises(Stopped):
        stop.result_of(Future(), patience_seconds=0.01, limit_seconds=0.01)


def test_who_hears_nothing_within_the_limit_gives_up() -> None:
    with pytest.raises(StepHung, match="has not answered"):
        Stop().result_of(Future(), limit_seconds=0.01)


HUNG = """
import threading
from concurrent.futures import ThreadPoolExecutor
from stylefleet import worker_main
from stylefleet.stopping import Stop

class Hung:
    def __init__(self, **_): pass
    def run(self):
        self.computer = ThreadPoolExecutor(1)
        Stop().result_of(self.computer.submit(threading.Event().wait), limit_seconds=0.01)

worker_main.Worker, worker_main.load_shard = Hung, lambda *_: (None, [])
environment = {"STYLEFLEET_BUCKET": "service", "STYLEFLEET_NAME": "spring", "STYLEFLEET_RUN": "0", "AWS_REGION": "x",
               "STYLEFLEET_ATTEMPT": "a", "JOB_COMPLETION_INDEX": "0", "STYLEFLEET_S3_ENDPOINT": "http://127.0.0.1:1"}
raise SystemExit(worker_main.main(environment, Stop(), began=0.0))
"""


def test_a_process_whose_engine_hangs_ends_all_the_same_and_may_be_tried_again() -> None:
    worker = subprocess.run([sys.executable, "-c", HUNG], stderr=subprocess.PIPE, timeout=120, check=False)
    assert worker.returncode == 5, worker.stderr.decode()
