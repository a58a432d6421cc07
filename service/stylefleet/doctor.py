"""The doctor: asks the bucket, the cluster and a probe worker, and has the answers judged.

It runs with the controller's own settings, identity and rights (`helm test`): what it sees, the controller sees.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from stylefleet import doctor_cluster, doctor_store, probe_job
from stylefleet.checks import Check, failed, from_json, ok, skipped
from stylefleet.doctor_cluster import PROBE_IDS, WORKER_IDS
from stylefleet.errors import RecordUnreadable, SettingsInvalid, StylefleetError
from stylefleet.jobs import JobView, Json, WorkerTemplate, view
from stylefleet.probe_job import ProbeFacts
from stylefleet.rights import Right, rights
from stylefleet.settings import ControllerSettings
from stylefleet.store_s3 import S3Store, credentials_from, make_client

STORE_IDS = ("credentials", "bucket", "conditional-writes")
STORE_SETTINGS = "STYLEFLEET_BUCKET and STYLEFLEET_S3_ENDPOINT"
LOOK_SECONDS = 1.0
WORKER_COMMAND = (sys.executable, "-m", "stylefleet.cli.main")

Tell = Callable[[str], None]
"""Called with what is being waited for."""


class ProbeCluster(Protocol):
    """What the doctor asks of Kubernetes; see KubernetesCluster."""

    def allows(self, right: Right) -> bool: ...
    def post_job(self, job: Json) -> Json: ...
    def read_job(self, name: str) -> Json: ...
    def pods(self, job_name: str, phase: str = "") -> list[Json]: ...
    def warnings(self, uid: str) -> list[Json]: ...
    def delete_job(self, job: JobView) -> None: ...


def examine(
    settings: ControllerSettings, *, gpus: int, queue: str | None, wait_seconds: int, tell: Tell
) -> list[Check]:
    """All checks, in the order in which one needs the other."""
    tell("asking the bucket")
    checks = [ok("settings", "every variable has a usable value"), *examine_store(settings)]
    if settings.cluster == "local":
        why = "workers are processes on this machine (STYLEFLEET_CLUSTER=local)"
        tell("asking a worker process")
        return [
            *checks,
            *skipped(["rbac", "queue", "schedulable", "image"], why),
            *examine_local_worker(settings.worker, gpus=0, environment=os.environ, seconds=wait_seconds),
        ]
    from stylefleet import cluster_kubernetes, kubernetes_api

    tell("asking the cluster")
    try:
        cluster = cluster_kubernetes.KubernetesCluster(kubernetes_api.connect(), settings.worker.namespace)
    except SettingsInvalid as error:
        remedy = "Run the doctor in a pod with the controller's service account, or set KUBECONFIG"
        return [*checks, failed("rbac", error, remedy), *skipped(PROBE_IDS, "there is no cluster")]
    return [*checks, *examine_cluster(cluster, settings, gpus=gpus, queue=queue, wait_seconds=wait_seconds, tell=tell)]


def examine_store(settings: ControllerSettings) -> list[Check]:
    """The checks of STORE_IDS, from here."""
    place = settings.store
    # Impatient: who asks the doctor would rather hear of a storm than wait for its end.
    store = S3Store(make_client(place.endpoint_url, place.region, retries=1), attempts=1)
    facts = doctor_store.observe(store, place.bucket, place.endpoint_url)
    return doctor_store.judge(facts, credentials_from=credentials_from(), settings=STORE_SETTINGS)


def examine_cluster(
    cluster: ProbeCluster, settings: ControllerSettings, *, gpus: int, queue: str | None, wait_seconds: int, tell: Tell
) -> list[Check]:
    """The checks of CLUSTER_IDS; a probe Job is made and removed."""
    namespace = settings.worker.namespace
    lease = settings.election.lease if settings.election else None
    try:
        granted = {right: cluster.allows(right) for right in rights(lease)}
    except StylefleetError as error:
        remedy = "Check that the API server is reachable and knows this identity (its token, or KUBECONFIG)"
        return [failed("rbac", error, remedy), *skipped(PROBE_IDS, "the cluster did not answer")]
    rbac = doctor_cluster.judge_rights(granted, namespace)
    denied = [str(right) for right, is_granted in granted.items() if not is_granted and right.resource != "leases"]
    if denied:
        return [rbac, *skipped(PROBE_IDS, f"no probe can be made, watched and removed without: {', '.join(denied)}")]
    probe = probe_job.probe_job(
        settings.worker, gpus=gpus, queue=queue, nonce=uuid.uuid4().hex, seconds=2 * wait_seconds
    )
    try:
        facts = watch(cluster, probe, seconds=wait_seconds, tell=tell)
    except StylefleetError as error:
        why = "the API server did not take the probe, or did not answer"
        remedy = f"Check the namespace {namespace}, and the settings of the workers against what the API server says"
        return [
            rbac,
            *skipped(["queue"], why),
            failed("schedulable", error, remedy),
            *skipped(PROBE_IDS[2:], why),
        ]
    return [rbac, *doctor_cluster.judge_probe(facts)]


def watch(cluster: ProbeCluster, probe: Json, *, seconds: float, tell: Tell) -> ProbeFacts:
    """Make the probe, look at it until nothing more is to be learned or the time is up, and remove it."""
    started = time.monotonic()
    facts = ProbeFacts(job=cluster.post_job(probe))
    job = view(facts.job)
    try:
        while True:
            facts = _look(cluster, facts, job)
            facts = replace(facts, seconds=time.monotonic() - started)
            if facts.settled or facts.seconds >= seconds:
                return facts
            tell(f"watching the probe {job.name} ({facts.seconds:.0f} of at most {seconds:.0f} s)")
            time.sleep(LOOK_SECONDS)
    finally:
        cluster.delete_job(job)


def _look(cluster: ProbeCluster, facts: ProbeFacts, job: JobView) -> ProbeFacts:
    pods = cluster.pods(job.name)
    pod = max(pods, key=lambda p: p["metadata"]["creationTimestamp"]) if pods else None
    return replace(
        facts,
        suspended=bool(cluster.read_job(job.name)["spec"].get("suspend")),
        pod=pod,
        warnings=cluster.warnings(pod["metadata"]["uid"] if pod else job.uid),
    )


def examine_local_worker(
    template: WorkerTemplate, *, gpus: int, environment: Mapping[str, str], seconds: float
) -> list[Check]:
    """What a worker process on this machine says of itself; in a process of its own, as only that loads TensorFlow."""
    probe = probe_job.probe_job(template, gpus=gpus, queue=None, nonce="", seconds=0)
    variables = probe["spec"]["template"]["spec"]["containers"][0]["env"]
    own = {e["name"]: e["value"] for e in variables if "value" in e and e["name"] != "HOME"}
    own |= {"STYLEFLEET_ATTEMPT": "doctor", "JOB_COMPLETION_INDEX": "0"}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [*WORKER_COMMAND, "doctor", "--worker", str(report), "--gpus", str(gpus)]
        try:
            done = subprocess.run(
                command, env={**environment, **own}, capture_output=True, text=True, check=False, timeout=seconds
            )
            return [ok("worker", "the process ran and told what it met"), *from_json(report.read_text())]
        except subprocess.TimeoutExpired:
            found, remedy = f"no answer within {seconds:.0f} s", "Wait longer (--wait-seconds)"
        except (OSError, RecordUnreadable):
            found = f"exit code {done.returncode}: {done.stderr[-500:].strip()}"
            remedy = "Install what workers need: pip install stylefleet[worker-cpu]"
    return [failed("worker", found, remedy), *skipped(WORKER_IDS, "the worker did not say")]
