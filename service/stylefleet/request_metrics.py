"""Prometheus metrics of requests to the store and to the API server; the same in the controller and in workers."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from stylefleet.traffic import KUBERNETES_RESULTS, KUBERNETES_VERBS, S3_OPERATIONS, S3_RESULTS

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class _RequestMetrics:
    """A traffic.Traffic: attempts by kind and result, and times by kind."""

    def __init__(
        self, registry: CollectorRegistry, name: str, label: str, kinds: Sequence[str], results: Sequence[str], to: str
    ) -> None:
        self._label = label
        self._requests = Counter(
            f"stylefleet_{name}_requests",
            f"Requests {to}, each attempt for itself, by {label} ({', '.join(kinds)}) and "
            f"result ({', '.join(results)}); unavailable is also what had no answer, and what is none of the others.",
            [label, "result"],
            registry=registry,
        )
        self._seconds = Histogram(
            f"stylefleet_{name}_request_duration_seconds",
            f"Time of requests {to}, with their retries, by {label} ({', '.join(kinds)}).",
            [label],
            buckets=_BUCKETS,
            registry=registry,
        )
        # Known combinations exist from the start, so that rate() sees the first event.
        for kind in kinds:
            self._seconds.labels(kind)
            for result in results:
                self._requests.labels(kind, result)

    def answered(self, kind: str, result: str) -> None:
        self._requests.labels(kind, result).inc()

    def took(self, kind: str, seconds: float) -> None:
        self._seconds.labels(kind).observe(seconds)


class S3Metrics(_RequestMetrics):
    """`stylefleet_s3_requests_total` and `stylefleet_s3_request_duration_seconds`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "s3", "operation", S3_OPERATIONS, S3_RESULTS, "to the object storage")


class KubernetesMetrics(_RequestMetrics):
    """`stylefleet_kubernetes_requests_total` and `stylefleet_kubernetes_request_duration_seconds`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(
            registry, "kubernetes", "verb", KUBERNETES_VERBS, KUBERNETES_RESULTS, "to the Kubernetes API server"
        )
