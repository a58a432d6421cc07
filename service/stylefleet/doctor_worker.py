"""The doctor's part in a worker pod: what only a worker meets. Its answer is what `checks.to_json` makes of it.

Its store is reached from the pod's network with the pod's credentials; its weights and its TensorFlow are the image's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from stylefleet import doctor_store
from stylefleet.checks import Check, failed, ok, skipped, to_json
from stylefleet.errors import ExitCode, SettingsInvalid, TransientError, WeightsInvalid
from stylefleet.presets import recipe_for
from stylefleet.recipe import Backbone
from stylefleet.settings import WorkerSettings, worker_settings
from stylefleet.store_s3 import S3Store, credentials_from, make_client

STORE_SETTINGS = "STYLEFLEET_BUCKET and STYLEFLEET_WORKER_S3_ENDPOINT"
WORDS_MAX = 400
"""Characters of one answer: all of them must fit into the 4096 bytes that Kubernetes keeps of a pod's last words."""


def main(environment: Mapping[str, str], report: Path, *, gpus: int) -> ExitCode:
    """Write the checks to `report`; the exit code says whether all is well."""
    checks = [replace(c, found=c.found[:WORDS_MAX], remedy=c.remedy[:WORDS_MAX]) for c in examine(environment, gpus)]
    report.write_text(to_json(checks))
    return ExitCode.OK if all(c.outcome != "failed" for c in checks) else ExitCode.INTERNAL


def examine(environment: Mapping[str, str], gpus: int) -> list[Check]:
    """The checks worker-credentials, worker-bucket, weights and engine."""
    ids = ("worker-credentials", "worker-bucket", "weights", "engine")
    try:
        settings = worker_settings(environment)
    except SettingsInvalid as error:
        remedy = "Correct the variable; the controller passes it on to its workers"
        return [failed(ids[0], error, remedy), *skipped(ids[1:], "a setting has no usable value")]
    store = S3Store(make_client(settings.store.endpoint_url, settings.store.region, retries=1), attempts=1)
    return [*_store(store, settings), *_engine(store, settings, gpus)]


def _store(store: S3Store, settings: WorkerSettings) -> list[Check]:
    place = settings.store
    facts = doctor_store.observe(store, place.bucket, place.endpoint_url, rounds=1)
    checks = doctor_store.judge(facts, credentials_from=credentials_from(), settings=STORE_SETTINGS)
    return [replace(c, id=f"worker-{c.id}") for c in checks if c.id != "conditional-writes"]


def _engine(store: S3Store, settings: WorkerSettings, gpus: int) -> list[Check]:
    try:
        from stylefleet import engine as engines
        from stylefleet import looks
    except ImportError as error:
        remedy = "Use an image built for workers (target worker-cpu or worker-gpu), or install stylefleet[worker-cpu]"
        return [*skipped(["weights"], "the engine is not there"), failed("engine", error, remedy)]
    weights_named = settings.weights_path is not None or settings.weights_object is not None
    named: tuple[Backbone, ...] = ("vgg19-imagenet",) if weights_named else ()
    backbones: tuple[Backbone, ...] = ("vgg16-hed", *named)
    try:
        loaded = [
            looks.load_engine(store, settings, recipe_for(preset="draft", size_px=64, backbone=backbone))
            for backbone in backbones
        ]
    except WeightsInvalid as error:
        remedy = (
            "Put the right file where STYLEFLEET_VGG19_WEIGHTS says, or correct STYLEFLEET_VGG19_SHA256 after checking "
            "with the publisher; weights of another hash are never used"
        )
        return [failed("weights", error, remedy), *skipped(["engine"], "it does not start without its weights")]
    except TransientError as error:
        remedy = "Ask again when the bucket of STYLEFLEET_VGG19_WEIGHTS answers"
        return [failed("weights", error, remedy), *skipped(["engine"], "it does not start without its weights")]
    weights = ok("weights", ", ".join(f"{e.backbone} with SHA-256 {e.weights_sha256[:12]}…" for e in loaded))
    engine = loaded[0]
    words = f"TensorFlow {engine.tensorflow_version} on {engine.device}, {engine.precision}"
    if gpus and engines.probe_device().kind != "gpu":
        remedy = (
            "Use the image of target worker-gpu, and see that the node's driver and container runtime hand the GPU on "
            "(runtimeClassName, device plugin); on CPUs the same work takes many times as long"
        )
        return [weights, failed("engine", f"the pod asked for a GPU, but computes on {words}", remedy)]
    return [weights, ok("engine", words)]
