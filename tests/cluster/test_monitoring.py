"""A real Prometheus that finds the pods of a real cluster as the chart's PodMonitors say."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.test_deployment import CHART, Release, released
from tests.fleet import eventually
from tests.monitoring.prometheus import Prometheus, prometheus

__all__ = ["released"]

pytestmark = pytest.mark.timeout(2400)  # the first test also builds the lab and the images

BY_OUTCOME = "max by (outcome, reason) (stylefleet_pictures_total) > 0"


class Discovery:
    """Does for a PodMonitor what the Prometheus operator has Prometheus do: finds its running pods, again and again.
    Debian's Prometheus knows no Kubernetes, so it is told by a file."""

    def __init__(self, release: Release, monitor: dict[str, Any], folder: Path) -> None:
        self._release, self._name = release, monitor["metadata"]["name"]
        (self._endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        self._selector = ",".join(f"{k}={v}" for k, v in monitor["spec"]["selector"]["matchLabels"].items())
        self._file = folder / f"{self._name}.json"
        self.refresh()

    @property
    def scrape_config(self) -> dict[str, Any]:
        return {
            "job_name": self._name,
            "metrics_path": self._endpoint["path"],
            "file_sd_configs": [{"files": [str(self._file)]}],
        }

    def refresh(self) -> None:
        """Write down who is there now."""
        pods = [p for p in self._release.pods(self._selector) if p["status"]["phase"] == "Running"]
        whole = self._file.with_suffix(".new")
        whole.write_text(json.dumps([target for pod in pods for target in self._targets(pod)]))
        whole.replace(self._file)

    def _targets(self, pod: dict[str, Any]) -> list[dict[str, Any]]:
        labels = {"namespace": pod["metadata"]["namespace"], "pod": pod["metadata"]["name"]}
        ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
        return [
            {"targets": [f"{pod['status']['podIP']}:{port['containerPort']}"], "labels": labels}
            for port in ports
            if port.get("name") == self._endpoint["port"]
        ]


@contextmanager
def kept_fresh(discoveries: list[Discovery]) -> Iterator[None]:
    """Look for pods until the block ends."""
    done = threading.Event()

    def look() -> None:
        while not done.wait(1):
            for discovery in discoveries:
                discovery.refresh()

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        try:
            yield
        finally:
            done.set()
    looking.result()


def pod_monitors(release: Release) -> list[dict[str, Any]]:
    rendered = release.helm(
        *("template", "art", str(CHART), release.values(), "--set=metrics.podMonitor.enabled=true"),
        "--show-only=templates/podmonitor.yaml",
    )
    return list(yaml.safe_load_all(rendered))


def counted(server: Prometheus) -> Counter[tuple[str, str]]:
    samples = server.query(BY_OUTCOME)
    return Counter({(s["metric"]["outcome"], s["metric"].get("reason", "")): int(s["value"][1]) for s in samples})


def test_what_prometheus_counts_equals_the_receipts_also_where_the_leader_changes_in_mid_run(
    released: Callable[[], Release], tmp_path: Path
) -> None:
    release = released()
    fleet = release.fleet
    fleet.put_shapes(6)
    fleet.put("catalog/broken.jpg", b"no picture")
    release.install()
    found = [Discovery(release, monitor, tmp_path) for monitor in pod_monitors(release)]
    configs = [each.scrape_config for each in found]

    with kept_fresh(found), prometheus(tmp_path, scrape_configs=configs, rules={"groups": []}) as server:
        fleet.submit("scraped", recipe={"preset": "draft", "size": 96}, run={"parallelism": 1})
        eventually(lambda: counted(server), "a first picture is counted")
        eventually(lambda: server.query("stylefleet_worker_info"), "a worker tells what it does")
        holder = release.get("lease", "art-stylefleet")["spec"]["holderIdentity"]
        (leader,) = [name for name in release.controllers() if holder.startswith(name)]
        release.kubernetes.kubectl("delete", "pod", leader, f"--namespace={release.namespace}")
        fleet.wait("scraped", "PartiallySucceeded")

        told = Counter((r.outcome, r.reason) for r in fleet.receipts("scraped"))
        eventually(lambda: counted(server) == told, f"Prometheus has {told}")
        pods = {sample["metric"]["pod"] for sample in server.query("last_over_time(stylefleet_pictures_total[1h])")}
        assert len(pods) == 2, "one leader after the other showed them"
        # Nothing ever counted more, nor did any counter go back.
        total = "sum(max by (outcome, reason) (stylefleet_pictures_total))"
        highest = f"max_over_time({total}[30m:1s])"
        eventually(lambda: server.number(highest) >= told.total(), "the last scrape is among these")
        assert server.number(highest) == told.total()
        assert server.number(f"resets({total}[30m:1s])") == 0
        seconds = sum(r.worker_seconds for r in fleet.receipts("scraped"))
        assert server.number("max(stylefleet_worker_seconds_total)") == pytest.approx(seconds, abs=1e-3)
