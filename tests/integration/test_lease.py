"""KubernetesLease over real HTTP, with the faults that networks and API servers have."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from stylefleet import lease_kubernetes
from stylefleet.cluster_kubernetes import KubernetesCluster
from stylefleet.errors import AccessDenied, ClusterUnavailable, PreconditionFailed
from stylefleet.kubernetes_api import connect
from stylefleet.leader import RENEW_DEADLINE_SECONDS, STOP_SECONDS_MAX, Elector, claimed, clock, holder_of
from stylefleet.lease_kubernetes import KubernetesLease
from tests.fake_kubernetes import NAMESPACE, FakeKubernetes, Fault, fake_kubernetes
from tests.unit.test_leader import NOW


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKubernetes]:
    monkeypatch.setenv("NO_PROXY", "*")
    with fake_kubernetes() as server:
        yield server


@pytest.fixture
def lease(api: FakeKubernetes, tmp_path: Path) -> KubernetesLease:
    return lease_of(api, tmp_path, "one")


def lease_of(api: FakeKubernetes, folder: Path, who: str) -> KubernetesLease:
    return KubernetesLease(connect(api.kubeconfig(folder, who)), namespace=NAMESPACE, name="stylefleet")


def take(lease: KubernetesLease, me: str) -> None:
    lease.write(claimed(lease.read(), me=me, now=NOW))


def test_a_lease_is_made_and_then_changed(api: FakeKubernetes, lease: KubernetesLease) -> None:
    assert lease.read() is None
    take(lease, "one")
    take(lease, "two")
    found = lease.read()
    assert found is not None
    assert (found["kind"], found["metadata"]["namespace"], holder_of(found)) == ("Lease", NAMESPACE, "two")
    assert found["spec"]["leaseTransitions"] == 1
    assert [r.method for r in api.of("one", writes=True)] == ["POST", "PUT"]


def test_what_others_keep_in_the_lease_stays(api: FakeKubernetes, lease: KubernetesLease) -> None:
    take(lease, "one")
    api.leases["stylefleet"]["metadata"]["labels"] = {"app.kubernetes.io/name": "stylefleet"}
    api.leases["stylefleet"]["spec"]["fieldOfANewerServer"] = {"a": 1}
    take(lease, "one")
    assert api.leases["stylefleet"]["metadata"]["labels"] == {"app.kubernetes.io/name": "stylefleet"}
    assert api.leases["stylefleet"]["spec"]["fieldOfANewerServer"] == {"a": 1}


def test_a_write_over_a_version_that_is_gone_is_refused(lease: KubernetesLease) -> None:
    take(lease, "one")
    stale = lease.read()
    take(lease, "two")
    with pytest.raises(PreconditionFailed):
        lease.write(claimed(stale, me="one", now=NOW))
    with pytest.raises(PreconditionFailed):
        lease.write(claimed(None, me="one", now=NOW))


@pytest.mark.parametrize(
    ("fault", "raised"),
    [
        (Fault(who="one", method="GET", status=500), ClusterUnavailable),
        (Fault(who="one", method="GET", status=429), ClusterUnavailable),
        (Fault(who="one", method="GET", status=403), AccessDenied),
        (Fault(who="one", method="GET", lose_answer=True), ClusterUnavailable),
        (Fault(who="one", method="GET", truncated=True), ClusterUnavailable),
        (Fault(who="one", method="GET", page=True), ClusterUnavailable),
        (Fault(who="one", method="POST", status=500), ClusterUnavailable),
        (Fault(who="one", method="POST", status=409), PreconditionFailed),
    ],
    ids=lambda value: f"{value.method}-{value.status}" if isinstance(value, Fault) else value.__name__,
)
def test_a_fault_is_told_by_kind_and_asked_only_once(
    api: FakeKubernetes, lease: KubernetesLease, fault: Fault, raised: type[Exception]
) -> None:
    api.strike(fault)
    with pytest.raises(raised):
        take(lease, "one")
    assert [r.method for r in api.of("one")].count(fault.method) == 1, "retries are the elector's affair"
    take(lease, "one")  # and the next attempt is as good as ever


def test_nobody_at_the_address_is_unavailable(api: FakeKubernetes, tmp_path: Path) -> None:
    api.url = "http://127.0.0.1:9"
    with pytest.raises(ClusterUnavailable):
        lease_of(api, tmp_path, "one").read()


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_half_open_connection_costs_one_look_and_not_the_lead(
    api: FakeKubernetes, lease: KubernetesLease, method: str
) -> None:
    elector = Elector(lease, me="one")
    assert elector.look()
    answer = threading.Event()
    fault = api.strike(Fault(who="one", method=method, silent_until=answer))
    with pytest.raises(ClusterUnavailable):
        elector.look()
    assert fault.struck.is_set()
    assert elector.look(), "over another connection"
    answer.set()


def test_the_time_limits_leave_room_for_a_second_attempt_before_the_deadline() -> None:
    connecting, reading = lease_kubernetes.TIMEOUT_SECONDS
    assert 2 * (connecting + reading) <= RENEW_DEADLINE_SECONDS
    assert 2 * (connecting + reading) < STOP_SECONDS_MAX


def test_a_claim_that_arrived_while_its_answer_was_lost_does_not_shut_its_maker_out(
    api: FakeKubernetes, lease: KubernetesLease
) -> None:
    elector = Elector(lease, me="one")
    api.strike(Fault(who="one", method="POST", lose_answer=True))
    with pytest.raises(ClusterUnavailable):
        elector.look()
    assert not elector.leading
    assert elector.look()


def test_of_many_candidates_at_once_one_leads(api: FakeKubernetes, tmp_path: Path) -> None:
    electors = [Elector(lease_of(api, tmp_path, f"c{i}"), me=f"c{i}") for i in range(8)]
    start = threading.Barrier(len(electors))

    def look(elector: Elector) -> None:
        start.wait()
        elector.look()

    threads = [threading.Thread(target=look, args=(e,)) for e in electors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(e.leading for e in electors) == 1


def test_the_leader_goes_when_the_lease_was_deleted_and_does_not_make_it_anew(
    api: FakeKubernetes, lease: KubernetesLease
) -> None:
    whys: list[str] = []

    def leave(why: str) -> None:
        whys.append(why)
        raise SystemExit

    elector = Elector(lease, me="one", leave=leave)  # type: ignore[arg-type]
    assert elector.look()
    api.leases.clear()
    with pytest.raises(SystemExit):
        elector.look()
    assert whys == ["the Lease is held by nobody"]
    assert api.leases == {}


def test_a_release_that_fails_is_no_fault_of_the_ending_process(api: FakeKubernetes, lease: KubernetesLease) -> None:
    elector = Elector(lease, me="one")
    assert elector.look()
    api.strike(Fault(who="one", method="PUT", status=500))
    elector.release()
    assert not elector.leading


def test_the_clock_goes_on_while_the_process_is_stopped() -> None:
    first = clock()
    threading.Event().wait(0.01)
    assert clock() > first


def test_a_refusal_before_sending_keeps_every_attempt_from_going_out(api: FakeKubernetes, tmp_path: Path) -> None:
    left = iter([True, False])

    class Refused(BaseException):
        pass

    def before_send() -> None:
        if not next(left):
            raise Refused

    cluster = KubernetesCluster(connect(api.kubeconfig(tmp_path, "one"), before_send=before_send), NAMESPACE)
    api.strike(Fault(who="one", method="GET", kind="job", status=500))
    with pytest.raises(Refused):
        cluster.list_jobs()
    assert len(api.of("one")) == 1, "the second attempt was refused"


def test_an_answer_that_breaks_off_is_asked_for_again(api: FakeKubernetes, tmp_path: Path) -> None:
    api.strike(Fault(who="one", method="GET", kind="job", truncated=True))
    assert KubernetesCluster(connect(api.kubeconfig(tmp_path, "one")), NAMESPACE).list_jobs() == []
    assert len(api.of("one")) == 2
