"""Deployment values: the only reader of the environment. Never mixed with the recipe."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from stylefleet import naming, worker_pod
from stylefleet import tenants as tenancy
from stylefleet.errors import SettingsInvalid
from stylefleet.jobs import WorkerTemplate
from stylefleet.memory import bytes_of
from stylefleet.naming import Ref
from stylefleet.policies.admission import Limits
from stylefleet.price import Price
from stylefleet.tenants import Tenants


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where the bucket is. Credentials come from the AWS default chain, never from here."""

    bucket: str
    """STYLEFLEET_BUCKET: the service's own bucket."""
    endpoint_url: str | None
    """STYLEFLEET_S3_ENDPOINT: an S3 server other than AWS, such as `http://minio:9000`."""
    region: str | None
    """AWS_REGION."""


@dataclass(frozen=True, kw_only=True)
class ElectionSettings:
    """How several controllers of one bucket agree on the one that acts."""

    lease: str
    """STYLEFLEET_LEASE: name of the coordination.k8s.io Lease, in STYLEFLEET_NAMESPACE."""
    identity: str
    """STYLEFLEET_IDENTITY: the pod's name."""


@dataclass(frozen=True, kw_only=True)
class ControllerSettings:
    """What the controller needs to know of its place."""

    store: StoreSettings
    cluster: Literal["kubernetes", "local"]
    """STYLEFLEET_CLUSTER: where workers run."""
    allowed: tuple[Ref, ...]
    """STYLEFLEET_ALLOWED: folders that manifests may read and write, separated by spaces; the own bucket by default."""
    tenants: Tenants
    """STYLEFLEET_TENANTS: who has a folder of the inbox, in place of STYLEFLEET_ALLOWED: a JSON list, or its file."""
    poll_seconds: float
    """STYLEFLEET_POLL_SECONDS: pause between two looks at the bucket."""
    notifications: str | None
    """STYLEFLEET_NOTIFICATIONS: URL of the SQS queue with the bucket's notifications, which shorten that pause."""
    http_port: int
    """STYLEFLEET_HTTP_PORT: /metrics, /healthz and /readyz; 0 takes any free port. Local workers have the next ones."""
    shard_seconds: float
    """STYLEFLEET_SHARD_SECONDS: predicted work of one shard."""
    worker_flops: float
    """STYLEFLEET_WORKER_GFLOPS times 1e9: assumed speed of a worker, for the prediction only."""
    worker: WorkerTemplate
    election: ElectionSettings | None
    """None without STYLEFLEET_LEASE: this controller acts alone."""
    parallelism_max: int | None
    """STYLEFLEET_PARALLELISM_MAX: workers at a time, over all runs."""
    price: Price | None
    """STYLEFLEET_PRICE_PER_GPU_HOUR in STYLEFLEET_CURRENCY; None where it is not set: then no cost is said anywhere."""
    local_folder: Path
    """STYLEFLEET_LOCAL_FOLDER: state and worker logs of the local cluster."""
    local_slots: int
    """STYLEFLEET_LOCAL_SLOTS: worker processes at a time."""

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where there may be Jobs; the controller's own namespace first."""
        return tenancy.namespaces(self.tenants, default=self.worker.namespace)

    @property
    def limits(self) -> Limits:
        """Who may have how many workers."""
        tenants = self.tenants.items()
        return Limits(
            total=self.parallelism_max,
            by_tenant={name: t.parallelism_max for name, t in tenants if t.parallelism_max is not None},
            weights={name: t.weight for name, t in tenants},
        )

    def for_tenant(self, tenant: str) -> ControllerSettings:
        """What counts for one tenant's Jobs: its namespace, in which there is no Lease. Raises SettingsInvalid."""
        if tenant not in self.tenants:
            allowed = ", ".join(self.tenants) or "none, since STYLEFLEET_TENANTS is not set"
            raise SettingsInvalid(f"--tenant: found {tenant!r}, allowed are {allowed}")
        namespace = self.tenants[tenant].namespace or self.worker.namespace
        return replace(self, worker=replace(self.worker, namespace=namespace), election=None)


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What a worker needs to know: which shard, and where the bucket is."""

    store: StoreSettings
    name: str
    run: str
    shard: int
    """JOB_COMPLETION_INDEX, set by Kubernetes."""
    attempt: str
    """STYLEFLEET_ATTEMPT: the pod's name."""
    weights_path: Path | None
    """STYLEFLEET_VGG19_WEIGHTS: file with the Keras VGG19 ImageNet weights; None also where it is an object."""
    weights_object: Ref | None
    """STYLEFLEET_VGG19_WEIGHTS as s3://bucket/key: the same in a bucket."""
    weights_sha256: str | None
    """STYLEFLEET_VGG19_SHA256: the SHA-256 (hex) that either must have."""
    metrics: tuple[str, int] | None
    """STYLEFLEET_METRICS_HOST (empty: all addresses) and STYLEFLEET_METRICS_PORT, for /metrics; None without a port."""
    otlp_endpoint: str | None
    """OTEL_EXPORTER_OTLP_ENDPOINT: where spans go; None: there are none."""


_WORKER_VARIABLES = (
    "STYLEFLEET_VGG19_WEIGHTS",
    "STYLEFLEET_VGG19_SHA256",
    "TF_NUM_INTRAOP_THREADS",
    # Not its headers, which may hold a key: those belong into the workers' Secret.
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_SERVICE_NAME",
    "OTEL_RESOURCE_ATTRIBUTES",
)
"""What the controller passes on to its workers where it is set."""


_OTLP_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_ENDPOINT = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_QUEUE_URL = re.compile(r"https?://[^\s/?#@]+/[^\s?#@]+")


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise SettingsInvalid(f"{name} is not set")
    return value


def _number(environment: Mapping[str, str], name: str, default: float, *, minimum: float) -> float:
    text = environment.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not minimum <= value < float("inf"):
        raise SettingsInvalid(f"{name}: found {text!r}, allowed is a number of at least {minimum:g}")
    return value


def _whole(environment: Mapping[str, str], name: str, default: int | None, *, minimum: int, maximum: int) -> int:
    """A whole number; required where there is no default."""
    text = _required(environment, name) if default is None else environment.get(name) or str(default)
    try:
        value = int(text)
    except ValueError:
        value = minimum - 1
    if not minimum <= value <= maximum:
        raise SettingsInvalid(f"{name}: found {text!r}, allowed is a whole number from {minimum} to {maximum}")
    return value


def _parallelism_max(environment: Mapping[str, str]) -> int | None:
    name = "STYLEFLEET_PARALLELISM_MAX"
    return _whole(environment, name, None, minimum=1, maximum=1_000_000) if environment.get(name) else None


def _price(environment: Mapping[str, str]) -> Price | None:
    currency = environment.get("STYLEFLEET_CURRENCY") or "USD"
    if not _CURRENCY.fullmatch(currency):
        rule = "three capital letters as in ISO 4217, such as EUR"
        raise SettingsInvalid(f"STYLEFLEET_CURRENCY: found {currency!r}, allowed are {rule}")
    name = "STYLEFLEET_PRICE_PER_GPU_HOUR"
    if not environment.get(name):
        return None
    return Price(per_gpu_hour=_number(environment, name, 0.0, minimum=0.0), currency=currency)


def _endpoint(environment: Mapping[str, str], name: str) -> str | None:
    endpoint = environment.get(name) or None
    if endpoint is not None and not _ENDPOINT.fullmatch(endpoint):
        # Not quoted: a user and a password in it would now be in the log, and later in every Job.
        raise SettingsInvalid(f"{name}: allowed is an address such as http://minio:9000, without user and query")
    return endpoint


def _queue_url(environment: Mapping[str, str]) -> str | None:
    url = environment.get("STYLEFLEET_NOTIFICATIONS") or None
    if url is not None and not _QUEUE_URL.fullmatch(url):
        example = "https://sqs.eu-west-1.amazonaws.com/111122223333/stylefleet"
        raise SettingsInvalid(
            f"STYLEFLEET_NOTIFICATIONS: allowed is a queue's URL such as {example}, without user and query"
        )
    return url


def _memory(environment: Mapping[str, str], name: str, default: str) -> str:
    text = environment.get(name) or default
    try:
        bytes_of(text)
    except ValueError as error:
        raise SettingsInvalid(f"{name}: {error}") from error
    return text


def store_settings(environment: Mapping[str, str] = os.environ) -> StoreSettings:
    """Raises SettingsInvalid."""
    bucket = _required(environment, "STYLEFLEET_BUCKET")
    if not naming.BUCKET_PATTERN.fullmatch(bucket):
        rule = "3 to 63 lower-case letters, digits, dots and hyphens"
        raise SettingsInvalid(f"STYLEFLEET_BUCKET: found {bucket!r}, allowed is a bucket's name: {rule}")
    return StoreSettings(
        bucket=bucket,
        endpoint_url=_endpoint(environment, "STYLEFLEET_S3_ENDPOINT"),
        region=environment.get("AWS_REGION") or None,
    )


def client_settings(
    *, bucket: str | None, endpoint_url: str | None, environment: Mapping[str, str] = os.environ
) -> StoreSettings:
    """What a program says where its service is; the environment says what it leaves out. Raises SettingsInvalid."""
    given = {"STYLEFLEET_BUCKET": bucket, "STYLEFLEET_S3_ENDPOINT": endpoint_url}
    return store_settings({**environment, **{name: value for name, value in given.items() if value is not None}})


def controller_settings(environment: Mapping[str, str] = os.environ) -> ControllerSettings:
    """Raises SettingsInvalid."""
    store = store_settings(environment)
    cluster = environment.get("STYLEFLEET_CLUSTER") or "kubernetes"
    if cluster not in ("kubernetes", "local"):
        raise SettingsInvalid(f"STYLEFLEET_CLUSTER: found {cluster!r}, allowed are kubernetes and local")
    _weights_object(environment)  # refused here already, and not by every worker
    _endpoint(environment, _OTLP_ENDPOINT)
    http_port = _whole(environment, "STYLEFLEET_HTTP_PORT", 8080, minimum=0, maximum=65535)
    local_slots = _whole(environment, "STYLEFLEET_LOCAL_SLOTS", 1, minimum=1, maximum=1000)
    if cluster == "local" and http_port + local_slots > 65535:
        raise SettingsInvalid(
            f"STYLEFLEET_HTTP_PORT: found {http_port}, allowed are ports with {local_slots} more above, for the workers"
        )
    allowed = []
    for uri in (environment.get("STYLEFLEET_ALLOWED") or f"s3://{store.bucket}/").split():
        try:
            allowed.append(naming.parse_uri(uri))
        except ValueError as error:
            rule = "folders such as s3://bucket/folder/, separated by spaces"
            raise SettingsInvalid(f"STYLEFLEET_ALLOWED: found {uri!r} ({error}), allowed are {rule}") from error
    return ControllerSettings(
        store=store,
        cluster="local" if cluster == "local" else "kubernetes",
        allowed=tuple(allowed),
        tenants=_tenants(environment, store.bucket),
        poll_seconds=_number(environment, "STYLEFLEET_POLL_SECONDS", 10, minimum=0.1),
        notifications=_queue_url(environment),
        http_port=http_port,
        shard_seconds=_number(environment, "STYLEFLEET_SHARD_SECONDS", 900, minimum=1),
        worker_flops=1e9 * _number(environment, "STYLEFLEET_WORKER_GFLOPS", 10_000, minimum=0.001),
        worker=WorkerTemplate(
            image=environment.get("STYLEFLEET_WORKER_IMAGE") or "stylefleet-worker:latest",
            namespace=environment.get("STYLEFLEET_NAMESPACE") or "default",
            service_account=environment.get("STYLEFLEET_WORKER_SERVICE_ACCOUNT") or "default",
            bucket=store.bucket,
            s3_endpoint=_endpoint(environment, "STYLEFLEET_WORKER_S3_ENDPOINT") or store.endpoint_url,
            s3_region=store.region,
            credentials_secret=environment.get("STYLEFLEET_WORKER_SECRET") or None,
            gpu_resource=environment.get("STYLEFLEET_GPU_RESOURCE") or "nvidia.com/gpu",
            cpu=environment.get("STYLEFLEET_WORKER_CPU") or "1",
            memory=_memory(environment, "STYLEFLEET_WORKER_MEMORY", "8Gi"),
            environment=tuple((name, environment[name]) for name in _WORKER_VARIABLES if environment.get(name)),
            scratch=environment.get("STYLEFLEET_WORKER_SCRATCH") or "2Gi",
            pod=_worker_pod(environment),
        ),
        election=_election(environment, cluster),
        parallelism_max=_parallelism_max(environment),
        price=_price(environment),
        local_folder=Path(environment.get("STYLEFLEET_LOCAL_FOLDER") or ".stylefleet/jobs"),
        local_slots=local_slots,
    )


def _election(environment: Mapping[str, str], cluster: str) -> ElectionSettings | None:
    lease = environment.get("STYLEFLEET_LEASE")
    if not lease:
        return None
    if cluster != "kubernetes":
        raise SettingsInvalid(f"STYLEFLEET_LEASE: found {lease!r}, allowed only with STYLEFLEET_CLUSTER=kubernetes")
    return ElectionSettings(lease=lease, identity=_required(environment, "STYLEFLEET_IDENTITY"))


def _tenants(environment: Mapping[str, str], service_bucket: str) -> Tenants:
    text = environment.get("STYLEFLEET_TENANTS") or ""
    if not text:
        return {}
    if environment.get("STYLEFLEET_ALLOWED"):
        raise SettingsInvalid(
            "STYLEFLEET_ALLOWED: not allowed beside STYLEFLEET_TENANTS, where each tenant has its own"
        )
    try:
        if not text.lstrip().startswith(("[", "{")):
            text = Path(text).read_text()
        return tenancy.parse(text, service_bucket=service_bucket)
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"STYLEFLEET_TENANTS: {error}") from error


def _worker_pod(environment: Mapping[str, str]) -> worker_pod.WorkerPod:
    """STYLEFLEET_WORKER_POD: where and how worker pods run, as one JSON object."""
    try:
        return worker_pod.parse(environment.get("STYLEFLEET_WORKER_POD") or "{}")
    except ValueError as error:
        raise SettingsInvalid(f"STYLEFLEET_WORKER_POD: {error}") from error


def worker_settings(environment: Mapping[str, str] = os.environ) -> WorkerSettings:
    """Raises SettingsInvalid."""
    weights = environment.get("STYLEFLEET_VGG19_WEIGHTS")
    weights_object = _weights_object(environment)
    return WorkerSettings(
        store=store_settings(environment),
        name=_required(environment, "STYLEFLEET_NAME"),
        run=_required(environment, "STYLEFLEET_RUN"),
        shard=_whole(environment, "JOB_COMPLETION_INDEX", None, minimum=0, maximum=99_999),
        attempt=_required(environment, "STYLEFLEET_ATTEMPT"),
        weights_path=Path(weights) if weights and weights_object is None else None,
        weights_object=weights_object,
        weights_sha256=environment.get("STYLEFLEET_VGG19_SHA256") or None,
        metrics=_metrics(environment),
        otlp_endpoint=_endpoint(environment, _OTLP_ENDPOINT),
    )


def _metrics(environment: Mapping[str, str]) -> tuple[str, int] | None:
    name = "STYLEFLEET_METRICS_PORT"
    if not environment.get(name):
        return None
    return environment.get("STYLEFLEET_METRICS_HOST") or "", _whole(environment, name, None, minimum=1, maximum=65535)


def _weights_object(environment: Mapping[str, str]) -> Ref | None:
    """Of the weights, where they are no file."""
    uri = environment.get("STYLEFLEET_VGG19_WEIGHTS") or ""
    if not uri.startswith("s3://"):
        return None
    try:
        ref = naming.parse_uri(uri)
    except ValueError as error:
        raise SettingsInvalid(
            f"STYLEFLEET_VGG19_WEIGHTS: found {uri!r} ({error}), allowed is a file's path or s3://bucket/key"
        ) from error
    if not ref.key or ref.key.endswith("/"):
        raise SettingsInvalid(f"STYLEFLEET_VGG19_WEIGHTS: found the folder {uri!r}, allowed is one object")
    if not environment.get("STYLEFLEET_VGG19_SHA256"):
        raise SettingsInvalid(f"STYLEFLEET_VGG19_SHA256 is not set: weights from a bucket ({uri}) must be pinned by it")
    return ref
