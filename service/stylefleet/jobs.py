"""Plan -> Job object; Job object -> what it says. Pure; the only module that knows the shape of `batch/v1`.

Job semantics used (KEP-2214, 3329, 3850, 3939): Indexed completion, back-off limit per index, pod failure policy, and
replacement of a pod only after it has wholly ended, so that no index has two writers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from stylefleet import kueue, naming
from stylefleet.errors import ExitCode
from stylefleet.indexes import count_indexes
from stylefleet.memory import at_least, memory_needed
from stylefleet.plan import Plan, regions
from stylefleet.worker_pod import WorkerPod

Json = dict[str, Any]

RETRIES_PER_INDEX = 3
TTL_SECONDS = 6 * 3600
"""How long a finished Job stays to be looked at; its report is in the bucket by then."""
GRACE_SECONDS = 30
"""From SIGTERM to SIGKILL: twice what a worker takes at most (see stopping.py), for those that cannot hear."""
USER_ID = 10001
METRICS_PORT = 8080
"""Of a worker's pod."""
WEIGHTS_FOLDER = "/weights"
"""Where the claim with the weights is mounted."""


@dataclass(frozen=True, kw_only=True)
class WorkerTemplate:
    """What the operator decides about worker pods."""

    image: str
    namespace: str
    service_account: str
    bucket: str
    s3_endpoint: str | None
    s3_region: str | None
    credentials_secret: str | None
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; None with workload identity."""
    gpu_resource: str
    cpu: str
    memory: str
    """At least so much; a Job whose pictures need more asks for more."""
    environment: tuple[tuple[str, str], ...]
    """Further variables for the worker, such as where its weights are."""
    scratch: str
    """Size limit of the writable /tmp."""
    pod: WorkerPod
    """Where and how the pods run."""


@dataclass(frozen=True, kw_only=True)
class JobView:
    """What a Job says of itself."""

    name: str
    uid: str
    namespace: str
    owner_name: str
    """NAME of the manifest it works for, TENANT/NAME where there are tenants."""
    run: str
    bucket: str
    """The service's bucket that it works for."""
    queue: str | None
    """That is to admit it; None where it starts at once."""
    parallelism: int
    """Pods at a time, as it stands: a queue may have admitted fewer than were asked for."""
    open_indexes: int
    """That have neither succeeded nor been given up."""
    active: int
    """Pods that are pending or running."""
    ready: int
    """Pods that are at work."""
    completed: str
    """Indexes whose pods succeeded, as Kubernetes writes them (`1,3-5,7`): of many Jobs the sets would fill memory."""
    failed: str
    """Indexes that were given up."""
    finished: Literal["", "Complete", "Failed"]
    message: str
    """Why it failed, or is suspended, in the cluster's words; empty where these say no more than that."""
    suspended: bool
    deleting: bool
    held: bool
    """Whether our finalizer still keeps it."""

    @property
    def workers(self) -> int:
        """Pods that it may have at a time from now on; also where it is suspended, as a queue may admit it any time."""
        return 0 if self.finished else min(self.parallelism, self.open_indexes)


def job_for(plan: Plan, template: WorkerTemplate) -> Json:
    """The Indexed Job of a run: one completion index a shard."""
    labels = template.pod.labels | {
        naming.LABEL_NAME: naming.label_of(plan.name),
        naming.LABEL_RUN: plan.run,
        naming.LABEL_BUCKET: template.bucket,
        naming.LABEL_MANAGED_BY: naming.MANAGED_BY,
    }
    queue_name = plan.queue or template.pod.queue
    queue = {naming.LABEL_QUEUE: queue_name} if queue_name else {}
    parallelism, fewest = min(plan.parallelism, len(plan.shards)), plan.terms.parallelism_min
    partly = queue_name is not None and fewest is not None and fewest < parallelism
    annotations = {"annotations": template.pod.annotations} if template.pod.annotations else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": naming.job_name(plan.name, plan.run),
            "namespace": template.namespace,
            "labels": labels | queue,
            "finalizers": [naming.FINALIZER],
            **({"annotations": {kueue.ANNOTATION_MIN_PARALLELISM: str(fewest)}} if partly else {}),
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": len(plan.shards),
            "parallelism": parallelism,
            "backoffLimitPerIndex": RETRIES_PER_INDEX,
            "maxFailedIndexes": len(plan.shards),
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                "rules": [
                    _on_exit("FailIndex", ExitCode.SHARD_INVALID),
                    # A drained node, a spot notice, a preemption: not the shard's fault, so not counted.
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    # Nor is a pod that somebody deleted, which has no such condition.
                    _on_exit("Ignore", ExitCode.TERMINATED),
                ]
            },
            "ttlSecondsAfterFinished": TTL_SECONDS,
            "template": {"metadata": {"labels": labels, **annotations}, "spec": _pod_spec(plan, template)},
        },
    }


def _on_exit(action: str, code: ExitCode) -> Json:
    """A rule of the pod failure policy."""
    return {"action": action, "onExitCodes": {"containerName": "worker", "operator": "In", "values": [int(code)]}}


def _pod_spec(plan: Plan, template: WorkerTemplate) -> Json:
    gpus = {template.gpu_resource: str(plan.gpus)} if plan.gpus else {}
    gpu_taint = {"key": template.gpu_resource, "operator": "Exists", "effect": "NoSchedule"}
    pod = template.pod.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    placement = ("nodeSelector", "runtimeClassName", "priorityClassName", "imagePullSecrets")
    volumes: list[Json] = [{"name": "scratch", "emptyDir": {"sizeLimit": template.scratch}}]
    mounts: list[Json] = [{"name": "scratch", "mountPath": "/tmp"}]  # noqa: S108 - the pod's own scratch volume
    if template.pod.weights_claim:
        claim = {"claimName": template.pod.weights_claim, "readOnly": True}
        volumes.append({"name": "weights", "persistentVolumeClaim": claim})
        mounts.append({"name": "weights", "mountPath": WEIGHTS_FOLDER, "readOnly": True})
    environment = {
        "STYLEFLEET_BUCKET": template.bucket,
        "STYLEFLEET_NAME": plan.name,
        "STYLEFLEET_RUN": plan.run,
        "STYLEFLEET_S3_ENDPOINT": template.s3_endpoint,
        "AWS_REGION": template.s3_region,
        "STYLEFLEET_METRICS_PORT": str(METRICS_PORT),
        "HOME": "/tmp",  # noqa: S108 - see above
        **dict(template.environment),
    }
    memory = at_least(template.memory, _memory_needed(plan))
    secret = {"envFrom": [{"secretRef": {"name": template.credentials_secret}}]} if template.credentials_secret else {}
    return {
        "restartPolicy": "Never",
        "serviceAccountName": template.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **{name: pod[name] for name in placement if name in pod},
        "tolerations": [*([gpu_taint] if gpus else []), *pod.get("tolerations", [])],
        "containers": [
            {
                "name": "worker",
                "image": template.image,
                "imagePullPolicy": template.pod.image_pull_policy,
                "args": ["worker"],
                "env": [
                    *({"name": k, "value": v} for k, v in environment.items() if v is not None),
                    {
                        "name": "STYLEFLEET_ATTEMPT",
                        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
                    },
                ],
                **secret,
                "ports": [{"name": "metrics", "containerPort": METRICS_PORT}],
                "resources": {
                    "requests": {"cpu": template.cpu, "memory": memory, **gpus},
                    "limits": {"memory": memory, **gpus},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }


def _memory_needed(plan: Plan) -> int:
    places = regions(plan.styles)
    kept = None not in places or any(companion.role == "protect" for companion in plan.companions)
    return memory_needed(plan.recipe, regions=len(places), kept=kept, gpu=plan.gpus > 0)


def view(job: Mapping[str, Any]) -> JobView:
    """What a Job object (as JSON from the API) says."""
    metadata, spec, status = job["metadata"], job["spec"], job.get("status") or {}
    finished: Literal["", "Complete", "Failed"] = ""
    message = ""
    for condition in status.get("conditions") or []:
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            finished = condition["type"]
            message = condition.get("message") or condition.get("reason") or ""
        elif condition["status"] == "True" and condition["type"] == "Suspended" and not finished:
            said = condition.get("message") or ""
            message = "" if said == "Job suspended" else said
    labels = metadata.get("labels") or {}
    return JobView(
        name=metadata["name"],
        uid=metadata["uid"],
        namespace=metadata.get("namespace", ""),
        owner_name=naming.name_of_label(labels.get(naming.LABEL_NAME, "")),
        run=labels.get(naming.LABEL_RUN, ""),
        bucket=labels.get(naming.LABEL_BUCKET, ""),
        queue=labels.get(naming.LABEL_QUEUE),
        parallelism=spec.get("parallelism", 1),
        open_indexes=(spec.get("completions") or 1)
        - (status.get("succeeded") or 0)
        - count_indexes(status.get("failedIndexes")),
        active=status.get("active") or 0,
        ready=status.get("ready") or 0,
        completed=status.get("completedIndexes") or "",
        failed=status.get("failedIndexes") or "",
        finished=finished,
        message=message,
        suspended=bool(spec.get("suspend")),
        deleting=bool(metadata.get("deletionTimestamp")),
        held=naming.FINALIZER in (metadata.get("finalizers") or []),
    )


def action_on(job: Mapping[str, Any], exit_code: int) -> str:
    """What the Job's pod failure policy does about an exit code: FailIndex, Ignore, or Count where no rule names it."""
    rules: Sequence[Mapping[str, Any]] = (job["spec"].get("podFailurePolicy") or {}).get("rules") or []
    named = (rule["action"] for rule in rules if exit_code in rule.get("onExitCodes", {}).get("values", []))
    return next(named, "Count")
