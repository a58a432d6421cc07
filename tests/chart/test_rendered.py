"""What the chart's objects do together."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from helm.render import CHART

from stylefleet.jobs import job_for
from stylefleet.naming import Ref
from stylefleet.policies.admission import Limits
from tests.builders import make_plan
from tests.chart.conftest import BUCKET, Chart, Json, Rendered
from tests.chart.variants import SHA256, TOLERATION, VARIANTS

METADATA_SERVER = "169.254.169.254"
POD_IDENTITY_AGENT = "169.254.170.23"
SOMEWHERE = "203.0.113.9"


def selects(selector: Json, labels: Json) -> bool:
    """Whether a label selector selects a pod with these labels."""
    wanted = selector.get("matchLabels", {}).items()
    expressions = selector.get("matchExpressions", [])
    assert all(e["operator"] == "In" for e in expressions)
    return all(labels.get(k) == v for k, v in wanted) and all(labels.get(e["key"]) in e["values"] for e in expressions)


def reaches(policy: Json, address: str, port: int) -> bool:
    """Whether a NetworkPolicy lets its pods reach an address outside the cluster by TCP."""
    rules = policy["spec"]["egress"]
    return any(
        any(p.get("protocol") == "TCP" and p["port"] == port for p in rule.get("ports", []))
        and any(_within(address, peer["ipBlock"]) for peer in rule["to"] if "ipBlock" in peer)
        for rule in rules
    )


def _within(address: str, block: Json) -> bool:
    ip = ipaddress.ip_address(address)
    inside = [ip in ipaddress.ip_network(cidr) for cidr in (block["cidr"], *block.get("except", []))]
    return inside[0] and not any(inside[1:])


def policies(rendered: Rendered) -> Iterator[Json]:
    yield rendered.find("NetworkPolicy")
    yield rendered.find("NetworkPolicy", "art-stylefleet-worker")


def test_two_controllers_stand_apart_and_agree_by_a_lease(chart: Chart) -> None:
    rendered = chart.render(BUCKET)
    deployment = rendered.find("Deployment")["spec"]
    assert deployment["replicas"] == 2
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert selects(spread["labelSelector"], rendered.controller["metadata"]["labels"])
    assert rendered.environment()["STYLEFLEET_LEASE"] == "art-stylefleet"
    assert rendered.environment()["STYLEFLEET_IDENTITY"] == "art-stylefleet-0"
    budget = rendered.find("PodDisruptionBudget")["spec"]
    assert budget["maxUnavailable"] == 1
    assert selects(budget["selector"], rendered.controller["metadata"]["labels"])


def test_the_kubelet_asks_where_the_controller_answers(chart: Chart) -> None:
    (container,) = chart.render(BUCKET).controller["spec"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 8080}]
    assert {"name": "STYLEFLEET_HTTP_PORT", "value": "8080"} in container["env"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}


@pytest.mark.parametrize("variant", VARIANTS)
def test_only_the_controller_has_a_token_and_nobody_has_rights_beyond_the_namespace(chart: Chart, variant: str) -> None:
    rendered = chart.render(VARIANTS[variant])
    assert not rendered.kinds() & {"ClusterRole", "ClusterRoleBinding", "Secret"}
    assert rendered.controller["spec"]["automountServiceAccountToken"] is True
    assert rendered.doctor["spec"]["automountServiceAccountToken"] is True
    worker = rendered.job()["spec"]["template"]["spec"]
    assert worker["automountServiceAccountToken"] is False
    (subject,) = rendered.find("RoleBinding")["subjects"]
    assert (
        subject["name"]
        == rendered.controller["spec"]["serviceAccountName"]
        == rendered.doctor["spec"]["serviceAccountName"]
    )
    assert subject["name"] != worker["serviceAccountName"]
    accounts = [o for o in rendered.objects if o["kind"] == "ServiceAccount"]
    assert [a["automountServiceAccountToken"] for a in accounts] == [False] * len(accounts)
    namespaces = {o["metadata"].get("namespace") for o in rendered.objects if "more" not in o["metadata"]["name"]}
    assert namespaces == set(rendered.settings().namespaces)


def test_the_service_and_the_monitor_find_controllers_only(chart: Chart) -> None:
    rendered = chart.render(VARIANTS["everything"])
    service = {"matchLabels": rendered.find("Service", "art-stylefleet-metrics")["spec"]["selector"]}
    for selector in (
        service,
        rendered.find("PodMonitor")["spec"]["selector"],
        rendered.find("Deployment")["spec"]["selector"],
    ):
        assert selects(selector, rendered.controller["metadata"]["labels"])
        assert not selects(selector, rendered.doctor["metadata"]["labels"])
        assert not selects(selector, rendered.job()["spec"]["template"]["metadata"]["labels"])


@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - {"nothing more than needed"}))
def test_each_pod_is_under_its_own_network_policy(chart: Chart, variant: str) -> None:
    rendered = chart.render(VARIANTS[variant])
    controllers, workers = (p["spec"]["podSelector"] for p in policies(rendered))
    worker = rendered.job()["spec"]["template"]["metadata"]["labels"]
    for pod in (rendered.controller, rendered.doctor):
        assert selects(controllers, pod["metadata"]["labels"])
        assert not selects(workers, pod["metadata"]["labels"])
    assert selects(workers, worker)
    assert not selects(controllers, worker)


def test_nobody_but_prometheus_may_talk_to_the_controller_or_to_a_worker_and_only_for_metrics(chart: Chart) -> None:
    controllers, workers = policies(chart.render(BUCKET))
    assert {"Ingress", "Egress"} == set(workers["spec"]["policyTypes"]) == set(controllers["spec"]["policyTypes"])
    for policy, port in ((controllers, "http"), (workers, "metrics")):
        (rule,) = policy["spec"]["ingress"]
        assert rule["ports"] == [{"protocol": "TCP", "port": port}]
        assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]


def test_where_nobody_reads_metrics_nobody_may_talk_to_either(chart: Chart) -> None:
    for policy in policies(chart.render(BUCKET | {"networkPolicy": {"metricsFrom": []}})):
        assert policy["spec"]["ingress"] == []


@pytest.mark.parametrize("variant", ["everything", "tenants"])
def test_the_workers_monitor_finds_the_port_of_every_worker_and_of_nobody_else(chart: Chart, variant: str) -> None:
    rendered = chart.render(VARIANTS[variant] | {"metrics": {"podMonitor": {"enabled": True}}})
    (monitor,) = (
        o["spec"] for o in rendered.objects if o["kind"] == "PodMonitor" and o["metadata"]["name"].endswith("-worker")
    )
    pod = rendered.job()["spec"]["template"]
    (port,) = pod["spec"]["containers"][0]["ports"]
    assert selects(monitor["selector"], pod["metadata"]["labels"])
    assert [endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]] == [port["name"]]
    for other in (rendered.controller, rendered.doctor):
        assert not selects(monitor["selector"], other["metadata"]["labels"])
    looked_at = monitor.get("namespaceSelector", {}).get("matchNames", ["art"])
    assert set(looked_at) == set(rendered.settings().namespaces)


@pytest.mark.parametrize("variant", sorted(VARIANTS.keys() - {"gke", "nothing more than needed"}))
def test_the_nodes_own_credentials_are_out_of_reach(chart: Chart, variant: str) -> None:
    # On the very port where they are given out.
    storage = VARIANTS[variant]["storage"] | {"endpoint": "http://s3.example"}
    for policy in policies(chart.render(VARIANTS[variant] | {"storage": storage})):
        assert reaches(policy, SOMEWHERE, 80)
        assert not reaches(policy, METADATA_SERVER, 80)
        assert reaches(policy, POD_IDENTITY_AGENT, 80) is (variant == "podIdentity")
        assert not reaches(policy, "fd00:ec2::254", 80)


def test_gke_hands_out_the_workloads_identity_where_other_clouds_have_the_nodes(chart: Chart) -> None:
    for policy in policies(chart.render(VARIANTS["gke"])):
        assert reaches(policy, METADATA_SERVER, 80)
        assert reaches(policy, "169.254.169.252", 988)


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [("", 443), ("http://minio.minio:9000", 9000), ("https://s3.example:8443/", 8443), ("http://s3.example", 80)],
)
def test_s3_is_reached_at_the_port_of_its_endpoint_and_the_api_server_by_the_controller_only(
    chart: Chart, endpoint: str, port: int
) -> None:
    rendered = chart.render({"storage": {"bucket": "service", "endpoint": endpoint}})
    controllers, workers = policies(rendered)
    assert reaches(controllers, SOMEWHERE, port)
    assert reaches(workers, SOMEWHERE, port)
    assert reaches(controllers, SOMEWHERE, 6443)
    assert not reaches(workers, SOMEWHERE, 6443)
    assert not reaches(workers, SOMEWHERE, 22)
    for policy in (controllers, workers):
        (dns,) = [r for r in policy["spec"]["egress"] if {"protocol": "UDP", "port": 53} in r["ports"]]
        assert {"podSelector", "namespaceSelector"} in [set(peer) for peer in dns["to"]]


@pytest.mark.parametrize(
    ("queue", "port"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/111122223333/stylefleet", 443),
        ("http://elasticmq.art:9324/000000000000/stylefleet", 9324),
        ("http://elasticmq.art/000000000000/queue:7", 80),
    ],
)
def test_the_queue_is_reached_at_the_port_of_its_url_by_the_controller_only(
    chart: Chart, queue: str, port: int
) -> None:
    storage = {"bucket": "service", "endpoint": "http://minio.minio:9000"}
    values = {"storage": storage, "networkPolicy": {"apiServerPorts": [6443]}}
    controllers, workers = policies(chart.render(values | {"notifications": {"queueUrl": queue}}))
    assert reaches(controllers, SOMEWHERE, port)
    assert not reaches(controllers, METADATA_SERVER, port)
    assert not reaches(workers, SOMEWHERE, port)
    without, _ = policies(chart.render(values))
    assert not reaches(without, SOMEWHERE, port)


def test_workers_alone_reach_the_collector_of_spans_and_are_told_where_it_is(chart: Chart) -> None:
    endpoint = "http://otel-collector.monitoring:4318"
    values = BUCKET | {"networkPolicy": {"apiServerPorts": [6443]}}
    rendered = chart.render(values | {"tracing": {"endpoint": endpoint}})
    controllers, workers = policies(rendered)
    assert reaches(workers, SOMEWHERE, 4318)
    assert not reaches(workers, METADATA_SERVER, 4318)
    assert not reaches(controllers, SOMEWHERE, 4318)
    (container,) = rendered.job()["spec"]["template"]["spec"]["containers"]
    assert {"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": endpoint} in container["env"]
    _, without = policies(chart.render(values))
    assert not reaches(without, SOMEWHERE, 4318)


def test_what_the_controller_reads_is_what_the_values_say(chart: Chart) -> None:
    settings = chart.render(VARIANTS["everything"]).settings()
    assert (settings.store.bucket, settings.store.endpoint_url) == ("service", "http://minio.minio:9000")
    assert settings.store.region == "eu-west-1"
    assert [str(a) for a in settings.allowed] == ["s3://shop/catalog/", "s3://shop/restyled/"]
    assert (settings.poll_seconds, settings.shard_seconds, settings.worker_flops) == (0.5, 900, 1e13)
    assert settings.limits.total == 300
    assert chart.render(BUCKET).settings().limits.none
    assert settings.notifications == "http://elasticmq.art:9324/000000000000/stylefleet"
    worker = settings.worker
    assert worker.namespace == "art"
    assert worker.image == f"localhost/stylefleet-worker-gpu@sha256:{SHA256}"
    assert (worker.service_account, worker.credentials_secret) == ("art-stylefleet-worker", "s3-keys")
    assert (worker.cpu, worker.memory, worker.scratch, worker.gpu_resource) == ("1", "8Gi", "2Gi", "nvidia.com/gpu")
    pod = worker.pod.model_dump(by_alias=True, exclude_defaults=True)
    assert pod == {
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
        "tolerations": [{k: v for k, v in TOLERATION.items() if v != "Equal"}],  # its default
        "runtimeClassName": "nvidia",
        "priorityClassName": "low",
        "imagePullPolicy": "Never",
        "imagePullSecrets": [{"name": "registry"}],
        "labels": {"kueue.x-k8s.io/priority-class": "batch", "team": "art"},
        "annotations": {"karpenter.sh/do-not-disrupt": "true"},
        "queue": "gpu",
    }
    job = chart.render(VARIANTS["everything"]).job()["spec"]["template"]["spec"]
    assert [t["key"] for t in job["tolerations"]] == ["nvidia.com/gpu", "art"]
    assert job["tolerations"][1]["tolerationSeconds"] == 60


def test_a_secret_with_keys_reaches_controller_doctor_and_workers_by_its_name_only(chart: Chart) -> None:
    rendered = chart.render(VARIANTS["everything"])
    for pod in rendered.pods():
        (container,) = pod["spec"]["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "s3-keys"}}]
    for pod in chart.render(BUCKET).pods():
        assert "envFrom" not in pod["spec"]["containers"][0]


@pytest.mark.parametrize(
    ("variant", "annotation", "controller", "worker"),
    [
        ("irsa", "eks.amazonaws.com/role-arn", "arn:aws:iam::1:role/c", "arn:aws:iam::1:role/w"),
        ("gke", "iam.gke.io/gcp-service-account", *("art@shop.iam.gserviceaccount.com",) * 2),
        ("azure", "azure.workload.identity/client-id", *("0000-1111",) * 2),
    ],
)
def test_each_account_is_bound_to_its_identity_in_the_cloud(
    chart: Chart, variant: str, annotation: str, controller: str, worker: str
) -> None:
    rendered = chart.render(VARIANTS[variant])
    assert rendered.find("ServiceAccount")["metadata"]["annotations"] == {annotation: controller}
    assert rendered.find("ServiceAccount", "art-stylefleet-worker")["metadata"]["annotations"] == {annotation: worker}
    for pod in rendered.pods():
        assert (pod["metadata"]["labels"].get("azure.workload.identity/use") == "true") is (variant == "azure")


@pytest.mark.parametrize(
    ("spot", "label", "tainted"),
    [
        ("eks", "eks.amazonaws.com/capacityType", False),
        ("karpenter", "karpenter.sh/capacity-type", False),
        ("gke", "cloud.google.com/gke-spot", True),
        ("aks", "kubernetes.azure.com/scalesetpriority", True),
    ],
)
def test_spot_workers_go_to_spot_nodes_only(chart: Chart, spot: str, label: str, tainted: bool) -> None:
    worker = {"spot": spot, "nodeSelector": {"zone": "a"}, "tolerations": [TOLERATION]}
    pod = chart.render(BUCKET | {"worker": worker}).job()["spec"]["template"]["spec"]
    assert pod["nodeSelector"].keys() == {label, "zone"}
    assert (label in [t["key"] for t in pod["tolerations"]]) is tainted
    assert "art" in [t["key"] for t in pod["tolerations"]]


def test_weights_come_from_the_image_a_bucket_or_a_claim(chart: Chart) -> None:
    assert not [e for e in chart.render(BUCKET).environment() if "VGG19" in e]
    bucket = chart.render(VARIANTS["weights from a bucket"])
    assert bucket.environment()["STYLEFLEET_VGG19_WEIGHTS"] == "s3://models/vgg19.h5"
    claim = chart.render(VARIANTS["weights from a claim"])
    (container,) = (pod := claim.job()["spec"]["template"]["spec"])["containers"]
    assert {"name": "STYLEFLEET_VGG19_WEIGHTS", "value": "/weights/vgg19.h5"} in container["env"]
    assert {"name": "STYLEFLEET_VGG19_SHA256", "value": SHA256} in container["env"]
    assert {"name": "weights", "mountPath": "/weights", "readOnly": True} in container["volumeMounts"]
    assert pod["volumes"][1]["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}


def test_an_image_is_named_by_registry_tag_and_rather_by_digest(chart: Chart) -> None:
    def image(**image: str) -> str:
        rendered = chart.render(BUCKET | {"controller": {"image": image}})
        return str(rendered.controller["spec"]["containers"][0]["image"])

    assert image() == "stylefleet-controller:0.1.0"
    assert image(registry="localhost:5000/", tag="test") == "localhost:5000/stylefleet-controller:test"
    digest = f"sha256:{SHA256}"
    assert image(registry="r", tag="test", digest=digest) == f"r/stylefleet-controller@{digest}"


def test_further_objects_may_use_the_release(chart: Chart) -> None:
    text = 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: "{{ include "stylefleet.fullname" . }}-text"}\n'
    rendered = chart.render(VARIANTS["everything"] | {"extraObjects": [*VARIANTS["everything"]["extraObjects"], text]})
    assert rendered.find("ConfigMap", "art-more")
    assert rendered.find("ConfigMap", "art-stylefleet-text")


def test_what_needs_other_operators_is_there_only_where_it_is_asked_for(chart: Chart) -> None:
    wanted = {"PodMonitor", "PrometheusRule", "ConfigMap"}
    assert not chart.render(BUCKET).kinds() & wanted
    assert chart.render(VARIANTS["everything"]).kinds() >= wanted


def test_helm_test_runs_doctor_as_the_controller(chart: Chart) -> None:
    rendered = chart.render(VARIANTS["everything"])
    assert rendered.doctor["metadata"]["annotations"]["helm.sh/hook"] == "test"
    (doctor,) = rendered.doctor["spec"]["containers"]
    (controller,) = rendered.controller["spec"]["containers"]
    assert (doctor["args"][0], controller["args"]) == ("doctor", ["controller"])
    same = ("image", "env", "envFrom", "securityContext")
    assert {k: doctor[k] for k in same} == {k: controller[k] for k in same}


def test_helm_test_asks_for_what_the_manifests_of_this_cluster_ask_for(chart: Chart) -> None:
    def arguments(values: Json) -> list[str]:
        (doctor,) = chart.render({**BUCKET, **values}).doctor["spec"]["containers"]
        return list(doctor["args"])

    assert arguments({}) == ["doctor", "--gpus", "1"]
    values = {"doctor": {"gpus": 0}, "worker": {"queue": "night"}}
    assert arguments(values) == ["doctor", "--gpus", "0", "--queue", "night"]


TENANTS = VARIANTS["tenants"]


def test_the_controller_is_told_of_the_tenants(chart: Chart) -> None:
    settings = chart.render(TENANTS).settings()
    assert list(settings.tenants) == ["toys", "art", "prints", "books"]
    assert settings.tenants["art"].places == (Ref("shop", "art/"),)
    assert settings.namespaces == ("art", "art-jobs", "books-jobs")
    assert settings.limits == Limits(
        by_tenant={"books": 50}, weights={"toys": 1.0, "art": 1.0, "prints": 1.0, "books": 2.5}
    )
    assert chart.render(BUCKET).settings().tenants == {}


@pytest.mark.parametrize(
    ("namespace", "role"), [("art-jobs", "arn:aws:iam::1:role/art"), ("books-jobs", "arn:aws:iam::1:role/w")]
)
def test_a_tenants_namespace_has_what_its_workers_run_as_and_its_own_network_policy(
    chart: Chart, namespace: str, role: str
) -> None:
    rendered = chart.render(TENANTS)
    found = {o["kind"] for o in rendered.objects if o["metadata"].get("namespace") == namespace}
    assert found == {"Role", "RoleBinding", "ServiceAccount", "NetworkPolicy"}
    job = job_for(make_plan(), replace(rendered.settings().worker, namespace=namespace))
    worker = job["spec"]["template"]
    account = rendered.find("ServiceAccount", worker["spec"]["serviceAccountName"], namespace=namespace)
    assert account["metadata"]["annotations"] == {"eks.amazonaws.com/role-arn": role}
    policy = rendered.find("NetworkPolicy", "art-stylefleet-worker", namespace=namespace)
    assert selects(policy["spec"]["podSelector"], worker["metadata"]["labels"])
    assert policy["spec"] == rendered.find("NetworkPolicy", "art-stylefleet-worker")["spec"]


@pytest.mark.parametrize("namespace", ["art-jobs", "books-jobs"])
@pytest.mark.parametrize("name", ["art-stylefleet", "art-stylefleet-retire"])
def test_in_a_tenants_namespace_the_rights_are_those_of_the_release_and_nobody_elses(
    chart: Chart, namespace: str, name: str
) -> None:
    rendered = chart.render(TENANTS)
    own, bound = rendered.find("RoleBinding", name), rendered.find("RoleBinding", name, namespace=namespace)
    assert bound["roleRef"]["name"] == name
    assert bound["subjects"] == own["subjects"]
    assert bound["subjects"][0]["namespace"] == "art"
    assert bound["metadata"].get("annotations") == own["metadata"].get("annotations")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"storage": {"bucket": "service", "allowed": ["s3://shop/"]}},
            "storage.allowed and tenants cannot both be set",
        ),
        (
            {"tenants": [TENANTS["tenants"][1], TENANTS["tenants"][2] | {"workerIdentity": "another"}]},
            "tenants of the namespace art-jobs have one ServiceAccount, but two workerIdentity",
        ),
        (
            {"tenants": [TENANTS["tenants"][0] | {"workerIdentity": "another"}]},
            "tenant toys: workerIdentity needs a namespace of its own",
        ),
        ({"tenants": [{"name": "Toys", "allowed": ["s3://toys/"]}]}, "tenants/0/name|tenants.0.name"),
        ({"tenants": [{"name": "toys"}]}, "allowed"),
    ],
)
def test_tenants_that_contradict_themselves_are_refused(chart: Chart, values: Json, words: str) -> None:
    done = chart.template(TENANTS | values)
    assert done.returncode != 0
    assert re.search(words, done.stderr), done.stderr


def test_uninstalling_ends_the_jobs_that_are_no_objects_of_the_release(chart: Chart) -> None:
    rendered = chart.render(BUCKET)
    hooks = [o for o in rendered.objects if o["metadata"]["name"] == "art-stylefleet-retire"]
    assert {o["kind"] for o in hooks} == {"ServiceAccount", "Role", "RoleBinding", "Job"}
    for hook in hooks:
        annotations = hook["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "post-delete"
        assert "hook-succeeded" in annotations["helm.sh/hook-delete-policy"]
        assert (annotations.get("helm.sh/hook-weight") == "-1") is (hook["kind"] != "Job"), "rights come first"
    pod = rendered.find("Job", "art-stylefleet-retire")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "art-stylefleet-retire", "the controller's is gone by then"
    assert pod["containers"][0]["args"] == ["retire"]


def test_the_notes_name_the_next_three_commands(chart: Chart, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("notes") / "values.json"
    file.write_text(json.dumps(BUCKET))
    done = chart.run("helm", "install", "art", str(CHART), "--namespace=art", "--dry-run=client", f"--values={file}")
    assert done.returncode == 0, done.stderr
    notes = done.stdout.partition("NOTES:")[2]
    for command in (
        "kubectl -n art rollout status deployment/art-stylefleet",
        "helm test -n art art --logs",
        "STYLEFLEET_BUCKET=service stylefleet submit spring-catalog.yaml --wait",
    ):
        assert command in notes
    assert "Neither storage.existingSecret nor identity.kind is set" in notes
