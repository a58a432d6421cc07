"""What the edges tell of their requests to whoever counts them, and the words for how these end."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

S3Result = Literal["ok", "not_found", "precondition_failed", "throttled", "denied", "unavailable"]
S3_RESULTS: tuple[S3Result, ...] = get_args(S3Result)
S3_OPERATIONS = ("GetObject", "HeadObject", "PutObject", "DeleteObject", "ListObjectsV2")
"""That a store asks for."""

KubernetesResult = Literal["ok", "conflict", "not_found", "throttled", "denied", "unavailable", "invalid"]
KUBERNETES_RESULTS: tuple[KubernetesResult, ...] = get_args(KubernetesResult)
KUBERNETES_VERBS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Traffic(Protocol):
    """Told of requests, by several threads."""

    def answered(self, kind: str, result: str) -> None:
        """An attempt of a request of this kind (operation or verb) ended like this."""

    def took(self, kind: str, seconds: float) -> None:
        """A request took so long, with all its attempts."""


class Uncounted:
    """Nobody counts."""

    def answered(self, kind: str, result: str) -> None:
        pass

    def took(self, kind: str, seconds: float) -> None:
        pass
