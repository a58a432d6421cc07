"""SIGKILL to a real worker with a real S3 server and the real engine, and a picture that kills every worker."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from stylefleet import diagnosis, naming
from stylefleet.jobs import RETRIES_PER_INDEX, action_on, job_for
from stylefleet.local_s3 import LocalS3
from stylefleet.naming import Ref
from tests.acceptance.one_shard import SHORT, Attempt, Shard, two_pictures, undisturbed
from tests.builders import RUN, TEMPLATE, make_plan
from tests.fleet import Fleet, eventually, picture
from tests.s3_gate import Gate, s3_gate

pytestmark = pytest.mark.timeout(900)


def killed_at(shard: Shard, method: str, part: str) -> Attempt:
    """An attempt that is killed while the store has this request of it."""
    shard.gate.hold(method, part)
    attempt = shard.start()
    shard.gate.await_request(method, part)
    attempt.process.send_signal(signal.SIGKILL)
    assert attempt.exit_code() == -signal.SIGKILL
    shard.gate.open()  # the request takes effect after the death
    shard.gate.seen.clear()
    return attempt


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("PUT", "/attempts/"), ("GET", "/catalog/1.png")),
        (("PUT", "/out/0.png"), ("PUT", "/out/1.png")),
        (("PUT", "/receipts/"), ("DELETE", "/attempts/")),
    ],
    ids=" ".join,
)
def test_killed_twice_the_third_attempt_leaves_what_an_undisturbed_one_does(
    shard: Shard, first: tuple[str, str], second: tuple[str, str]
) -> None:
    shard.plan(two_pictures(), SHORT)
    killed_at(shard, *first)
    killed_at(shard, *second)
    shard.finish()
    receipts = shard.receipts()
    assert {r.outcome for r in receipts.values()} == {"done"}
    assert set(receipts) == {"0.png", "1.png"}
    for one in receipts.values():
        assert shard.store.get(naming.parse_uri(one.result)).etag == one.result_etag
    assert shard.results() == undisturbed(shard, two_pictures(), SHORT)
    assert shard.keys("attempts/") == []
    assert shard.keys("checkpoints/") == []


def test_the_second_picture_is_optimized_while_the_store_stalls_with_the_first(shard: Shard) -> None:
    shard.plan(two_pictures(), SHORT)
    shard.gate.hold("PUT", "/out/0.png")
    attempt = shard.start()
    shard.gate.await_request("PUT", "/out/1.png")
    assert shard.keys(naming.receipts_prefix("spring", RUN)) == []
    shard.gate.open()
    assert attempt.exit_code(800) == 0
    assert set(shard.receipts()) == {"0.png", "1.png"}


class Killer:
    """Kills the fleet's worker whenever it fetches the poisonous picture."""

    def __init__(self, fleet: Fleet, gate: Gate, part: str) -> None:
        self.fleet, self.gate, self.part = fleet, gate, part
        self.killed: list[int] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.is_set():
            self.gate.hold("GET", self.part)
            while not self.gate.saw("GET", self.part):
                if self._over.wait(0.05):
                    return
            assert self.fleet.controller is not None
            for child in psutil.Process(self.fleet.controller.pid).children():
                if "worker" in child.cmdline():
                    child.kill()
                    self.killed.append(child.pid)
            self.gate.seen.clear()
            self.gate.open()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()


def test_one_picture_that_kills_every_worker_is_named_in_the_report_and_all_others_are_done(
    fleet: Fleet, s3: LocalS3
) -> None:
    for number in range(4):
        fleet.put(f"catalog/{number}.jpg", picture(48, 32, seed=number))
    fleet.put("catalog/poison.jpg", picture(48, 32, seed=99))
    fleet.submit("spring")
    with s3_gate(s3.endpoint_url) as gate:
        fleet.environment = {**fleet.environment, "STYLEFLEET_WORKER_S3_ENDPOINT": gate.url}
        killer = Killer(fleet, gate, "/catalog/poison.jpg")
        fleet.start()
        status = fleet.wait("spring", "PartiallySucceeded")
        killer.stop()
    assert len(killer.killed) == RETRIES_PER_INDEX
    assert status["progress"] == {"pictures": 5, "skipped": 0, "done": 4, "failed": 1, "pending": 0}
    (failure,) = fleet.report("spring")["failures"]["first"]
    assert (failure["content"].rpartition("/")[2], failure["reason"]) == ("poison.jpg", "killed_worker")
    assert [o.ref.key for o in fleet.store.list(Ref(fleet.bucket, "attempts/"))] == []


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_where_the_disk_is_full_from_the_start_it_says_so_and_may_be_tried_again(shard: Shard, tmp_path: Path) -> None:
    """No file of it may grow. TensorFlow is not imported without a folder for temporary files."""
    shard.plan(two_pictures(), SHORT)
    environment = {
        **shard.s3.process_environment(os.environ),
        "STYLEFLEET_BUCKET": shard.bucket,
        "STYLEFLEET_NAME": "spring",
        "STYLEFLEET_RUN": RUN,
        "STYLEFLEET_ATTEMPT": "attempt-1",
        "JOB_COMPLETION_INDEX": "0",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
    }
    worker = subprocess.run(
        [sys.executable, "-m", "stylefleet.cli.main", "worker"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)),
        check=False,
    )
    told = diagnosis.of_exit(worker.returncode, worker.stderr.decode())
    assert "No usable temporary directory found" in told.found
    assert action_on(job_for(make_plan(), TEMPLATE), worker.returncode) == "Count"
    assert (shard.keys("attempts/"), shard.results()) == ([], {})


def test_a_stalled_store_is_waited_for(shard: Shard) -> None:
    """Until all else is done that there is to do; the request goes through when the store is back."""
    shard.plan(two_pictures(), SHORT)
    shard.gate.hold("GET", "/catalog/1.png")
    attempt = shard.start()
    eventually(lambda: shard.gate.saw("GET", "/catalog/1.png"), "it waits for a picture")
    eventually(lambda: attempt.events("engine_loaded"), "the engine is ready, and has nothing to do")
    shard.gate.open()
    assert attempt.exit_code(800) == 0
    assert set(shard.receipts()) == {"0.png", "1.png"}
