"""The leader election against a real API server, with no more rights than it needs."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator

import pytest

from stylefleet.errors import AccessDenied, PreconditionFailed
from stylefleet.kubernetes_api import connect
from stylefleet.leader import Elector, claimed, holder_of
from stylefleet.lease_kubernetes import KubernetesLease
from tests.cluster.conftest import Kubernetes
from tests.unit.test_leader import NOW

pytestmark = pytest.mark.timeout(2400)  # the first test also builds the lab and the image

USER = "stylefleet-controller"
Replica = Callable[[str], KubernetesLease]


@pytest.fixture
def lease_name(kubernetes: Kubernetes, namespace: str) -> Iterator[str]:
    name = f"fleet-{uuid.uuid4().hex[:6]}"
    yield name
    kubernetes.kubectl("delete", "lease", name, f"--namespace={namespace}", "--ignore-not-found")


@pytest.fixture
def replica(kubernetes: Kubernetes, namespace: str, lease_name: str) -> Replica:
    """The Lease as a replica sees it that may get, create and update Leases, and nothing else."""
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": USER, "namespace": namespace},
        "rules": [
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update"]}
        ],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": USER, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": USER},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": USER}],
    }
    for thing in (role, binding):
        kubernetes.kubectl("apply", "-f", "-", data=json.dumps(thing))

    def as_user(user: str) -> KubernetesLease:
        api_client = connect(kubernetes.kubeconfig)
        api_client.default_headers["Impersonate-User"] = user
        return KubernetesLease(api_client, namespace=namespace, name=lease_name)

    return as_user


def test_one_leads_until_it_gives_the_lease_up_and_then_the_other(
    kubernetes: Kubernetes, namespace: str, lease_name: str, replica: Replica
) -> None:
    one, two = Elector(replica(USER), me="one"), Elector(replica(USER), me="two")
    assert one.look(), "the Lease is made"
    assert not two.look()
    assert one.look(), "and renewed"

    spec = kubernetes.get("lease", lease_name, f"--namespace={namespace}")["spec"]
    assert (spec["holderIdentity"], spec["leaseDurationSeconds"], spec["leaseTransitions"]) == ("one", 15, 0)
    assert spec["acquireTime"] < spec["renewTime"]

    one.release()
    assert two.look()
    spec = kubernetes.get("lease", lease_name, f"--namespace={namespace}")["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)


def test_a_claim_over_another_version_is_refused(replica: Replica) -> None:
    lease = replica(USER)
    lease.write(claimed(None, me="one", now=NOW))
    seen = lease.read()
    lease.write(claimed(seen, me="two", now=NOW))
    with pytest.raises(PreconditionFailed):
        lease.write(claimed(seen, me="one", now=NOW))
    with pytest.raises(PreconditionFailed):
        lease.write(claimed(None, me="one", now=NOW))
    found = lease.read()
    assert found is not None
    assert holder_of(found) == "two"


def test_labels_that_others_put_on_the_lease_stay(
    kubernetes: Kubernetes, namespace: str, lease_name: str, replica: Replica
) -> None:
    elector = Elector(replica(USER), me="one")
    assert elector.look()
    kubernetes.kubectl("label", "lease", lease_name, f"--namespace={namespace}", "team=art")
    assert elector.look()
    found = kubernetes.get("lease", lease_name, f"--namespace={namespace}")
    assert found["metadata"]["labels"] == {"team": "art"}


def test_a_lease_made_by_hand_without_spec_is_taken(
    kubernetes: Kubernetes, namespace: str, lease_name: str, replica: Replica
) -> None:
    bare = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": lease_name}}
    kubernetes.kubectl("create", f"--namespace={namespace}", "-f", "-", data=json.dumps(bare))
    assert Elector(replica(USER), me="one").look()


def test_an_identity_without_rights_to_leases_is_told_so(replica: Replica) -> None:
    with pytest.raises(AccessDenied, match='cannot get resource "leases"'):
        Elector(replica("nobody"), me="one").look()
