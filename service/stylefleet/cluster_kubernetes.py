"""Kubernetes through the official client, in plain dicts: decoding typed models is 10 times slower and drops fields."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tenacity
import urllib3.exceptions
from kubernetes import client, config

from stylefleet import diagnosis, naming
from stylefleet.errors import AccessDenied, ClusterUnavailable, PermanentError, PreconditionFailed, SettingsInvalid
from stylefleet.jobs import JobView, Json, view
from stylefleet.rights import Right

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
        self._authorization = client.AuthorizationV1Api(api_client)
        self._namespace = namespace

    def create_job(self, job: Json) -> None:
        name = job["metadata"]["name"]
        try:
            self.post_job(job)
        except PreconditionFailed:
            # POST with a name of our own making is the lock: 409 with our run's label means we were here before.
            existing = self.read_job(name)
            found, ours = existing["metadata"].get("labels") or {}, job["metadata"]["labels"]
            if any(found.get(label) != ours[label] for label in (naming.LABEL_RUN, naming.LABEL_BUCKET)):
                raise PreconditionFailed(f"Job {self._namespace}/{name} exists and belongs to another run") from None

    def post_job(self, job: Json) -> Json:
        """Create a Job and return it as the API server made it; PreconditionFailed where one has its name."""
        return _json(lambda: self._batch.create_namespaced_job(self._namespace, job, **_OPTIONS))

    def read_job(self, name: str) -> Json:
        return _json(lambda: self._batch.read_namespaced_job(name, self._namespace, **_OPTIONS))

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

    def require_listed(self, namespace: str) -> None:
        """Nothing to say: `list_jobs` has raised."""

    def release_job(self, job: JobView) -> None:
        try:
            current = self.read_job(job.name)
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
        pending = self.pods(job.name, "Pending")
        held_up = diagnosis.of_waiting(pending)
        if held_up is not None:
            return str(held_up)
        failed = [] if pending else self.pods(job.name, "Failed")
        try:
            # Of the pod that nothing is known about, or else of the Job, which then could not make one.
            warnings = self.warnings(pending[0]["metadata"]["uid"] if pending else job.uid)
        except AccessDenied:
            return str(diagnosis.EVENTS_UNREADABLE)
        newest = max((p["metadata"]["creationTimestamp"] for p in failed), default="")
        found = diagnosis.of_events(warnings, since=newest) or diagnosis.of_ended(failed)
        return str(found or (diagnosis.STARTING if pending else diagnosis.NO_POD))

    def failed_because(self, job: JobView) -> str:
        found = diagnosis.of_ended(self.pods(job.name, "Failed"))
        return str(found or "")

    def pods(self, job_name: str, phase: str = "") -> list[Json]:
        """The first pods of a Job; only those in `phase`, where one is given."""
        page = _json(
            lambda: self._core.list_namespaced_pod(
                self._namespace,
                label_selector=f"batch.kubernetes.io/job-name={job_name}",
                field_selector=f"status.phase={phase}" if phase else "",
                limit=PODS_LOOKED_AT,
                **_OPTIONS,
            )
        )
        found: list[Json] = page["items"]
        return found

    def warnings(self, uid: str) -> list[Json]:
        """Warning events about the object with this uid."""
        page = _json(
            lambda: self._core.list_namespaced_event(
                self._namespace, field_selector=f"involvedObject.uid={uid},type=Warning", limit=PAGE, **_OPTIONS
            )
        )
        found: list[Json] = page["items"]
        return found

    def allows(self, right: Right) -> bool:
        """Whether this identity has the right; every authenticated user may ask that of itself."""
        attributes = {
            "namespace": self._namespace,
            "group": right.group,
            "resource": right.resource,
            "verb": right.verb,
        } | ({"name": right.name} if right.name else {})
        review = {"spec": {"resourceAttributes": attributes}}
        answer = _json(lambda: self._authorization.create_self_subject_access_review(review, **_OPTIONS))
        return bool(answer["status"]["allowed"])


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
