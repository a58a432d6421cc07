"""The controller as a process: settings -> edges -> tick, sleep, tick, until SIGTERM."""

from __future__ import annotations

import signal
import threading
from datetime import UTC, datetime

import structlog

from stylefleet import http_server, store
from stylefleet.cluster import Cluster
from stylefleet.cluster_local import LocalCluster
from stylefleet.controller import Controller
from stylefleet.dry_run import DryRunCluster, DryRunStore
from stylefleet.errors import SettingsInvalid, StylefleetError, TransientError
from stylefleet.metrics import ControllerMetrics
from stylefleet.naming import CACHE_PREFIX, Ref
from stylefleet.planner import Pace
from stylefleet.settings import ControllerSettings
from stylefleet.store_s3 import S3Store, make_client

log = structlog.get_logger(__name__)

STALE_TICKS = 10
STALE_SECONDS_MIN = 120.0


def run(settings: ControllerSettings, *, once: bool, dry_run: bool) -> None:
    """Run until SIGTERM or SIGINT, or for one tick. Raises StylefleetError where it cannot start."""
    if once and settings.cluster == "local" and not dry_run:
        raise SettingsInvalid(
            "--once needs STYLEFLEET_CLUSTER=kubernetes: local workers live only as long as their controller. "
            "With --dry-run it only looks, on any cluster"
        )
    s3 = S3Store(make_client(settings.store.endpoint_url, settings.store.region))
    bucket = settings.store.bucket
    if not dry_run:
        store.probe(s3, Ref(bucket, CACHE_PREFIX))
    cluster = _cluster(settings, look_only=dry_run)
    metrics = ControllerMetrics()
    controller = Controller(
        store=DryRunStore(s3, bucket) if dry_run else s3,
        cluster=DryRunCluster(cluster) if dry_run else cluster,
        bucket=bucket,
        allowed=settings.allowed,
        template=settings.worker,
        pace=Pace(
            shard_seconds=settings.shard_seconds,
            worker_flops=settings.worker_flops,
            workers_max=settings.local_slots if settings.cluster == "local" else None,
        ),
        metrics=metrics,
        clock=lambda: datetime.now(UTC),
    )
    try:
        if once:
            controller.tick()
            controller.tick()  # a manifest counts as deleted only when it was seen gone twice
        else:
            _loop(controller, settings, metrics)
    finally:
        if isinstance(cluster, LocalCluster):
            cluster.close()


def _cluster(settings: ControllerSettings, *, look_only: bool) -> Cluster:
    if settings.cluster == "local":
        return LocalCluster(settings.local_folder, slots=settings.local_slots, look_only=look_only)
    from stylefleet import cluster_kubernetes

    return cluster_kubernetes.KubernetesCluster(cluster_kubernetes.connect(), settings.worker.namespace)


def _loop(controller: Controller, settings: ControllerSettings, metrics: ControllerMetrics) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    health = http_server.Health(stale_after_seconds=max(STALE_SECONDS_MIN, STALE_TICKS * settings.poll_seconds))
    server = http_server.serve(metrics.registry, health, port=settings.http_port)
    log.info("controller_started", bucket=settings.store.bucket, cluster=settings.cluster, http_port=server.server_port)
    while not stop.is_set():
        try:
            controller.tick()
            health.succeeded()
        except StylefleetError as error:
            if not (health.ready or isinstance(error, TransientError)):
                raise  # never worked: wrong settings, not weather
            # The bucket or the cluster is away: say so, stay, look again. /healthz tells when this goes on too long.
            metrics.tick_failures.labels(scope="tick").inc()
            log.warning("tick_failed", error=str(error))
        stop.wait(settings.poll_seconds)
    log.info("controller_stopped")
