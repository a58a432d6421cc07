from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from stylefleet import jobs, naming
from stylefleet.companions import Companion
from stylefleet.jobs import JobView, job_for
from stylefleet.memory import bytes_of
from stylefleet.naming import Ref
from stylefleet.presets import recipe_for
from stylefleet.worker_pod import WorkerPod
from tests.builders import RUN, TEMPLATE, make_plan, make_styles

SCRATCH = "/tmp"  # noqa: S108 - the pod's own volume
JOB_NAME = f"sf-spring-{RUN}"
CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}

GOLDEN = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {
        "name": JOB_NAME,
        "namespace": "art",
        "labels": {
            "stylefleet.dev/name": "spring",
            "stylefleet.dev/run": RUN,
            "stylefleet.dev/bucket": "service",
            "app.kubernetes.io/managed-by": "stylefleet",
            "kueue.x-k8s.io/queue-name": "gpu-batch",
        },
        "finalizers": ["stylefleet.dev/report-is-durable"],
    },
    "spec": {
        "completionMode": "Indexed",
        "completions": 3,
        "parallelism": 2,
        "backoffLimitPerIndex": 3,
        "maxFailedIndexes": 3,
        "podReplacementPolicy": "Failed",
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailIndex",
                    "onExitCodes": {"containerName": "worker", "operator": "In", "values": [42]},
                },
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                {
                    "action": "Ignore",
                    "onExitCodes": {"containerName": "worker", "operator": "In", "values": [143]},
                },
            ]
        },
        "ttlSecondsAfterFinished": 21600,
        "template": {
            "metadata": {
                "labels": {
                    "stylefleet.dev/name": "spring",
                    "stylefleet.dev/run": RUN,
                    "stylefleet.dev/bucket": "service",
                    "app.kubernetes.io/managed-by": "stylefleet",
                }
            },
            "spec": {
                "restartPolicy": "Never",
                "serviceAccountName": "stylefleet-worker",
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 30,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 10001,
                    "runAsGroup": 10001,
                    "fsGroup": 10001,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                "containers": [
                    {
                        "name": "worker",
                        "image": "registry.example/worker:1",
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["worker"],
                        "env": [
                            {"name": "STYLEFLEET_BUCKET", "value": "service"},
                            {"name": "STYLEFLEET_NAME", "value": "spring"},
                            {"name": "STYLEFLEET_RUN", "value": RUN},
                            {"name": "STYLEFLEET_S3_ENDPOINT", "value": "http://s3.example:9000"},
                            {"name": "STYLEFLEET_METRICS_PORT", "value": "8080"},
                            {"name": "HOME", "value": SCRATCH},
                            {"name": "TF_NUM_INTRAOP_THREADS", "value": "4"},
                            {
                                "name": "STYLEFLEET_ATTEMPT",
                                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
                            },
                        ],
                        "envFrom": [{"secretRef": {"name": "s3-credentials"}}],
                        "ports": [{"name": "metrics", "containerPort": 8080}],
                        "resources": {
                            "requests": {"cpu": "2", "memory": "6Gi", "nvidia.com/gpu": "1"},
                            "limits": {"memory": "6Gi", "nvidia.com/gpu": "1"},
                        },
                        "securityContext": CONTAINER_SECURITY,
                        "terminationMessagePolicy": "FallbackToLogsOnError",
                        "volumeMounts": [{"name": "scratch", "mountPath": SCRATCH}],
                    }
                ],
                "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}],
            },
        },
    },
}


def pod_spec(**changes: object) -> dict[str, Any]:
    spec: dict[str, Any] = job_for(make_plan(), replace(TEMPLATE, **changes))["spec"]["template"]["spec"]  # type: ignore[arg-type]
    return spec


def test_the_whole_job_of_a_run() -> None:
    plan = make_plan(shards=(2, 2, 1), parallelism=2, queue="gpu-batch")
    assert job_for(plan, TEMPLATE) == GOLDEN


def test_no_more_workers_than_shards() -> None:
    assert job_for(make_plan(shards=(1, 1), parallelism=8), TEMPLATE)["spec"]["parallelism"] == 2


def test_a_run_without_queue_or_gpu_asks_for_neither() -> None:
    job = job_for(make_plan(queue=None, gpus=0), TEMPLATE)
    assert naming.LABEL_QUEUE not in job["metadata"]["labels"]
    pod = job["spec"]["template"]["spec"]
    assert pod["tolerations"] == []
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "2", "memory": "6Gi"},
        "limits": {"memory": "6Gi"},
    }


def test_with_workload_identity_there_is_no_secret_and_unset_variables_are_left_out() -> None:
    container = pod_spec(credentials_secret=None, s3_endpoint=None, s3_region="eu-west-1")["containers"][0]
    assert "envFrom" not in container
    names = [e["name"] for e in container["env"]]
    assert "STYLEFLEET_S3_ENDPOINT" not in names
    assert {"name": "AWS_REGION", "value": "eu-west-1"} in container["env"]
    assert all(isinstance(e.get("value", ""), str) for e in container["env"])


def test_the_pod_obeys_the_restricted_pod_security_standard() -> None:
    pod = pod_spec()
    assert {"hostNetwork", "hostPID", "hostIPC"} & pod.keys() == set()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] != 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert all(v.keys() - {"name"} <= {"emptyDir", "configMap", "secret", "projected"} for v in pod["volumes"])
    for container in pod["containers"] + pod.get("initContainers", []):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in security
        assert not any("hostPort" in p for p in container.get("ports", []))


def test_what_the_operator_adds_stands_beside_ours() -> None:
    pod = WorkerPod.model_validate(
        {
            "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
            "tolerations": [{"key": "spot", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": None}],
            "runtimeClassName": "nvidia",
            "priorityClassName": "batch",
            "imagePullPolicy": "Always",
            "imagePullSecrets": [{"name": "registry"}],
            "labels": {"team": "art"},
            "annotations": {"karpenter.sh/do-not-disrupt": "true"},
            "queue": "gpu",
            "weightsClaim": "models",
        }
    )
    job = job_for(make_plan(), replace(TEMPLATE, pod=pod))
    assert job["metadata"]["labels"]["team"] == "art"
    assert job["metadata"]["labels"][naming.LABEL_QUEUE] == "gpu"
    template = job["spec"]["template"]
    assert template["metadata"]["annotations"] == {"karpenter.sh/do-not-disrupt": "true"}
    assert template["metadata"]["labels"]["team"] == "art"
    assert naming.LABEL_QUEUE not in template["metadata"]["labels"]
    spec = template["spec"]
    assert spec["nodeSelector"] == {"nvidia.com/gpu.product": "NVIDIA-L4"}
    assert (spec["runtimeClassName"], spec["priorityClassName"]) == ("nvidia", "batch")
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert spec["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists", "effect": "NoSchedule"},
    ]
    (container,) = spec["containers"]
    assert container["imagePullPolicy"] == "Always"
    assert {"name": "weights", "mountPath": "/weights", "readOnly": True} in container["volumeMounts"]
    assert spec["volumes"][1] == {
        "name": "weights",
        "persistentVolumeClaim": {"claimName": "models", "readOnly": True},
    }
    assert container["securityContext"] == CONTAINER_SECURITY


def test_a_manifests_own_queue_goes_before_the_operators() -> None:
    pod = WorkerPod(queue="gpu")
    job = job_for(make_plan(queue="urgent"), replace(TEMPLATE, pod=pod))
    assert job["metadata"]["labels"][naming.LABEL_QUEUE] == "urgent"


def memory_of(job: dict[str, Any]) -> str:
    resources = job["spec"]["template"]["spec"]["containers"][0]["resources"]
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    return str(resources["limits"]["memory"])


def test_a_run_of_large_pictures_asks_for_more_than_the_setting_and_one_of_small_ones_for_the_setting() -> None:
    small, large = (job_for(make_plan(recipe=recipe_for(size_px=size)), TEMPLATE) for size in (512, 6000))
    assert memory_of(small) == "6Gi"
    assert bytes_of(memory_of(large)) > bytes_of("6Gi")
    # Where the network and the optimizer are not in a GPU's memory they are in the pod's.
    without_gpu = job_for(make_plan(recipe=recipe_for(size_px=6000), gpus=0), TEMPLATE)
    assert bytes_of(memory_of(without_gpu)) > bytes_of(memory_of(large))


def test_masks_and_what_is_left_alone_are_asked_for() -> None:
    def asked(**changes: Any) -> int:
        return bytes_of(memory_of(job_for(make_plan(recipe=recipe_for(size_px=6000), gpus=0, **changes), TEMPLATE)))

    protect = Companion(role="protect", at=Ref("shop", "protect/"))
    masked = make_styles(mask=Ref("shop", "masks/"))
    assert asked() < asked(styles=(*make_styles(), *masked))
    assert asked() < asked(styles=masked)
    assert asked() < asked(companions=(protect,))


def test_the_job_obeys_what_the_api_server_checks() -> None:
    spec = job_for(make_plan(shards=(1,) * 50), TEMPLATE)["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # needed by podFailurePolicy
    assert spec["maxFailedIndexes"] <= spec["completions"]
    assert spec["podReplacementPolicy"] == "Failed"  # the only one that goes with podFailurePolicy
    assert 0 not in spec["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"]


def test_a_job_that_was_just_made_says_nothing_yet() -> None:
    fresh = GOLDEN | {"metadata": GOLDEN["metadata"] | {"uid": "u1"}}  # type: ignore[operator]
    for job in (fresh, fresh | {"status": None}, fresh | {"status": {}}):
        assert jobs.view(job) == JobView(
            name=JOB_NAME,
            uid="u1",
            namespace="art",
            owner_name="spring",
            run=RUN,
            bucket="service",
            queue="gpu-batch",
            parallelism=2,
            open_indexes=3,
            active=0,
            ready=0,
            completed="",
            failed="",
            finished="",
            message="",
            suspended=False,
            deleting=False,
            held=True,
        )


def api_job(status: dict[str, Any], spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": JOB_NAME,
            "uid": "b5a6",
            "labels": {"stylefleet.dev/name": "spring", "stylefleet.dev/run": RUN, "stylefleet.dev/bucket": "b"},
            "managedFields": [{"manager": "kube-controller-manager"}],
        }
        | metadata,
        "spec": {"completions": 9} | (spec or {}),
        "status": status,
    }


def test_a_job_at_work_is_read_with_its_counts_and_indexes() -> None:
    view = jobs.view(
        api_job(
            {
                "active": 3,
                "ready": 2,
                "terminating": 0,
                "succeeded": 4,
                "failed": 1,
                "completedIndexes": "0,2-4",
                "failedIndexes": "7",
                "uncountedTerminatedPods": {},
                "startTime": "2026-03-01T12:00:00Z",
            },
            finalizers=["foregroundDeletion", "stylefleet.dev/report-is-durable"],
        )
    )
    assert (view.active, view.ready) == (3, 2)
    assert (view.completed, view.failed) == ("0,2-4", "7")
    assert view.open_indexes == 9 - 4 - 1
    assert (view.finished, view.suspended, view.deleting, view.held) == ("", False, False, True)


@pytest.mark.parametrize(
    ("conditions", "finished", "message"),
    [
        ([], "", ""),
        ([{"type": "Suspended", "status": "True", "reason": "JobSuspended"}], "", ""),
        ([{"type": "SuccessCriteriaMet", "status": "True"}], "", ""),
        ([{"type": "FailureTarget", "status": "True", "message": "soon"}], "", ""),
        ([{"type": "Complete", "status": "False"}], "", ""),
        ([{"type": "Complete", "status": "True"}], "Complete", ""),
        (
            [
                {"type": "Suspended", "status": "False"},
                {"type": "Complete", "status": "True", "reason": "CompletionsReached"},
            ],
            "Complete",
            "CompletionsReached",
        ),
        (
            [
                {"type": "FailureTarget", "status": "True", "message": "soon"},
                {"type": "Failed", "status": "True", "reason": "FailedIndexes", "message": "Job has failed indexes"},
            ],
            "Failed",
            "Job has failed indexes",
        ),
        (
            [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": ""}],
            "Failed",
            "DeadlineExceeded",
        ),
    ],
)
def test_a_job_has_finished_where_a_final_condition_is_true(
    conditions: list[dict[str, str]], finished: str, message: str
) -> None:
    view = jobs.view(api_job({"conditions": conditions}))
    assert (view.finished, view.message) == (finished, message)


def test_a_suspended_a_deleted_and_a_released_job_are_told_apart() -> None:
    assert jobs.view(api_job({}, {"suspend": True})).suspended
    deleting = jobs.view(api_job({}, deletionTimestamp="2026-03-01T12:00:00Z", finalizers=["foregroundDeletion"]))
    assert deleting.deleting
    assert not deleting.held


def test_a_job_without_our_labels_belongs_to_nobody() -> None:
    view = jobs.view(api_job({}, labels=None))
    assert (view.owner_name, view.run) == ("", "")


@pytest.mark.parametrize(
    ("exit_code", "action"), [(1, "Count"), (5, "Count"), (42, "FailIndex"), (137, "Count"), (143, "Ignore")]
)
def test_an_invalid_shard_fails_its_index_at_once_and_a_worker_that_was_told_to_end_is_not_counted(
    exit_code: int, action: str
) -> None:
    assert jobs.action_on(job_for(make_plan(), TEMPLATE), exit_code) == action
    assert jobs.action_on({"spec": {}}, exit_code) == "Count"
