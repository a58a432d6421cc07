from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stylefleet.errors import SettingsInvalid
from stylefleet.naming import Ref
from stylefleet.price import Price
from stylefleet.settings import ElectionSettings, controller_settings, worker_settings

WORKER = {
    "STYLEFLEET_BUCKET": "service",
    "STYLEFLEET_NAME": "spring",
    "STYLEFLEET_RUN": "0123456789abcdef",
    "STYLEFLEET_ATTEMPT": "pod-7",
    "JOB_COMPLETION_INDEX": "3",
}


def test_a_controller_needs_only_its_bucket() -> None:
    settings = controller_settings({"STYLEFLEET_BUCKET": "service"})
    assert settings.store.bucket == "service"
    assert settings.store.endpoint_url is None
    assert settings.cluster == "kubernetes"
    assert settings.allowed == (Ref("service", ""),)
    assert (settings.poll_seconds, settings.http_port) == (10.0, 8080)
    assert settings.worker.bucket == "service"
    assert settings.worker.environment == ()
    assert settings.worker.credentials_secret is None
    assert settings.election is None
    assert settings.notifications is None
    assert settings.price is None


def test_every_variable_is_heeded() -> None:
    settings = controller_settings(
        {
            "STYLEFLEET_BUCKET": "service",
            "STYLEFLEET_S3_ENDPOINT": "http://minio:9000",
            "AWS_REGION": "eu-west-1",
            "STYLEFLEET_CLUSTER": "local",
            "STYLEFLEET_ALLOWED": "s3://shop/ s3://art/out/",
            "STYLEFLEET_POLL_SECONDS": "0.5",
            "STYLEFLEET_NOTIFICATIONS": "https://sqs.eu-west-1.amazonaws.com/111122223333/stylefleet",
            "STYLEFLEET_HTTP_PORT": "0",
            "STYLEFLEET_PRICE_PER_GPU_HOUR": "0.35",
            "STYLEFLEET_CURRENCY": "EUR",
            "STYLEFLEET_SHARD_SECONDS": "60",
            "STYLEFLEET_WORKER_GFLOPS": "250",
            "STYLEFLEET_LOCAL_FOLDER": "/var/lib/jobs",
            "STYLEFLEET_LOCAL_SLOTS": "2",
            "STYLEFLEET_WORKER_IMAGE": "registry/worker:1",
            "STYLEFLEET_NAMESPACE": "art",
            "STYLEFLEET_WORKER_SERVICE_ACCOUNT": "painter",
            "STYLEFLEET_WORKER_S3_ENDPOINT": "http://minio.art:9000",
            "STYLEFLEET_WORKER_SECRET": "keys",
            "STYLEFLEET_GPU_RESOURCE": "amd.com/gpu",
            "STYLEFLEET_WORKER_CPU": "4",
            "STYLEFLEET_WORKER_MEMORY": "16Gi",
            "STYLEFLEET_WORKER_SCRATCH": "5Gi",
            "STYLEFLEET_WORKER_POD": '{"runtimeClassName": "nvidia"}',
            "STYLEFLEET_VGG19_WEIGHTS": "/weights/vgg19.h5",
            "STYLEFLEET_VGG19_SHA256": "ab" * 32,
        }
    )
    assert (settings.store.endpoint_url, settings.store.region) == ("http://minio:9000", "eu-west-1")
    assert settings.cluster == "local"
    assert settings.allowed == (Ref("shop", ""), Ref("art", "out/"))
    assert (settings.poll_seconds, settings.http_port, settings.shard_seconds) == (0.5, 0, 60.0)
    assert settings.worker_flops == 250e9
    assert settings.price == Price(per_gpu_hour=0.35, currency="EUR")
    assert settings.notifications == "https://sqs.eu-west-1.amazonaws.com/111122223333/stylefleet"
    assert (settings.local_folder, settings.local_slots) == (Path("/var/lib/jobs"), 2)
    worker = settings.worker
    assert (worker.image, worker.namespace, worker.service_account) == ("registry/worker:1", "art", "painter")
    assert (worker.s3_endpoint, worker.s3_region) == ("http://minio.art:9000", "eu-west-1")
    assert (worker.credentials_secret, worker.gpu_resource) == ("keys", "amd.com/gpu")
    assert (worker.cpu, worker.memory, worker.scratch) == ("4", "16Gi", "5Gi")
    assert worker.pod.runtime_class_name == "nvidia"
    assert dict(worker.environment) == {
        "STYLEFLEET_VGG19_WEIGHTS": "/weights/vgg19.h5",
        "STYLEFLEET_VGG19_SHA256": "ab" * 32,
    }


def test_a_price_of_nothing_is_a_price_and_no_price_is_none() -> None:
    bucket = {"STYLEFLEET_BUCKET": "service"}
    free = controller_settings(bucket | {"STYLEFLEET_PRICE_PER_GPU_HOUR": "0"})
    assert free.price == Price(per_gpu_hour=0.0, currency="USD")
    assert controller_settings(bucket | {"STYLEFLEET_CURRENCY": "EUR"}).price is None


def test_credentials_never_become_part_of_the_settings() -> None:
    settings = controller_settings(
        {"STYLEFLEET_BUCKET": "service", "AWS_SECRET_ACCESS_KEY": "hush-hush", "AWS_ACCESS_KEY_ID": "id-id"}
    )
    assert "hush-hush" not in repr(settings)
    assert "id-id" not in repr(settings)


@pytest.mark.parametrize("name", ["STYLEFLEET_S3_ENDPOINT", "STYLEFLEET_WORKER_S3_ENDPOINT"])
@pytest.mark.parametrize("url", ["http://me:hush-hush@minio:9000", "https://s3.example/?key=hush-hush", "minio:9000"])
def test_an_endpoint_with_credentials_is_refused_and_not_quoted(name: str, url: str) -> None:
    with pytest.raises(SettingsInvalid, match=name) as caught:
        controller_settings({"STYLEFLEET_BUCKET": "service", name: url})
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://me:hush-hush@sqs.example/1/q", "https://sqs.example/1/q?key=hush-hush", "https://sqs.example", "q"]
)
def test_a_queue_is_named_by_its_url_without_credentials(url: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"^STYLEFLEET_NOTIFICATIONS: allowed is a queue's URL") as caught:
        controller_settings({"STYLEFLEET_BUCKET": "service", "STYLEFLEET_NOTIFICATIONS": url})
    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("STYLEFLEET_BUCKET", "Not A Bucket", "a bucket's name"),
        ("STYLEFLEET_BUCKET", "shop/folder", "a bucket's name"),
        ("STYLEFLEET_CLUSTER", "mesos", "kubernetes and local"),
        ("STYLEFLEET_ALLOWED", "shop", "folders such as s3://bucket/folder/"),
        ("STYLEFLEET_ALLOWED", "s3://shop/../x", "folders such as s3://bucket/folder/"),
        ("STYLEFLEET_POLL_SECONDS", "0", "a number of at least 0.1"),
        ("STYLEFLEET_POLL_SECONDS", "soon", "a number of at least 0.1"),
        ("STYLEFLEET_POLL_SECONDS", "nan", "a number of at least 0.1"),
        ("STYLEFLEET_POLL_SECONDS", "inf", "a number of at least 0.1"),
        ("STYLEFLEET_HTTP_PORT", "-1", "a whole number from 0 to 65535"),
        ("STYLEFLEET_HTTP_PORT", "65536", "a whole number from 0 to 65535"),
        ("STYLEFLEET_HTTP_PORT", "80.5", "a whole number from 0 to 65535"),
        ("STYLEFLEET_SHARD_SECONDS", "0", "a number of at least 1"),
        ("STYLEFLEET_WORKER_GFLOPS", "0", "a number of at least 0.001"),
        ("STYLEFLEET_PRICE_PER_GPU_HOUR", "-1", "a number of at least 0"),
        ("STYLEFLEET_PRICE_PER_GPU_HOUR", "cheap", "a number of at least 0"),
        ("STYLEFLEET_CURRENCY", "euro", "three capital letters"),
        ("STYLEFLEET_LOCAL_SLOTS", "0", "a whole number from 1 to"),
        ("STYLEFLEET_LOCAL_SLOTS", "inf", "a whole number from 1 to"),
        ("STYLEFLEET_VGG19_WEIGHTS", "s3://models/../vgg19.h5", "a file's path or s3://bucket/key"),
    ],
)
def test_an_unusable_value_is_told_with_its_variable_and_what_is_allowed(name: str, value: str, allowed: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        controller_settings({"STYLEFLEET_BUCKET": "service"} | {name: value})
    message = str(caught.value)
    assert message.startswith(f"{name}: found {value!r}")
    assert allowed in message


def test_an_empty_variable_counts_as_unset() -> None:
    settings = controller_settings({"STYLEFLEET_BUCKET": "service", "STYLEFLEET_HTTP_PORT": "", "AWS_REGION": ""})
    assert settings.http_port == 8080
    assert settings.store.region is None


def test_replicas_elect_a_leader_where_a_lease_is_named() -> None:
    environment = {
        "STYLEFLEET_BUCKET": "service",
        "STYLEFLEET_LEASE": "fleet",
        "STYLEFLEET_IDENTITY": "pod-1",
    }
    assert controller_settings(environment).election == ElectionSettings(lease="fleet", identity="pod-1")
    with pytest.raises(SettingsInvalid, match=r"^STYLEFLEET_IDENTITY is not set"):
        controller_settings(environment | {"STYLEFLEET_IDENTITY": ""})
    with pytest.raises(SettingsInvalid, match=r"^STYLEFLEET_LEASE: found 'fleet', allowed only with"):
        controller_settings(environment | {"STYLEFLEET_CLUSTER": "local"})


def test_a_worker_knows_its_shard_and_attempt() -> None:
    settings = worker_settings(WORKER | {"STYLEFLEET_VGG19_WEIGHTS": "/w.h5", "STYLEFLEET_VGG19_SHA256": "ab"})
    assert (settings.name, settings.run, settings.shard, settings.attempt) == (
        "spring",
        "0123456789abcdef",
        3,
        "pod-7",
    )
    assert (settings.weights_path, settings.weights_sha256) == (Path("/w.h5"), "ab")
    assert worker_settings(WORKER).weights_path is None


def test_weights_may_lie_in_a_bucket() -> None:
    weights = {"STYLEFLEET_VGG19_WEIGHTS": "s3://models/vgg19.h5", "STYLEFLEET_VGG19_SHA256": "ab"}
    settings = worker_settings(WORKER | weights)
    assert (settings.weights_path, settings.weights_object) == (None, Ref("models", "vgg19.h5"))
    assert settings.weights_sha256 == "ab"


@pytest.mark.parametrize("read", [worker_settings, controller_settings])
def test_weights_in_a_bucket_that_are_not_pinned_or_are_a_folder_are_refused(
    read: Callable[[dict[str, str]], object],
) -> None:
    with pytest.raises(SettingsInvalid, match=r"^STYLEFLEET_VGG19_SHA256 is not set: .*s3://models/vgg19\.h5"):
        read(WORKER | {"STYLEFLEET_VGG19_WEIGHTS": "s3://models/vgg19.h5"})
    with pytest.raises(SettingsInvalid, match="found the folder 's3://models/'"):
        read(WORKER | {"STYLEFLEET_VGG19_WEIGHTS": "s3://models/", "STYLEFLEET_VGG19_SHA256": "ab"})


@pytest.mark.parametrize("name", sorted(WORKER))
@pytest.mark.parametrize("unset", [True, False])
def test_a_worker_without_one_of_its_variables_says_which(name: str, unset: bool) -> None:
    environment = {k: v for k, v in WORKER.items() if k != name} if unset else WORKER | {name: ""}
    with pytest.raises(SettingsInvalid, match=f"^{name} is not set"):
        worker_settings(environment)


@pytest.mark.parametrize("index", ["-1", "one", "1.5"])
def test_a_worker_refuses_an_index_that_is_none(index: str) -> None:
    with pytest.raises(SettingsInvalid, match="JOB_COMPLETION_INDEX: found"):
        worker_settings(WORKER | {"JOB_COMPLETION_INDEX": index})


def test_a_worker_serves_metrics_only_where_it_is_told_the_port() -> None:
    assert worker_settings(WORKER).metrics is None
    assert worker_settings(WORKER | {"STYLEFLEET_METRICS_PORT": "8080"}).metrics == ("", 8080)
    local = {"STYLEFLEET_METRICS_PORT": "8081", "STYLEFLEET_METRICS_HOST": "127.0.0.1"}
    assert worker_settings(WORKER | local).metrics == ("127.0.0.1", 8081)
    with pytest.raises(SettingsInvalid, match="STYLEFLEET_METRICS_PORT: found '0', allowed is a whole number from 1"):
        worker_settings(WORKER | {"STYLEFLEET_METRICS_PORT": "0"})


def test_a_local_controller_leaves_ports_for_its_workers() -> None:
    local = {"STYLEFLEET_BUCKET": "service", "STYLEFLEET_CLUSTER": "local", "STYLEFLEET_LOCAL_SLOTS": "2"}
    assert controller_settings(local | {"STYLEFLEET_HTTP_PORT": "65533"}).http_port == 65533
    with pytest.raises(SettingsInvalid, match="found 65534, allowed are ports with 2 more above, for the workers"):
        controller_settings(local | {"STYLEFLEET_HTTP_PORT": "65534"})


def test_workers_are_told_where_spans_go_and_not_the_headers_that_may_hold_a_key() -> None:
    told = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
        "OTEL_SERVICE_NAME": "painters",
        "OTEL_RESOURCE_ATTRIBUTES": "team=art",
    }
    headers = {"OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer hush"}
    settings = controller_settings({"STYLEFLEET_BUCKET": "service", **told, **headers})
    assert dict(settings.worker.environment) == told
    assert worker_settings(WORKER | told).otlp_endpoint == "http://collector:4318"
    assert worker_settings(WORKER).otlp_endpoint is None


@pytest.mark.parametrize("read", [worker_settings, controller_settings])
def test_a_collectors_address_with_a_password_is_refused_and_not_repeated(read: Callable[..., object]) -> None:
    with pytest.raises(SettingsInvalid, match="OTEL_EXPORTER_OTLP_ENDPOINT: allowed is an address") as refused:
        read(WORKER | {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:hush@collector:4318"})
    assert "hush" not in str(refused.value)
