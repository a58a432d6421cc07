"""Two controller processes and one Lease: a real S3 server, an API server that only keeps Leases and Jobs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from stylefleet import naming
from stylefleet.errors import ExitCode
from stylefleet.leader import LEASE_SECONDS, holder_of
from stylefleet.local_s3 import LocalS3
from stylefleet.naming import Ref
from tests.fake_kubernetes import NAMESPACE, FakeKubernetes, Fault, fake_kubernetes
from tests.fleet import PATIENCE_SECONDS, Fleet, eventually, picture

pytestmark = pytest.mark.timeout(1800)  # on a busy machine a process starts slowly


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One controller process."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def port(self) -> int:
        text = eventually(lambda: '"http_port": ' in self.text() and self.text(), f"{self.name} serves")
        return int(text.partition('"http_port": ')[2].partition(",")[0].partition("}")[0])

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, ""

    @property
    def leads(self) -> bool:
        return "stylefleet_leader 1.0\n" in self.get("/metrics")[1]


@dataclass(kw_only=True)
class Pair:
    """What the replicas share."""

    api: FakeKubernetes
    fleet: Fleet
    folder: Path
    replicas: list[Replica] = field(default_factory=list)

    def start(self, name: str) -> Replica:
        environment = {
            **self.fleet.s3.process_environment(os.environ),
            "STYLEFLEET_BUCKET": self.fleet.bucket,
            "STYLEFLEET_POLL_SECONDS": "0.2",
            "STYLEFLEET_HTTP_PORT": "0",
            "STYLEFLEET_NAMESPACE": NAMESPACE,
            "STYLEFLEET_LEASE": "stylefleet",
            "STYLEFLEET_IDENTITY": name,
            "KUBECONFIG": str(self.api.kubeconfig(self.folder, name)),
        }
        log = self.folder / f"{name}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "stylefleet.cli.main", "controller"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stderr=file,
            )
        self.replicas.append(Replica(name=name, process=process, log=log))
        return self.replicas[-1]

    @property
    def holder(self) -> str:
        """The replica that holds the Lease."""
        with self.api.lock:
            lease = self.api.leases.get("stylefleet")
        return "" if lease is None else holder_of(lease).partition("_")[0]

    def leader_and_standby(self) -> tuple[Replica, Replica]:
        """Two replicas: one that acts, and one that has looked at the Lease."""
        one, two = self.start("one"), self.start("two")
        eventually(lambda: self.acts(one) or self.acts(two), "one of them acts")
        leader, standby = (one, two) if self.acts(one) else (two, one)
        eventually(lambda: self.api.of(standby.name, kind="lease"), "the other looks at the Lease")
        return leader, standby

    def acts(self, replica: Replica) -> bool:
        return bool(self.api.of(replica.name, kind="job"))

    def wait_for_action(self, replica: Replica) -> None:
        eventually(lambda: self.acts(replica), f"{replica.name} acts")
        assert self.holder == replica.name


@pytest.fixture
def pair(s3_server: LocalS3, tmp_path: Path) -> Iterator[Pair]:
    bucket = f"pair-{uuid.uuid4().hex[:8]}"
    s3_server.create_bucket(bucket)
    fleet = Fleet(s3=s3_server, store=s3_server.store(), bucket=bucket, folder=tmp_path, environment={})
    with fake_kubernetes() as api:
        pair = Pair(api=api, fleet=fleet, folder=tmp_path)
        yield pair
        for replica in pair.replicas:
            if replica.process.poll() is None:
                replica.process.kill()
            replica.process.wait(60)
            print(f"--- {replica.name}\n{replica.text()}")  # shown where the test fails


def submit(pair: Pair, name: str) -> None:
    pair.fleet.put("styles/style.jpg", picture(96, 64, seed=99))
    pair.fleet.put("catalog/0.jpg", picture())
    pair.fleet.submit(name)


def test_one_acts_and_the_other_stands_by_live_and_ready(pair: Pair) -> None:
    leader, standby = pair.leader_and_standby()
    submit(pair, "shared")
    eventually(lambda: pair.api.jobs, "a Job")
    eventually(lambda: standby.get("/readyz")[0] == 200, "the standby is ready")
    assert standby.get("/healthz")[0] == 200
    assert leader.leads
    assert not standby.leads
    assert pair.api.of(standby.name, writes=True) == []
    assert pair.api.of(standby.name, kind="job") == []


def test_a_killed_leader_is_followed_when_its_lease_has_run_out_and_the_work_goes_on(pair: Pair) -> None:
    leader, standby = pair.leader_and_standby()
    leader.process.send_signal(signal.SIGKILL)
    submit(pair, "left-behind")

    pair.wait_for_action(standby)

    eventually(lambda: pair.api.jobs, "a Job")
    last, first = pair.api.of(leader.name, writes=True)[-1].at, pair.api.of(standby.name, writes=True)[0].at
    print(f"the other led {first - last:.1f} s after the last renewal")
    assert first - last >= LEASE_SECONDS, "and not while the first might have lived"


def test_a_leader_told_to_end_hands_over_at_once(pair: Pair) -> None:
    leader, standby = pair.leader_and_standby()
    leader.process.send_signal(signal.SIGTERM)
    assert leader.process.wait(PATIENCE_SECONDS) == 0, leader.text()
    last = pair.api.of(leader.name, writes=True)[-1].at

    pair.wait_for_action(standby)

    first = pair.api.of(standby.name, writes=True)[0].at
    print(f"the other led {first - last:.1f} s after the release")
    looks = [r for r in pair.api.of(standby.name, kind="lease") if last < r.at <= first and not r.writes]
    assert len(looks) <= 2, "one may have been under way; the next takes the Lease"


def test_a_standby_told_to_end_leaves_the_leader_alone(pair: Pair) -> None:
    leader, standby = pair.leader_and_standby()
    standby.process.send_signal(signal.SIGTERM)
    assert standby.process.wait(PATIENCE_SECONDS) == 0, standby.text()
    assert pair.holder == leader.name
    assert leader.process.poll() is None


def test_a_leader_that_was_stopped_in_the_middle_of_a_tick_writes_nothing_when_it_wakes(pair: Pair) -> None:
    leader, standby = pair.leader_and_standby()
    # It is stopped while it waits for the list of Jobs. That attempt fails; the next would begin the writes for the new
    # manifest.
    answer = threading.Event()
    listing = pair.api.strike(Fault(who=leader.name, method="GET", kind="job", silent_until=answer, status=500))
    submit(pair, "meanwhile")
    assert listing.struck.wait(PATIENCE_SECONDS)
    leader.process.send_signal(signal.SIGSTOP)
    answer.set()
    # Nor does the Lease tell it that it has lost: only its own clock can.
    for _ in range(3):
        pair.api.strike(Fault(who=leader.name, method="GET", silent_until=threading.Event()))
    pair.wait_for_action(standby)
    eventually(lambda: pair.api.jobs, "a Job")
    standby.process.send_signal(signal.SIGSTOP)  # so that all that is written from now on is the sleeper's
    # As if the other had done nothing: no version of a status and no name of a Job stands in the sleeper's way.
    pair.api.jobs.clear()
    for key in objects(pair):
        if key.startswith((naming.STATUS_PREFIX, "runs/")):
            pair.fleet.store.delete(Ref(pair.fleet.bucket, key))
    before = objects(pair)
    requests = [r for r in pair.api.of(leader.name) if r.writes or r.kind == "job"]

    leader.process.send_signal(signal.SIGCONT)

    assert leader.process.wait(PATIENCE_SECONDS) == ExitCode.RETRYABLE, leader.text()
    assert '"event": "leadership_lost"' in leader.text()
    assert objects(pair) == before
    assert [r for r in pair.api.of(leader.name) if r.writes or r.kind == "job"] == requests, "not even that attempt"
    assert pair.api.jobs == {}


def test_a_leader_that_reaches_the_api_server_no_more_stops_by_itself(pair: Pair) -> None:
    leader = pair.start("one")
    pair.wait_for_action(leader)
    for _ in range(20):
        pair.api.strike(Fault(who=leader.name, method="GET", status=500))
    assert leader.process.wait(PATIENCE_SECONDS) == ExitCode.RETRYABLE, leader.text()
    assert "could not be renewed in time" in leader.text()


def objects(pair: Pair) -> dict[str, str]:
    """ETag by key of everything in the bucket."""
    return {o.ref.key: o.etag for o in pair.fleet.store.list(Ref(pair.fleet.bucket, ""))}
