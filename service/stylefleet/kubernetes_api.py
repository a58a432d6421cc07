"""Requests to a Kubernetes API server: the official client's connection and credentials, bodies in plain JSON.

Not its typed methods: these refuse or drop the fields of newer API servers, decode ten times slower, and importing
those for pods alone costs a controller 70 MB.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tenacity
import urllib3.exceptions
from kubernetes import client, config

from stylefleet.errors import AccessDenied, ClusterUnavailable, PermanentError, PreconditionFailed, SettingsInvalid
from stylefleet.traffic import KubernetesResult, Traffic, Uncounted

Json = dict[str, Any]

TIMEOUT_SECONDS = (5.0, 30.0)
"""To connect and to read: a half-open connection must not hold the controller for ever."""
ATTEMPTS = 4
WAIT_SECONDS_MAX = 10.0
"""Between two attempts, whatever the server says."""
_BACKOFF = tenacity.wait_random_exponential(multiplier=0.5, max=WAIT_SECONDS_MAX)


class Gone(PermanentError):
    """The API server has no such object."""


class PatchRefused(PermanentError):
    """The object is not what the patch was made for: one of its tests did not hold (422)."""


class Expired(ClusterUnavailable):
    """The API server has forgotten where this listing was (410): it begins anew."""


class Busy(ClusterUnavailable):
    """The API server says when to come again."""

    def __init__(self, message: str, *, wait_seconds: float) -> None:
        self.wait_seconds = wait_seconds
        super().__init__(message)


def connect(
    config_file: Path | None = None,
    *,
    before_send: Callable[[], None] | None = None,
    traffic: Traffic | None = None,
) -> client.ApiClient:
    """In a pod: its service account; elsewhere: `config_file`, or KUBECONFIG, or ~/.kube/config.

    `before_send` is called before each attempt of each request; what it raises ends the request. `traffic` is told of
    each attempt.
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
    send, told = api_client.call_api, traffic or Uncounted()

    def watched(method: str, *arguments: Any, **options: Any) -> Any:
        if before_send is not None:
            before_send()
        started, result = time.monotonic(), "unavailable"
        try:
            answer = send(method, *arguments, **options)
            answer.read()  # which it keeps: a listing's body is most of its time
            result = _result(answer.status)
            return answer
        finally:
            told.answered(method, result)
            told.took(method, time.monotonic() - started)

    api_client.call_api = watched
    return api_client


def _result(status: int) -> KubernetesResult:
    """How an attempt ended, in one word."""
    if 200 <= status <= 299:
        return "ok"
    named: dict[int, KubernetesResult] = {
        401: "denied",
        403: "denied",
        404: "not_found",
        409: "conflict",
        410: "not_found",
        429: "throttled",
    }
    return named.get(status, "invalid" if status < 500 else "unavailable")


class KubernetesApi:
    """What may be asked of an API server, over one connection."""

    def __init__(self, api_client: client.ApiClient, *, timeout_seconds: tuple[float, float] = TIMEOUT_SECONDS) -> None:
        self._client = api_client
        self._timeout_seconds = timeout_seconds

    def ask(
        self,
        method: str,
        path: str,
        *,
        names: Mapping[str, str],
        query: Mapping[str, str] | None = None,
        body: Json | list[Json] | None = None,
        content_type: str = "application/json",
    ) -> Json:
        """One request: its JSON object. `names` are put into the path's braces. Raises Gone, Expired, AccessDenied,
        PatchRefused, PreconditionFailed, ClusterUnavailable and PermanentError."""
        return _parsed(self._ask(method, path, names, query, body, content_type))

    def read_text(self, path: str, *, names: Mapping[str, str], query: Mapping[str, str]) -> str:
        """What is no JSON: a log. Raises as `ask`."""
        return self._ask("GET", path, names, query, None, "application/json").decode(errors="replace")

    def _ask(
        self,
        method: str,
        path: str,
        names: Mapping[str, str],
        query: Mapping[str, str] | None,
        body: Json | list[Json] | None,
        content_type: str,
    ) -> bytes:
        request = self._client.param_serialize(
            method,
            path,
            path_params=dict(names),
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json, */*", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = self._client.call_api(*request, _request_timeout=self._timeout_seconds)
            data: bytes = answer.read()
        except client.ApiException as error:
            raise ClusterUnavailable(f"Kubernetes did not answer: {error.reason}") from error
        except urllib3.exceptions.HTTPError as error:
            raise ClusterUnavailable(f"Kubernetes did not answer: {error}") from error
        if not 200 <= answer.status <= 299:
            refused = _refusal(answer.status, answer.reason, data, again_after=answer.getheader("Retry-After") or "")
            raise PatchRefused(str(refused)) if (method, answer.status) == ("PATCH", 422) else refused
        return data

    def ask_again(self, method: str, path: str, **how: Any) -> Json:
        """As `ask`, which is repeated a few times where a fault may pass; not sooner than the server says."""
        retry = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=_wait_seconds,
            reraise=True,
        )
        return retry(lambda: self.ask(method, path, **how))


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, ClusterUnavailable) and not isinstance(error, Expired)


def _wait_seconds(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    told = error.wait_seconds if isinstance(error, Busy) else 0.0
    return min(max(told, _BACKOFF(state)), WAIT_SECONDS_MAX)


def _refusal(status: int, reason: str, data: bytes, *, again_after: str) -> Exception:
    message = f"Kubernetes answered {status} {reason}: {_message(data)}"
    if status == 404:
        return Gone(message)
    if status in (401, 403):
        return AccessDenied(message)
    if status == 409:
        return PreconditionFailed(message)
    if status == 410:
        return Expired(message)
    if status == 429 or status >= 500:
        # Whole seconds; a proxy may also say a date, which we do not heed.
        seconds = float(again_after) if again_after.isdecimal() else 0.0
        return Busy(message, wait_seconds=seconds) if seconds else ClusterUnavailable(message)
    return PermanentError(message)


def _message(data: bytes) -> str:
    text = data.decode(errors="replace")
    try:
        return str(json.loads(text).get("message", ""))
    except (AttributeError, ValueError):
        return text[:200]


def _parsed(data: bytes) -> Json:
    """The JSON object of an answer; raises ClusterUnavailable for some proxy's page with status 200."""
    try:
        answer = json.loads(data)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ClusterUnavailable(f"Kubernetes did not answer: what came is no JSON object but {data[:100]!r}")
    return answer
