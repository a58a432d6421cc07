"""What an operator adds to worker pods is read strictly: a typing error must not silently run workers elsewhere."""

from __future__ import annotations

import pytest

from stylefleet import worker_pod
from stylefleet.errors import SettingsInvalid
from stylefleet.settings import controller_settings
from stylefleet.worker_pod import Toleration, WorkerPod


def test_nothing_set_adds_nothing() -> None:
    assert worker_pod.parse("{}") == WorkerPod()
    assert controller_settings({"STYLEFLEET_BUCKET": "service"}).worker.pod == WorkerPod()


def test_kubernetes_own_spelling_is_read() -> None:
    pod = worker_pod.parse(
        '{"nodeSelector": {"cloud.google.com/gke-spot": "true"}, "weightsClaim": "models",'
        ' "tolerations": [{"key": "spot", "operator": "Exists", "tolerationSeconds": 30}]}'
    )
    assert pod.node_selector == {"cloud.google.com/gke-spot": "true"}
    assert pod.tolerations == [Toleration(key="spot", operator="Exists", tolerationSeconds=30)]
    assert pod.weights_claim == "models"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"nodeSelektor": {}}', "nodeSelektor: there is no such field (found: nodeSelektor) (allowed: did you mean"),
        ('{"tolerations": [{"kye": "spot"}]}', "tolerations[0].kye: there is no such field"),
        ('{"tolerations": [{"effect": "Never"}]}', "tolerations[0].effect: the value is not one of the choices"),
        ('{"imagePullPolicy": "Sometimes"}', "imagePullPolicy: the value is not one of the choices"),
        ('{"nodeSelector": {"spot": true}}', "nodeSelector.spot: the value should be a valid string (found: True)"),
        ('{"nodeSelector": {"a b": "c"}}', "nodeSelector"),
        ('{"runtimeClassName": "NVIDIA"}', "runtimeClassName"),
        ('{"labels": {"stylefleet.dev/run": "x"}}', "labels: this label is how workers are told from others' pods"),
        ('{"labels": {"app.kubernetes.io/managed-by": "x"}}', "(found: app.kubernetes.io/managed-by)"),
        ('{"labels": {"kueue.x-k8s.io/queue-name": "x"}}', "(found: kueue.x-k8s.io/queue-name)"),
        ("[]", "found [], allowed is an object"),
        ("{", "not JSON: Expecting property name enclosed in double quotes: line 1 column 2"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_is_allowed(text: str, told: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        controller_settings({"STYLEFLEET_BUCKET": "service", "STYLEFLEET_WORKER_POD": text})
    assert str(caught.value).startswith("STYLEFLEET_WORKER_POD: ")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    "field",
    [
        "securityContext",
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "hostUsers",
        "volumes",
        "containers",
        "initContainers",
        "automountServiceAccountToken",
        "serviceAccountName",
        "windowsOptions",
    ],
)
def test_no_field_can_loosen_the_restricted_profile(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field}: there is no such field"):
        worker_pod.parse(f'{{"{field}": {{}}}}')


@pytest.mark.parametrize(
    "name",
    [
        "container.apparmor.security.beta.kubernetes.io/worker",
        "container.seccomp.security.alpha.kubernetes.io/worker",
        "seccomp.security.alpha.kubernetes.io/pod",
    ],
)
def test_no_annotation_can_loosen_the_restricted_profile(name: str) -> None:
    with pytest.raises(ValueError, match="would lift what keeps workers confined"):
        worker_pod.parse(f'{{"annotations": {{"{name}": "unconfined"}}}}')
