"""`stylefleet logs`: the last lines of a run's workers, from the cluster or from this machine's own."""

from __future__ import annotations

import shlex
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from stylefleet import following, naming
from stylefleet.cli.output import say
from stylefleet.errors import (
    AccessDenied,
    ClusterUnavailable,
    NotFound,
    PermanentError,
    SettingsInvalid,
    printable,
)
from stylefleet.store import Store

PODS_MAX = 100
"""Whose logs are read; the run's newest."""
_PODS = "/api/v1/namespaces/{namespace}/pods"
_LOG = "/api/v1/namespaces/{namespace}/pods/{name}/log"

Log = tuple[str, list[str]]
"""Whose it is, and its last lines."""


def run(
    store: Store,
    bucket: str,
    name: str,
    *,
    cluster: Literal["kubernetes", "local"],
    namespace: str,
    folder: Path,
    tail: int,
) -> None:
    """Print them, each line with its worker before it. Raises NotFound where there are none."""
    found_run = following.read_status(store, bucket, name).run
    if cluster == "local":
        where = f"{folder}/"
        logs = _of_files(folder, naming.job_name(name, found_run), tail)
    else:
        where = f"namespace {namespace}"
        logs = _of_pods(namespace, found_run, tail)
    count = 0
    for worker, lines in logs:
        count += 1
        for line in lines:
            print(f"[{printable(worker)}] {printable(line)}")
    if count == 0:
        gone = "finished pods are removed after a while; receipts and the report stay in the bucket"
        raise NotFound(f"{name}: no worker of run {found_run} has a log in {where}: {gone}")
    say(f"{count:,} worker{'' if count == 1 else 's'} of run {found_run}, {where}")


def _of_files(folder: Path, job: str, tail: int) -> Iterator[Log]:
    """Of the local cluster: a file for each attempt, oldest first."""
    if not folder.is_dir():
        raise NotFound(f"{folder}: no such folder; name that of the controller by STYLEFLEET_LOCAL_FOLDER")
    for path in sorted(folder.glob(f"{job}-*.log"), key=lambda path: path.stat().st_mtime_ns):
        with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
            yield path.stem, [line.rstrip("\r\n") for line in deque(file, maxlen=tail)]


def _of_pods(namespace: str, run: str, tail: int) -> Iterator[Log]:
    """By the user's own kubeconfig. Raises SettingsInvalid with the command for who has it elsewhere."""
    # By itself, since the client takes long to load.
    from stylefleet.kubernetes_api import KubernetesApi, connect

    selector = f"{naming.LABEL_RUN}={run}"
    try:
        api = KubernetesApi(connect())
        listed = api.ask_again(
            "GET",
            _PODS,
            names={"namespace": namespace},
            query={"labelSelector": selector, "limit": str(PODS_MAX)},
        )
    except (SettingsInvalid, AccessDenied, ClusterUnavailable) as error:
        command = kubectl(namespace, selector, tail)
        raise type(error)(f"{error}\nwhere the cluster is in reach:  {command}") from error
    for pod in sorted(listed["items"], key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))):
        own = pod["metadata"]["name"]
        try:
            text = api.read_text(_LOG, names={"namespace": namespace, "name": own}, query={"tailLines": str(tail)})
        except AccessDenied as error:
            raise AccessDenied(f"{error}\nyour role lacks get on pods/log in {namespace}") from error
        except PermanentError as error:
            yield own, [f"(no log: {error})"]  # not started yet, or gone meanwhile
            continue
        yield own, text.split("\n")[:-1] if text.endswith("\n") else text.split("\n")


def kubectl(namespace: str, selector: str, tail: int) -> str:
    """The command that shows the same."""
    return shlex.join(["kubectl", "-n", namespace, "logs", "-l", selector, f"--tail={tail}", "--prefix"])
