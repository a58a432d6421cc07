"""Every object key, Job name, label and URI rule in one place.

jobs/NAME.yaml                                     the user's manifest (.yaml, .yml or .json)
jobs/NAME.cancel                                   put by the user: stop that run
jobs/NAME.pause                                    put by the user: no workers for that run until this is taken away
status/NAME.json                                   phase, errors, progress of the newest run
runs/NAME/newest.json                              the run that may store results, where one has followed on another
runs/NAME/RUN/plan.json                            write-once, put last: a run is planned when it exists
runs/NAME/RUN/shards/00042-DIGEST.jsonl            write-once: that shard's tasks, one a line; named by content
runs/NAME/RUN/receipts/00042/ATTEMPT-00007.jsonl   one object a part, never rewritten
runs/NAME/RUN/done/00042-ATTEMPT.jsonl             what all receipts of a complete shard say is done, for the next plan
runs/NAME/RUN/progress.json                        what its complete shards add up to; a shortcut, made from receipts
runs/NAME/RUN/report.json                          written when the run ends
runs/NAME/RUN/report.html                          the same for people, with charts and thumbnails
runs/NAME/RUN/failures/00000.jsonl                 beside it: pictures without result, in pages
cache/style/DIGEST                                 style targets, content-addressed, shared by all runs
cache/timings/gpu.json                             what pictures took, for the next plan; cpu.json without GPUs
checkpoints/TASK_ID                                a picture in the works, for the next attempt; gone when it is done
attempts/NAME/RUN/00042/ATTEMPT                    what it has in hand, or that it was told to end; gone with the shard
metrics/totals.json                                what the counters stand at, and which receipts are in them

Where the inbox has tenants, each has a folder of it, `jobs/TENANT/NAME.yaml`, and NAME is `TENANT/NAME` in every key
above: `status/TENANT/NAME.json`, `runs/TENANT/NAME/RUN/...`. The caches are `cache/style/TENANT/DIGEST`,
`cache/timings/TENANT/gpu.json` and `checkpoints/TENANT/TASK_ID`. So a bucket policy can give a tenant's users, and its
workers, nothing but its own.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime
from typing import NamedTuple

MANIFEST_SUFFIXES = (".yaml", ".yml", ".json")
CANCEL_SUFFIX = ".cancel"
PAUSE_SUFFIX = ".pause"
INBOX_PREFIX = "jobs/"
STATUS_PREFIX = "status/"
RUNS_PREFIX = "runs/"
CACHE_PREFIX = "cache/"
CHECKPOINTS_PREFIX = "checkpoints/"
ATTEMPTS_PREFIX = "attempts/"
METRICS_PREFIX = "metrics/"
TOTALS_KEY = f"{METRICS_PREFIX}totals.json"
OWN_PREFIXES = (
    INBOX_PREFIX,
    STATUS_PREFIX,
    RUNS_PREFIX,
    CACHE_PREFIX,
    CHECKPOINTS_PREFIX,
    ATTEMPTS_PREFIX,
    METRICS_PREFIX,
)
"""Folders of the service's own bucket that no manifest may write to."""

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL_CHARACTERS_MAX = 63
"""Of the value of a label, which a name with its tenant has to be too."""
NAME_RULE = "1 to 63 lower-case letters, digits and hyphens; a letter or digit at both ends"

LABEL_RUN = "stylefleet.dev/run"
LABEL_NAME = "stylefleet.dev/name"
LABEL_BUCKET = "stylefleet.dev/bucket"
"""Whose Job it is: two services may share a namespace, and neither must take the other's Jobs for orphans."""
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED_BY = "stylefleet"
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
FINALIZER = "stylefleet.dev/report-is-durable"
"""Keeps a finished Job from vanishing (TTL, a hand) before its report is in the bucket."""

METADATA_TASK = "stylefleet-task"
METADATA_RECIPE = "stylefleet-recipe"

BUCKET_PATTERN = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_URI_PATTERN = re.compile(rf"s3://(?P<bucket>{BUCKET_PATTERN.pattern})/(?P<key>.*)", re.DOTALL)
_KEY_BYTES_MAX = 1024
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
_ODD_SEGMENT = re.compile(r"(?:\A|/)(?:\.{0,2}/|\.{1,2}\Z)")


class Ref(NamedTuple):
    """Where an object is: bucket and key. Printed as `s3://bucket/key`."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


_PART = re.compile(r"([^/]+)/(receipts|done)/(\d{5})[-/][^/]+")


class Part(NamedTuple):
    """An object that tells of finished tasks."""

    run: str
    shard: int
    whole: bool
    """Whether it tells all that the shard's receipts do."""


def parse_uri(uri: str) -> Ref:
    """The Ref of `s3://bucket/key`; the key may be a prefix, also an empty one.

    Raises ValueError with the rule that is broken. Keys are taken literally: no percent decoding, no query.
    """
    match = _URI_PATTERN.fullmatch(uri)
    if match is None:
        raise ValueError("not of the form s3://bucket/key")
    ref = Ref(match["bucket"], match["key"])
    fault = key_fault(ref.key)
    if fault:
        raise ValueError(fault)
    return ref


def key_fault(key: str) -> str:
    """Why a key cannot be used, although S3 allows it: HTTP clients rewrite such paths. Empty where it can."""
    if len(key.encode()) > _KEY_BYTES_MAX:
        return f"the key is longer than {_KEY_BYTES_MAX} bytes"
    if _CONTROL_CHARACTER.search(key):
        return "the key has a control character"
    if _ODD_SEGMENT.search(key):
        return "the key has an empty, '.' or '..' segment"
    return ""


def is_below(ref: Ref, prefix: Ref) -> bool:
    """Whether `ref` lies in the folder `prefix`: `s3://b/a-evil` is not below `s3://b/a`."""
    folder = prefix.key if prefix.key == "" or prefix.key.endswith("/") else prefix.key + "/"
    return ref.bucket == prefix.bucket and (ref.key + "/").startswith(folder)


def manifest_name(key: str) -> str | None:
    """NAME of an inbox key `jobs/NAME.yaml`, TENANT/NAME of `jobs/TENANT/NAME.yaml`; None where the key is no manifest
    (a folder, a marker, something deeper, or a folder under whose name no status can be kept)."""
    tenant, slash, file_name = key.removeprefix(INBOX_PREFIX).rpartition("/")
    if slash and ("/" in tenant or key_fault(key)):
        return None
    for suffix in MANIFEST_SUFFIXES:
        if file_name.endswith(suffix) and file_name != suffix:
            return full_name(tenant, file_name.removesuffix(suffix))
    return None


def full_name(tenant: str, own_name: str) -> str:
    """What a manifest is called everywhere but in itself; `tenant` is empty where there are none."""
    return f"{tenant}/{own_name}" if tenant else own_name


def tenant_of(name: str) -> str:
    """The tenant of a manifest; empty where it has none."""
    return name.rpartition("/")[0]


def own_name_of(name: str) -> str:
    """What a manifest calls itself, without its tenant."""
    return name.rpartition("/")[2]


def label_of(name: str) -> str:
    """A manifest's name as the value of a label, which has no '/': no tenant and no name has a '.' of its own."""
    return name.replace("/", ".")


def name_of_label(value: str) -> str:
    """The inverse of `label_of`."""
    return value.replace(".", "/")


def cancel_key(name: str) -> str:
    return f"{INBOX_PREFIX}{name}{CANCEL_SUFFIX}"


def pause_key(name: str) -> str:
    return f"{INBOX_PREFIX}{name}{PAUSE_SUFFIX}"


def status_key(name: str) -> str:
    return f"{STATUS_PREFIX}{name}.json"


def run_id(name: str, manifest: bytes, submitted_at: datetime) -> str:
    """Identity of one submission: the same bytes put again are a new run (which skips what is done).

    `submitted_at` is the store's LastModified, whole seconds: the finest that every store gives in both LIST and GET.
    """
    stamp = submitted_at.astimezone(UTC).replace(microsecond=0).isoformat()
    return hashlib.sha256(b"\0".join([name.encode(), stamp.encode(), manifest])).hexdigest()[:16]


def run_prefix(name: str, run: str) -> str:
    return f"{RUNS_PREFIX}{name}/{run}/"


def newest_key(name: str) -> str:
    return f"{run_prefix(name, '')[:-1]}newest.json"


def plan_key(name: str, run: str) -> str:
    return f"{run_prefix(name, run)}plan.json"


def shard_key(name: str, run: str, shard: int, digest: str) -> str:
    return f"{run_prefix(name, run)}shards/{shard:05d}-{digest[:12]}.jsonl"


def receipts_prefix(name: str, run: str) -> str:
    return f"{run_prefix(name, run)}receipts/"


def shard_receipts_prefix(name: str, run: str, shard: int) -> str:
    return f"{receipts_prefix(name, run)}{shard:05d}/"


def receipts_key(name: str, run: str, shard: int, attempt: str, part: int) -> str:
    return f"{shard_receipts_prefix(name, run, shard)}{attempt}-{part:05d}.jsonl"


def shard_of_receipts(name: str, run: str, key: str) -> int | None:
    """The shard of a key below `receipts_prefix`; None where somebody put something else there."""
    folder = key.removeprefix(receipts_prefix(name, run)).partition("/")[0]
    return int(folder) if folder.isdecimal() else None


def attempt_part(key: str) -> tuple[str, int]:
    """Attempt and number of part of receipts; all of another name, and 0, where somebody put something else there."""
    attempt, dash, part = key.rpartition("/")[2].removesuffix(".jsonl").rpartition("-")
    return (attempt, int(part)) if dash and part.isdecimal() else (key, 0)


def done_key(name: str, run: str, shard: int, attempt: str) -> str:
    return f"{run_prefix(name, run)}done/{shard:05d}-{attempt}.jsonl"


def part_of(name: str, key: str) -> Part | None:
    """What a key below `runs/NAME/` tells about finished tasks; None where it is another record, or somebody else's."""
    # Of nothing deeper: that is another name's, of a tenant who is called as this manifest is.
    found = _PART.fullmatch(key.removeprefix(run_prefix(name, "")[:-1]))
    return Part(run=found[1], shard=int(found[3]), whole=found[2] == "done") if found else None


def progress_key(name: str, run: str) -> str:
    return f"{run_prefix(name, run)}progress.json"


def failures_prefix(name: str, run: str) -> str:
    return f"{run_prefix(name, run)}failures/"


def failures_key(name: str, run: str, page: int) -> str:
    return f"{failures_prefix(name, run)}{page:05d}.jsonl"


def report_key(name: str, run: str) -> str:
    return f"{run_prefix(name, run)}report.json"


def report_page_key(name: str, run: str) -> str:
    return f"{run_prefix(name, run)}report.html"


def style_cache_key(digest: str, tenant: str = "") -> str:
    return f"{CACHE_PREFIX}style/{full_name(tenant, digest)}"


def timings_key(gpus: int, tenant: str = "") -> str:
    return f"{CACHE_PREFIX}timings/{full_name(tenant, 'gpu.json' if gpus else 'cpu.json')}"


def checkpoint_key(task_id: str, tenant: str = "") -> str:
    return f"{CHECKPOINTS_PREFIX}{full_name(tenant, task_id)}"


def shard_attempts_prefix(name: str, run: str, shard: int) -> str:
    return f"{ATTEMPTS_PREFIX}{name}/{run}/{shard:05d}/"


def attempt_key(name: str, run: str, shard: int, attempt: str) -> str:
    return f"{shard_attempts_prefix(name, run, shard)}{attempt}"


def job_name(name: str, run: str) -> str:
    """A Job name of at most 57 characters, so that `NAME-INDEX` (a pod's host name) stays within 63.

    The run identity holds the whole name, so two long names that share their first 36 characters do not collide, nor
    do `a-b/c` and `a/b-c`.
    """
    return f"sf-{name.replace('/', '-')[:36].rstrip('-')}-{run}"


_IMAGE_SUFFIXES_BY_FORMAT = {"jpeg": (".jpg", ".jpeg"), "png": (".png",), "webp": (".webp",)}


MASK_SUFFIX = ".png"
START_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def mask_path(relative: str) -> str:
    """Where below a folder of masks the mask of the picture `relative` lies: its own path, as PNG."""
    return _without_suffix(relative) + MASK_SUFFIX


def start_paths(relative: str) -> tuple[str, ...]:
    """Where below a folder of starts that of the picture `relative` may lie: under its own name first, then as the
    result of a run that was made from it (`a.png.jpg`), then under every suffix that a picture may have."""
    stem = _without_suffix(relative)
    results = (output_path(relative, image_format) for image_format in _IMAGE_SUFFIXES_BY_FORMAT)
    return tuple(dict.fromkeys([relative, *results, *(stem + suffix for suffix in START_SUFFIXES)]))


def _without_suffix(relative: str) -> str:
    folder, slash, name = relative.rpartition("/")
    stem = name.rpartition(".")[0]
    return f"{folder}{slash}{stem or name}"


def output_path(relative: str, image_format: str) -> str:
    """Where below the output prefix the result of `relative` goes: its own path, so nothing is renamed needlessly.

    A suffix of another format is kept and the right one appended (`a.png` -> `a.png.jpg`), so that `a.png` and
    `a.jpg` do not meet in one result.
    """
    suffixes = _IMAGE_SUFFIXES_BY_FORMAT[image_format]
    return relative if relative.lower().endswith(suffixes) else relative + suffixes[0]
