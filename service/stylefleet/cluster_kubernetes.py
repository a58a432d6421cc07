"""Kubernetes through the official client, in plain dicts: decoding typed models is 10 times slower and drops fields."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tenacity
import urllib3.exceptions
from kubernetes import client, config

from stylefleet import naming
from stylefleet.errors import AccessDenied, ClusterUnavailable, PermanentError, PreconditionFailed, SettingsInvalid
from stylefleet.jobs import JobView, Json, view, waiting_reason

TIMEOUT_SECONDS = (5.0, 30.0)
"""To connect and to read: a half-open connection must not hold the controller for ever."""
PAGE = 500
PODS_LOOKED_AT = 20
ATTEMPTS = 4
_SELECTOR = f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}"


def connect(config_file: Path | None = None, *, before_send: Callable[[], None] | None = None) -> client.ApiClient:
    """In a pod: its service account; elsewhere: `config_file`, or KUBECONFIG, or ~/.kube/config.

    `before_send` is called before each attempt of each request; what it raises ends the request.
    """
    configuration = client.Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        try:
            config.load_kube_config(
                config_file=str(config_file) if config_file else None, client_configuration=configuration
            )
        except config.ConfigException as error:
            raise SettingsInvalid(
                f"no Kubernetes cluster: not in a pod, and no usable KUBECONFIG ({error}). "
                "Set KUBECONFIG, or STYLEFLEET_CLUSTER=local"
            ) from error
    configuration.retries = False  # urllib3's own would multiply with ours, and go out unseen by before_send
    api_client = client.ApiClient(configuration)
    if before_send is not None:
        send = api_client.call_api

        def checked(*arguments: Any, **options: Any) -> Any:
            before_send()
            return send(*arguments, **options)

        api_client.call_api = checked
    return api_client


class KubernetesCluster:
    """Jobs of one namespace of a real cluster."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self._batch = client.BatchV1Api(api_client)
        self._core = client.CoreV1Api(api_client)
        self._namespace = namespace

    def create_job(self, job: Json) -> None:
        name = job["metadata"]["name"]
        try:
            _call(lambda: self._batch.create_namespaced_job(self._namespace, job, **_OPTIONS))
        except PreconditionFailed:
            # POST with a name of our own making is the lock: 409 with our run's label means we were here before.
            existing = _json(lambda: self._batch.read_namespaced_job(name, self._namespace, **_OPTIONS))
            found, ours = existing["metadata"].get("labels") or {}, job["metadata"]["labels"]
            if any(found.get(label) != ours[label] for label in (naming.LABEL_RUN, naming.LABEL_BUCKET)):
                raise PreconditionFailed(f"Job {self._namespace}/{name} exists and belongs to another run") from None

    def list_jobs(self) -> list[JobView]:
        jobs: list[JobView] = []
        more: dict[str, Any] = {}
        while True:
            page = _json(
                lambda: self._batch.list_namespaced_job(
                    self._namespace,
                    label_selector=_SELECTOR,
                    limit=PAGE,
                    **more,  # noqa: B023 - called at once
                    **_OPTIONS,
                )
            )
            jobs += [view(job) for job in page["items"]]
            token = page["metadata"].get("continue")
            if not token:
                return jobs
            more = {"_continue": token}

    def release_job(self, job: JobView) -> None:
        try:
            current = _json(lambda: self._batch.read_namespaced_job(job.name, self._namespace, **_OPTIONS))
            if current["metadata"]["uid"] != job.uid:
                return
            finalizers = current["metadata"].get("finalizers") or []
            if naming.FINALIZER not in finalizers:
                return
            patch = [
                {"op": "test", "path": "/metadata/uid", "value": job.uid},
                {"op": "test", "path": "/metadata/finalizers", "value": finalizers},
                {
                    "op": "replace",
                    "path": "/metadata/finalizers",
                    "value": [f for f in finalizers if f != naming.FINALIZER],
                },
            ]
            _call(
                lambda: self._batch.patch_namespaced_job(
                    job.name, self._namespace, patch, _content_type="application/json-patch+json", **_OPTIONS
                )
            )
        except Gone:
            return

    def delete_job(self, job: JobView) -> None:
        self.release_job(job)
        if job.deleting:
            return
        # Foreground: the Job stays listed until its pods have ended; nobody takes it for gone while they still write.
        # (The API's default for Jobs would even leave the pods running as orphans.)
        options = client.V1DeleteOptions(
            propagation_policy="Foreground", preconditions=client.V1Preconditions(uid=job.uid)
        )
        try:
            _call(lambda: self._batch.delete_namespaced_job(job.name, self._namespace, body=options, **_OPTIONS))
        except (Gone, PreconditionFailed):
            return

    def waiting_because(self, job: JobView) -> str:
        pods = _json(
            lambda: self._core.list_namespaced_pod(
                self._namespace,
                label_selector=f"batch.kubernetes.io/job-name={job.name}",
                field_selector="status.phase=Pending",
                limit=PODS_LOOKED_AT,
                **_OPTIONS,
            )
        )
        return waiting_reason(pods["items"])


_OPTIONS: dict[str, Any] = {"_request_timeout": TIMEOUT_SECONDS, "_preload_content": False}


class Gone(PermanentError):
    """The API server has no such object."""


def _json(request: Callable[[], Any]) -> Json:
    return parsed(_call(request))


def parsed(data: bytes) -> Json:
    """The JSON object of an answer; raises ClusterUnavailable for some proxy's page with status 200."""
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ClusterUnavailable(f"Kubernetes did not answer: what came is no JSON object but {data[:100]!r}")
    return answer


def _call(request: Callable[[], Any]) -> bytes:
    """Run one request, translate its failure, and retry what is transient."""
    retry = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(ClusterUnavailable),
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
        reraise=True,
    )
    return retry(lambda: once(request))


def once(request: Callable[[], Any]) -> bytes:
    """Run one request and read its answer. Raises Gone, AccessDenied, PreconditionFailed, ClusterUnavailable and
    PermanentError."""
    try:
        data: bytes = request().data
    except client.ApiException as error:
        message = f"Kubernetes answered {error.status} {error.reason}: {_message(error)}"
        if error.status == 404:
            raise Gone(message) from error
        if error.status in (401, 403):
            raise AccessDenied(message) from error
        if error.status == 409:
            raise PreconditionFailed(message) from error
        if error.status in (410, 429) or (error.status or 500) >= 500:
            raise ClusterUnavailable(message) from error
        raise PermanentError(message) from error
    except urllib3.exceptions.HTTPError as error:
        raise ClusterUnavailable(f"Kubernetes did not answer: {error}") from error
    return data


def _message(error: client.ApiException) -> str:
    try:
        return str(json.loads(error.body or "{}").get("message", ""))
    except ValueError:
        return str(error.body)[:200]
