"""The controller as a process: settings -> edges -> stand by until it leads -> tick, sleep, tick, until SIGTERM."""

from __future__ import annotations

import secrets
import signal
import threading
import time
from collections.abc import Callable

import structlog

from stylefleet import http_server, notifications, store
from stylefleet.cluster import Cluster
from stylefleet.cluster_local import LocalCluster
from stylefleet.cluster_namespaces import NamespacedCluster
from stylefleet.controller import Controller
from stylefleet.dry_run import DryRunCluster, DryRunStore
from stylefleet.errors import SettingsInvalid, StylefleetError, TransientError
from stylefleet.http_server import Health
from stylefleet.leader import RETRY_SECONDS, Elector
from stylefleet.metrics import ControllerMetrics
from stylefleet.naming import CACHE_PREFIX, Ref
from stylefleet.notifications import SqsQueue
from stylefleet.planner import Pace
from stylefleet.request_metrics import KubernetesMetrics, S3Metrics
from stylefleet.settings import ControllerSettings
from stylefleet.store_s3 import S3Store, make_client
from stylefleet.traffic import Traffic

log = structlog.get_logger(__name__)

STALE_TICKS = 10
STALE_SECONDS_MIN = 120.0
LOOKS_SECONDS_MIN = 1.0
"""Between two looks, however many notifications come."""


def run(settings: ControllerSettings, *, once: bool, dry_run: bool) -> None:
    """Run until SIGTERM or SIGINT, or for one tick. Raises StylefleetError where it cannot start."""
    if once and settings.cluster == "local" and not dry_run:
        raise SettingsInvalid(
            "--once needs STYLEFLEET_CLUSTER=kubernetes: local workers live only as long as their controller. "
            "With --dry-run it only looks, on any cluster"
        )
    if once and settings.election is not None and not dry_run:
        raise SettingsInvalid("--once takes no part in the election: unset STYLEFLEET_LEASE, or add --dry-run")
    bucket = settings.store.bucket
    if not dry_run:
        # Before the election, so that a standby with wrong settings does not wait for its hour to say so.
        store.probe(S3Store(make_client(settings.store.endpoint_url, settings.store.region)), Ref(bucket, CACHE_PREFIX))
    elector = None if dry_run else _elector(settings)
    before_send = None if elector is None else elector.confirm
    metrics = ControllerMetrics(price=settings.price)
    client = make_client(settings.store.endpoint_url, settings.store.region, before_send=before_send)
    s3 = S3Store(client, traffic=S3Metrics(metrics.registry))
    cluster = _cluster(settings, metrics, look_only=dry_run, before_send=before_send)
    controller = Controller(
        store=DryRunStore(s3, bucket) if dry_run else s3,
        cluster=DryRunCluster(cluster) if dry_run else cluster,
        bucket=bucket,
        allowed=settings.allowed,
        tenants=settings.tenants,
        limits=settings.limits,
        template=settings.worker,
        pace=Pace(
            shard_seconds=settings.shard_seconds,
            worker_flops=settings.worker_flops,
            workers_max=settings.local_slots if settings.cluster == "local" else None,
        ),
        metrics=metrics,
        price=settings.price,
    )
    try:
        if once:
            controller.tick()
            controller.tick()  # a manifest counts as deleted only when it was seen gone twice
        else:
            _serve(controller, settings, metrics, elector)
    finally:
        if isinstance(cluster, LocalCluster):
            cluster.close()


def _cluster(
    settings: ControllerSettings,
    metrics: ControllerMetrics,
    *,
    look_only: bool,
    before_send: Callable[[], None] | None,
) -> Cluster:
    if settings.cluster == "local":
        metrics_port = settings.http_port + 1 if settings.http_port else None
        return LocalCluster(
            settings.local_folder, slots=settings.local_slots, look_only=look_only, metrics_port=metrics_port
        )
    return kubernetes_cluster(settings, before_send=before_send, traffic=KubernetesMetrics(metrics.registry))


def kubernetes_cluster(
    settings: ControllerSettings,
    *,
    before_send: Callable[[], None] | None = None,
    traffic: Traffic | None = None,
) -> Cluster:
    """The namespaces in which this service makes Jobs."""
    from stylefleet import cluster_kubernetes, kubernetes_api

    connection = kubernetes_api.connect(before_send=before_send, traffic=traffic)
    clusters = {
        namespace: cluster_kubernetes.KubernetesCluster(connection, namespace) for namespace in settings.namespaces
    }
    return NamespacedCluster(clusters) if len(clusters) > 1 else clusters[settings.worker.namespace]


def _elector(settings: ControllerSettings) -> Elector | None:
    election = settings.election
    if election is None:
        return None
    from stylefleet import kubernetes_api, lease_kubernetes

    # A connection of its own: renewals never wait for one.
    lease = lease_kubernetes.KubernetesLease(
        kubernetes_api.connect(), namespace=settings.worker.namespace, name=election.lease
    )
    # A container that was restarted has its pod's name again, but is not the process that held the Lease.
    return Elector(lease, me=f"{election.identity}_{secrets.token_hex(4)}")


def _serve(
    controller: Controller, settings: ControllerSettings, metrics: ControllerMetrics, elector: Elector | None
) -> None:
    stop, wake = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        stop.set()
        wake.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    queue = SqsQueue(settings.notifications, settings.store.region) if settings.notifications else None
    health = Health(stale_after_seconds=max(STALE_SECONDS_MIN, STALE_TICKS * settings.poll_seconds))
    server = http_server.serve(metrics.registry, health, port=settings.http_port)
    log.info("controller_started", bucket=settings.store.bucket, cluster=settings.cluster, http_port=server.server_port)

    def act() -> None:
        with notifications.listening(queue, settings.store.bucket, wake=wake):
            _tick_until(stop, wake, controller, settings, metrics, health)

    if elector is None:
        act()
    else:
        metrics.leader.set_function(lambda: float(elector.leading))
        try:
            if _stand_by(stop, elector, health):
                elector.start()
                act()
        finally:
            elector.release()
    log.info("controller_stopped")


def _stand_by(stop: threading.Event, elector: Elector, health: Health) -> bool:
    """Look at the Lease until it is ours; False where the process is to end before. A standby is live and ready."""
    while not stop.is_set():
        try:
            if elector.look():
                return True
            health.succeeded()
        except StylefleetError as error:
            if not (health.ready or isinstance(error, TransientError)):
                raise  # never worked: wrong settings, not weather
            log.warning("lease_unavailable", error=str(error))
        stop.wait(RETRY_SECONDS)
    return False


def _tick_until(
    stop: threading.Event,
    wake: threading.Event,
    controller: Controller,
    settings: ControllerSettings,
    metrics: ControllerMetrics,
    health: Health,
) -> None:
    ticked = False
    while not stop.is_set():
        wake.clear()  # before the look: what comes during it is for the next
        started, rest = time.monotonic(), settings.poll_seconds
        try:
            rest = 0.0 if controller.tick() else until_next_look(rest, time.monotonic() - started)
            health.succeeded()
            ticked = True
        except StylefleetError as error:
            if not ((ticked and health.ready) or isinstance(error, TransientError)):
                raise  # never worked: wrong settings, not weather
            # The bucket or the cluster is away: say so, stay, look again. /healthz tells when this goes on too long.
            metrics.tick_failures.labels(scope="tick").inc()
            log.warning("tick_failed", error=str(error))
        pause(stop, wake, rest)


def until_next_look(poll_seconds: float, took_seconds: float) -> float:
    """How long to rest after a look: looks begin `poll_seconds` apart, so what comes during a long one waits no longer
    than anything else."""
    return max(min(poll_seconds, LOOKS_SECONDS_MIN), poll_seconds - took_seconds)


def pause(stop: threading.Event, wake: threading.Event, seconds: float) -> None:
    """Until the next look: `seconds`, or less where `wake` is set; whoever sets `stop` sets both."""
    if not stop.wait(min(seconds, LOOKS_SECONDS_MIN)):
        wake.wait(max(0.0, seconds - LOOKS_SECONDS_MIN))
