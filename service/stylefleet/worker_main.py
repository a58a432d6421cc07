"""The worker as a process: settings -> store -> one shard -> an exit code that the Job's pod failure policy reads."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from stylefleet import http_server, logs
from stylefleet.errors import ExitCode, PermanentError, PreconditionFailed, SettingsInvalid, StepHung, TransientError
from stylefleet.settings import WorkerSettings, worker_settings
from stylefleet.spans import NoSpans, Spans
from stylefleet.stopping import Stop, Stopped
from stylefleet.store_s3 import S3Store, make_client
from stylefleet.worker import Worker, load_shard
from stylefleet.worker_metrics import WorkerMetrics

log = structlog.get_logger(__name__)


def main(environment: Mapping[str, str], stop: Stop, *, began: float) -> ExitCode:
    """Do the shard that the environment names; the exit code says whether another attempt makes sense. Does not return
    where the shard is unfinished because the process was told to end. `began` is when it set out, by time.monotonic."""
    code = _outcome(environment, stop, began)
    if stop.told and code != ExitCode.OK:
        # Python itself would first wait for every thread, in a step or in a request to the store.
        os._exit(ExitCode.TERMINATED)
    return code


def _outcome(environment: Mapping[str, str], stop: Stop, began: float) -> ExitCode:
    spans: Spans = NoSpans()
    try:
        settings = worker_settings(environment)
        logs.bind(manifest=settings.name, run=settings.run, shard=settings.shard, attempt=settings.attempt)
        spans = _spans(settings)
        metrics = WorkerMetrics()
        if settings.metrics is not None:
            _serve(metrics, *settings.metrics)
        store = S3Store(make_client(settings.store.endpoint_url, settings.store.region), traffic=metrics.s3)
        plan, tasks = load_shard(store, settings)
        worker = Worker(
            store=store,
            settings=settings,
            plan=plan,
            tasks=tasks,
            clock=lambda: datetime.now(UTC),
            stop=stop,
            began=began,
            metrics=metrics,
            spans=spans,
        )
        worker.run()
    except Stopped:
        log.warning("worker_stopped")
        return ExitCode.TERMINATED
    except StepHung as error:
        log.error("worker_failed", error=str(error), retry=True)  # noqa: TRY400 - it says where
        os._exit(ExitCode.RETRYABLE)  # Python itself would first wait for the thread that hangs
    except (TransientError, PreconditionFailed) as error:
        log.error("worker_failed", error=str(error), retry=True)  # noqa: TRY400 - an outage needs no traceback
        return ExitCode.RETRYABLE
    except PermanentError as error:
        log.error("worker_failed", error=str(error), retry=False)  # noqa: TRY400 - the sentence says it all
        return ExitCode.SHARD_INVALID
    finally:
        spans.close()
    return ExitCode.OK


def _spans(settings: WorkerSettings) -> Spans:
    """Nothing of OpenTelemetry is loaded where nobody asks for it. Raises SettingsInvalid."""
    if settings.otlp_endpoint is None:
        return NoSpans()
    try:
        from stylefleet.tracing import OpenTelemetrySpans
    except ImportError as error:
        raise SettingsInvalid(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, and OpenTelemetry is not installed: pip install stylefleet[tracing], "
            f"or unset it ({error})"
        ) from error
    return OpenTelemetrySpans(manifest=settings.name, run=settings.run, shard=settings.shard, attempt=settings.attempt)


def _serve(metrics: WorkerMetrics, host: str, port: int) -> None:
    try:
        http_server.serve(metrics.registry, None, host=host, port=port)
    except OSError as error:
        # Some other program of this machine has the port: no reason to leave pictures undone.
        log.error("metrics_not_served", port=port, error=str(error))  # noqa: TRY400 - the sentence says it all
