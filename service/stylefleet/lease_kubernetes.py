"""The Lease of the leader election in a real cluster: single requests, each well within the renew deadline."""

from __future__ import annotations

from typing import Any

from kubernetes import client

from stylefleet.cluster_kubernetes import Gone, once, parsed
from stylefleet.leader import Json

TIMEOUT_SECONDS = (2.0, 3.0)
"""To connect and to read: after one half-open connection there is time to renew over another."""
_LEASES = "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


class KubernetesLease:
    """One Lease by name. In plain JSON: typed models refuse or drop the fields of a newer API server."""

    def __init__(self, api_client: client.ApiClient, *, namespace: str, name: str) -> None:
        self._api = api_client
        self._namespace = namespace
        self._name = name

    def read(self) -> Json | None:
        try:
            return parsed(self._request("GET", f"{_LEASES}/{{name}}"))
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

    def _request(self, method: str, path: str, *, body: Json | None = None) -> bytes:
        def send() -> Any:
            request = self._api.param_serialize(
                method,
                path,
                path_params={"namespace": self._namespace, "name": self._name},
                query_params=[],
                header_params={"Accept": "application/json", "Content-Type": "application/json"},
                body=body,
                auth_settings=["BearerToken"],
            )
            answer = self._api.call_api(*request, _request_timeout=TIMEOUT_SECONDS)
            data = answer.read()
            if not 200 <= answer.status <= 299:
                raise client.ApiException(
                    status=answer.status, reason=answer.reason, body=data.decode(errors="replace")
                )
            return answer

        return once(send)
