"""In the lab's network: prepares buckets and Jobs, runs the measured process, puts manifests, prints what was found.

`python -m benchmarks.controller_stage RUNS` prepares; with `ticks` as argument it is the measured process.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from tests.builders import TEMPLATE, jpeg_bytes, make_plan, make_receipt, manifest_bytes

from stylefleet import kubernetes_api, naming, plan, receipt, status
from stylefleet.cluster_kubernetes import KubernetesCluster
from stylefleet.controller import Controller
from stylefleet.inbox import Submission
from stylefleet.jobs import job_for
from stylefleet.kubernetes_api import KubernetesApi
from stylefleet.local_s3 import LocalS3, local_s3
from stylefleet.metrics import ControllerMetrics
from stylefleet.naming import Ref
from stylefleet.planner import Pace
from stylefleet.status import Phase, Status
from stylefleet.store_s3 import S3Store, make_client

BUCKET = "service"
NAMESPACE = "default"
INDEXES = 5000
TASKS_A_SHARD = 20
FINISHED = 9990
STEADY_TICKS = 20
WRITERS = 16
SUBMITTED = 100
POLL_SECONDS = 10.0
_TEMPLATE = replace(TEMPLATE, namespace=NAMESPACE, bucket=BUCKET)


# --- the measured process -------------------------------------------------------------------------------------------


def ticks() -> None:
    """Ticks as they are asked for on standard input: a number of them, or 0 for as many as it takes to see all runs."""
    s3_requests = api_requests = 0

    def s3_sent() -> None:
        nonlocal s3_requests
        s3_requests += 1

    def api_sent() -> None:
        nonlocal api_requests
        api_requests += 1

    controller = Controller(
        store=S3Store(make_client(os.environ["STYLEFLEET_S3_ENDPOINT"], None, before_send=s3_sent)),
        cluster=KubernetesCluster(kubernetes_api.connect(before_send=api_sent), NAMESPACE),
        bucket=BUCKET,
        allowed=(Ref("shop", ""),),
        template=_TEMPLATE,
        pace=Pace(shard_seconds=900.0, worker_flops=1e13),
        metrics=ControllerMetrics(),
    )
    for line in sys.stdin:
        found: dict[str, list[float]] = {"seconds": [], "s3_requests": [], "api_requests": []}
        asked, more = int(line), True
        while len(found["seconds"]) < asked or (asked == 0 and more):
            s3_requests = api_requests = 0
            started = time.perf_counter()
            more = controller.tick()
            found["seconds"].append(time.perf_counter() - started)
            found["s3_requests"].append(s3_requests)
            found["api_requests"].append(api_requests)
        print(json.dumps(found | {"resident_mib": _peak_mib()}), flush=True)


def _peak_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


class Measured:
    """A process that ticks when asked."""

    def __init__(self, s3: LocalS3) -> None:
        command = [sys.executable, "-m", "benchmarks.controller_stage", "ticks"]
        environment = s3.process_environment(os.environ)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )

    def tick(self, times: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(times, file=self._process.stdin, flush=True)
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextmanager
def measured(s3: LocalS3) -> Iterator[Measured]:
    process = Measured(s3)
    try:
        yield process
    finally:
        process.end()


# --- what it meets --------------------------------------------------------------------------------------------------


def main(runs: int) -> None:
    """Print one line of JSON."""
    found: dict[str, Any] = {"runs": runs, "indexes": INDEXES, "finished": FINISHED}
    with tempfile.TemporaryDirectory() as folder, local_s3(Path(folder)) as s3:
        os.environ |= s3.environment
        for bucket in (BUCKET, "shop"):
            s3.create_bucket(bucket)
        stage = Stage(s3)
        with measured(s3) as empty:
            empty.tick(1)
            found["empty"] = empty.tick(STEADY_TICKS)
        stage.all_of(runs, stage.put_run)
        with measured(s3) as controller:
            found["first"] = controller.tick(0)
            say("seen all runs")
            controller.tick(STEADY_TICKS)  # everything has been looked at more than once
            stage.all_of(runs, stage.put_receipts)
            found["steady"] = controller.tick(STEADY_TICKS)
            say("steady")
        stage.all_of(FINISHED, stage.put_finished)
        with measured(s3) as controller:
            controller.tick(0)
            controller.tick(STEADY_TICKS)
            found["inbox"] = controller.tick(STEADY_TICKS)
            say("inbox")
        stage.remove_runs()
        found["latency"] = stage.latency()
    print(json.dumps(found), flush=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Stage:
    """A bucket and an API server that are filled as a controller and workers would have."""

    def __init__(self, s3: LocalS3) -> None:
        self._s3 = s3
        self._store = s3.store()
        connection = kubernetes_api.connect()
        self._cluster, self._api = KubernetesCluster(connection, NAMESPACE), KubernetesApi(connection)
        self._runs: dict[int, str] = {}
        self._store.put(Ref("shop", "styles/waves.jpg"), jpeg_bytes())

    def all_of(self, count: int, put: Callable[[int], None]) -> None:
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(put, range(count)))

    def _manifest(self, name: str) -> tuple[str, Submission]:
        ref = Ref(BUCKET, f"jobs/{name}.yaml")
        self._store.put(ref, manifest_bytes(name))
        found = self._store.get(ref)
        return naming.run_id(name, found.data, found.modified_at), Submission.of(found)

    def put_run(self, number: int) -> None:
        """A manifest, its plan and its Job, at work."""
        name = f"run-{number:04d}"
        run, _ = self._manifest(name)
        self._runs[number] = run
        planned = make_plan(
            shards=(TASKS_A_SHARD,) * INDEXES, name=name, run=run, planned_at=datetime.now(UTC), parallelism=8
        )
        self._store.put(Ref(BUCKET, naming.plan_key(name, run)), plan.plan_to_json(planned))
        job = self._cluster.post_job(job_for(planned, _TEMPLATE))
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        at_work = {"active": 8, "ready": 8, "startTime": now, "uncountedTerminatedPods": {}}
        self._api.ask(
            "PATCH",
            "/apis/batch/v1/namespaces/{namespace}/jobs/{name}/status",
            names={"namespace": NAMESPACE, "name": job["metadata"]["name"]},
            body={"status": at_work},
            content_type="application/merge-patch+json",
        )

    def put_receipts(self, number: int) -> None:
        """Three pictures of one of its shards."""
        name, run = f"run-{number:04d}", self._runs[number]
        done = [make_receipt(f"catalog/{number}-{picture}.jpg", shard=0) for picture in range(3)]
        key = naming.receipts_key(name, run, 0, "attempt", 0)
        self._store.put(Ref(BUCKET, key), receipt.to_lines(done))

    def put_finished(self, number: int) -> None:
        """A manifest whose run is final."""
        name = f"done-{number:05d}"
        run, submission = self._manifest(name)
        final = Status(
            name=name, run=run, submission=submission, phase=Phase.SUCCEEDED, pictures=9, done=9, started_at=_now(),
            finished_at=_now(), updated_at=_now(), message="all 9 pictures have a result",
        )  # fmt: skip
        self._store.put(Ref(BUCKET, naming.status_key(name)), status.to_json(final))

    def remove_runs(self) -> None:
        for number in self._runs:
            self._store.delete(Ref(BUCKET, f"jobs/run-{number:04d}.yaml"))
            self._store.delete(Ref(BUCKET, naming.status_key(f"run-{number:04d}")))
        for job in self._cluster.list_jobs():
            self._cluster.release_job(job)
            self._cluster.delete_job(job)

    def latency(self) -> dict[str, Any]:
        """Manifests put at once, at any moment between two polls of a controller; seconds until each has a Job."""
        self._store.put(Ref("shop", "catalog/a.jpg"), jpeg_bytes())
        environment = self._s3.process_environment(os.environ) | {
            "KUBECONFIG": os.environ["KUBECONFIG"],
            "STYLEFLEET_BUCKET": BUCKET,
            "STYLEFLEET_ALLOWED": "s3://shop/",
            "STYLEFLEET_NAMESPACE": NAMESPACE,
            "STYLEFLEET_POLL_SECONDS": str(POLL_SECONDS),
            "STYLEFLEET_HTTP_PORT": "0",
        }
        command = [sys.executable, "-m", "stylefleet.cli.main", "controller"]
        seconds: list[float] = []
        process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
        try:
            assert process.stderr is not None
            _until_it_ticks(process.stderr)
            # Not while it starts, and reads every status for the first time.
            self._submitted("first", 1)
            for round_number in range(3):
                time.sleep(random.uniform(0, POLL_SECONDS))  # noqa: S311 - no secret
                seconds += self._submitted(f"new-{round_number}", SUBMITTED)
        finally:
            process.terminate()
            process.wait()
        seconds.sort()
        return {
            "manifests": SUBMITTED,
            "poll_seconds": POLL_SECONDS,
            "p50": seconds[len(seconds) // 2],
            "p99": seconds[int(len(seconds) * 0.99)],
        }

    def _submitted(self, prefix: str, count: int) -> list[float]:
        put_at: dict[str, float] = {}

        def put(number: int) -> None:
            name = f"{prefix}-{number:03d}"
            self._store.put(Ref(BUCKET, f"jobs/{name}.yaml"), manifest_bytes(name))
            put_at[name] = time.monotonic()

        self.all_of(count, put)
        made_at: dict[str, float] = {}
        while len(made_at) < count:
            for job in self._cluster.list_jobs():
                if job.owner_name in put_at:
                    made_at.setdefault(job.owner_name, time.monotonic())
            time.sleep(0.1)
        return [made_at[name] - put_at[name] for name in put_at]


def _until_it_ticks(log: IO[str]) -> None:
    for line in log:
        if "controller_started" in line:
            break
    # Nobody reads on; the pipe must not fill up.
    ThreadPoolExecutor(1).submit(lambda: [None for _ in log])
    time.sleep(2)


def _now() -> datetime:
    return datetime.now(UTC) - timedelta(hours=1)


if __name__ == "__main__":
    if sys.argv[1] == "ticks":
        ticks()
    else:
        main(int(sys.argv[1]))
