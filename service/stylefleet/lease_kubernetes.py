"""The Lease of the leader election in a real cluster: single requests, each well within the renew deadline."""

from __future__ import annotations

from kubernetes import client

from stylefleet.kubernetes_api import Gone, KubernetesApi
from stylefleet.leader import Json

TIMEOUT_SECONDS = (2.0, 3.0)
"""To connect and to read: after one half-open connection there is time to renew over another."""
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


class KubernetesLease:
    """One Lease by name."""

    def __init__(self, api_client: client.ApiClient, *, namespace: str, name: str) -> None:
        self._api = KubernetesApi(api_client, timeout_seconds=TIMEOUT_SECONDS)
        self._namespace = namespace
        self._name = name

    def read(self) -> Json | None:
        try:
            return self._request("GET", f"{_LEASES}/{{name}}")
        except Gone:
            return None

    def write(self, lease: Json) -> None:
        head = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        metadata = {**lease["metadata"], "name": self._name, "namespace": self._namespace}
        update = "resourceVersion" in metadata
        self._request(
            "PUT" if update else "POST",
            f"{_LEASES}/{{name}}" if update else _LEASES,
            body={**lease, **head, "metadata": metadata},
        )

    def _request(self, method: str, path: str, *, body: Json | None = None) -> Json:
        names = {"namespace": self._namespace, "name": self._name}
        return self._api.ask(method, path, names=names, body=body)
