"""The worker as a process: settings -> store -> one shard -> an exit code that the Job's pod failure policy reads."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import structlog

from stylefleet import logs
from stylefleet.errors import ExitCode, PermanentError, PreconditionFailed, TransientError
from stylefleet.settings import worker_settings
from stylefleet.store_s3 import S3Store, make_client
from stylefleet.worker import Stopped, Worker, load_shard, stop_on_sigterm

log = structlog.get_logger(__name__)

EXIT_SIGTERM = 128 + 15


def main(environment: Mapping[str, str]) -> int:
    """Do the shard that the environment names; the exit code says whether another attempt makes sense."""
    stop = stop_on_sigterm()
    logs.configure(component="worker")
    try:
        settings = worker_settings(environment)
        structlog.contextvars.bind_contextvars(
            manifest=settings.name, run=settings.run, shard=settings.shard, attempt=settings.attempt
        )
        store = S3Store(make_client(settings.store.endpoint_url, settings.store.region))
        plan, tasks = load_shard(store, settings)
        worker = Worker(
            store=store, settings=settings, plan=plan, tasks=tasks, clock=lambda: datetime.now(UTC), stop=stop
        )
        worker.run()
    except Stopped:
        log.warning("worker_stopped")
        return EXIT_SIGTERM
    except (TransientError, PreconditionFailed) as error:
        log.error("worker_failed", error=str(error), retry=True)  # noqa: TRY400 - an outage needs no traceback
        return ExitCode.RETRYABLE
    except PermanentError as error:
        log.error("worker_failed", error=str(error), retry=False)  # noqa: TRY400 - the sentence says it all
        return ExitCode.SHARD_INVALID
    return ExitCode.OK
