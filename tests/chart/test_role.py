"""The Role grants what the code asks for, and nothing else: the client's own requests are recorded and compared."""

from __future__ import annotations

import inspect
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from stylefleet import naming
from stylefleet.cluster import Cluster
from stylefleet.cluster_kubernetes import KubernetesCluster
from stylefleet.errors import PreconditionFailed
from stylefleet.jobs import JobView, job_for, view
from stylefleet.kubernetes_api import connect
from stylefleet.lease_kubernetes import KubernetesLease
from stylefleet.retire import retire
from stylefleet.rights import rights
from tests.builders import TEMPLATE, make_plan
from tests.chart.conftest import BUCKET, Chart, Json
from tests.chart.variants import VARIANTS

Right = tuple[str, str, str]
"""API group (empty for the core), resource, verb."""
PATH = re.compile(
    r"/(?:api|apis/(?P<group>[^/]+))/v\d+(?:beta\d)?/namespaces/(?P<namespace>[^/]+)/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+))?"
)
WORKLOADS = ("kueue.x-k8s.io", "workloads", "list")
"""Only where the operator wants it: without, events tell what they can."""
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
JOB = job_for(make_plan(), TEMPLATE)
JOB["metadata"]["uid"] = "uid-1"
LEASE = {"metadata": {"resourceVersion": "1"}, "spec": {}}


class Recorder:
    """An API server that writes down which rights each request takes, and has one Job."""

    def __init__(self) -> None:
        self.rights: set[Right] = set()
        self.jobs: list[Json] = []
        """What is listed, until it is deleted."""

    def answer(self, method: str, url: str) -> tuple[int, Json]:
        parts = urlsplit(url)
        match = PATH.fullmatch(parts.path)
        assert match is not None, url
        assert match["namespace"] == "art", "never another namespace"
        verb = VERBS.get(method) or ("get" if match["name"] else "list")
        if "watch" in parse_qs(parts.query):
            verb = "watch"
        self.rights.add((match["group"] or "", match["resource"], verb))
        if verb == "delete":
            self.jobs = []
        if verb == "create":
            return 409, {"message": "already exists"}  # so that the caller looks whose it is
        return 200, {"jobs": JOB, "leases": LEASE}[match["resource"]] if match["name"] else {
            "items": self.jobs,
            "metadata": {},
        }


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def cluster(recorder: Recorder, tmp_path: Path) -> Iterator[KubernetesCluster]:
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = recorder.answer(self.command, self.path)
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - as the base class calls them

        def log_message(self, format: str, *args: object) -> None:
            """Nothing to tell."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = tmp_path / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "users": [{"name": "u", "user": {}}],
                "current-context": "c",
            }
        )
    )
    yield KubernetesCluster(connect(config), "art")
    server.shutdown()
    server.server_close()


JOB_VIEW: JobView = view(JOB)
CALLS: dict[str, Callable[[KubernetesCluster], object]] = {
    "create_job": lambda cluster: cluster.create_job(JOB),
    "list_jobs": lambda cluster: cluster.list_jobs(),
    "require_listed": lambda cluster: cluster.require_listed("art"),
    "release_job": lambda cluster: cluster.release_job(JOB_VIEW),
    "resize_job": lambda cluster: cluster.resize_job(JOB_VIEW, 3),
    "delete_job": lambda cluster: cluster.delete_job(JOB_VIEW),
    "waiting_because": lambda cluster: cluster.waiting_because(JOB_VIEW),
    "suspended_because": lambda cluster: cluster.suspended_because(replace(JOB_VIEW, queue="gpu"), ran=False),
    "failed_because": lambda cluster: cluster.failed_because(JOB_VIEW),
}


def test_a_role_that_ends_jobs_can_do_nothing_else(
    chart: Chart, cluster: KubernetesCluster, recorder: Recorder
) -> None:
    recorder.jobs = [JOB]
    retire(cluster, TEMPLATE.bucket, namespaces=("art",), seconds=60)
    assert granted(chart.render(BUCKET).find("Role", "art-stylefleet-retire")) == recorder.rights
    elsewhere = chart.render(VARIANTS["tenants"]).find("Role", "art-stylefleet-retire", namespace="art-jobs")
    assert granted(elsewhere) == recorder.rights


def granted(role: Json) -> set[Right]:
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_doctor_asks_for_the_rights_that_the_role_grants(chart: Chart) -> None:
    asked_for = {(right.group, right.resource, right.verb) for right in rights("art-stylefleet")}
    assert granted(chart.render(BUCKET).find("Role", "art-stylefleet")) == asked_for


def test_every_call_of_the_contract_is_recorded() -> None:
    contract = {name for name, _ in inspect.getmembers(Cluster, inspect.isfunction) if not name.startswith("_")}
    assert contract == CALLS.keys()


def test_the_role_grants_the_verbs_that_the_code_uses_and_no_other(
    chart: Chart, cluster: KubernetesCluster, recorder: Recorder
) -> None:
    for call in CALLS.values():
        call(cluster)
    lease = KubernetesLease(cluster._api._client, namespace="art", name="art-stylefleet")
    found = lease.read()
    assert found is not None
    lease.write(found)
    with pytest.raises(PreconditionFailed):
        lease.write({"metadata": {}})
    reads_workloads = BUCKET | {"worker": {"readWorkloads": True}}
    assert granted(chart.render(reads_workloads).find("Role")) == recorder.rights
    assert granted(chart.render(BUCKET).find("Role")) == recorder.rights - {WORKLOADS}


def test_in_a_tenants_namespace_the_role_grants_what_is_done_with_jobs_and_no_more(
    chart: Chart, cluster: KubernetesCluster, recorder: Recorder
) -> None:
    for call in CALLS.values():
        call(cluster)
    reads_workloads = VARIANTS["tenants"] | {"worker": {"readWorkloads": True}}
    assert granted(chart.render(reads_workloads).find("Role", namespace="art-jobs")) == recorder.rights
    without = chart.render(VARIANTS["tenants"]).find("Role", namespace="art-jobs")
    assert granted(without) == recorder.rights - {WORKLOADS}


def test_a_lease_of_another_name_cannot_be_changed(chart: Chart) -> None:
    rules = [r for r in chart.render(BUCKET).find("Role")["rules"] if r["resources"] == ["leases"]]
    assert [r.get("resourceNames") for r in rules if r["verbs"] != ["create"]] == [["art-stylefleet"]]


def test_the_recorder_sees_what_each_call_asks_for(cluster: KubernetesCluster, recorder: Recorder) -> None:
    cluster.delete_job(replace(JOB_VIEW, deleting=False))
    assert recorder.rights == {("batch", "jobs", verb) for verb in ("get", "patch", "delete")}
    assert naming.FINALIZER in JOB["metadata"]["finalizers"]
