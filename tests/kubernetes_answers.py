"""What KubernetesCluster rests on in an API server's answers. Asked of a real one and of the tests' double alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from stylefleet import naming
from stylefleet.cluster_kubernetes import KubernetesCluster
from stylefleet.errors import PreconditionFailed
from stylefleet.jobs import Json
from stylefleet.kubernetes_api import Gone, PatchRefused

_JOB = "/apis/batch/v1/namespaces/{namespace}/jobs/{name}"


def check(cluster: KubernetesCluster, job: Json) -> None:
    """Of a Job that is made for it, and gone in the end."""
    name = job["metadata"]["name"]

    def ask(method: str, **how: Any) -> Callable[[], Json]:
        where = {"namespace": job["metadata"]["namespace"], "name": name}
        return lambda: cluster._api.ask(method, _JOB, names=where, **how)

    def patch(*operations: Json) -> Callable[[], Json]:
        return ask("PATCH", body=list(operations), content_type="application/json-patch+json")

    def delete(uid: str) -> Callable[[], Json]:
        return ask("DELETE", body={"propagationPolicy": "Background", "preconditions": {"uid": uid}})

    def finalizers(*names: str, operation: str = "replace") -> Json:
        return {"op": operation, "path": "/metadata/finalizers", "value": list(names)}

    made = cluster.post_job(job)
    uid = made["metadata"]["uid"]
    _refused(PreconditionFailed, lambda: cluster.post_job(job))
    _refused(PreconditionFailed, delete("of-another"))
    _refused(PatchRefused, patch(finalizers("of-another", operation="test"), finalizers()))
    _refused(PatchRefused, patch({"op": "test", "path": "/metadata/uid", "value": "of-another"}, finalizers()))
    assert ask("GET")()["metadata"]["finalizers"] == [naming.FINALIZER]

    delete(uid)()
    assert ask("GET")()["metadata"]["deletionTimestamp"], "a finalizer keeps it"
    delete(uid)()
    patch(finalizers(naming.FINALIZER, operation="test"), finalizers())()
    for gone in (ask("GET"), patch(finalizers()), delete(uid)):
        _refused(Gone, gone)


def _refused(error: type[Exception], request: Callable[[], Json]) -> None:
    with pytest.raises(error):
        request()
