"""A bucket in memory, a fake cluster and a clock, before which a test puts controllers."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from stylefleet import naming, status
from stylefleet.controller import Controller
from stylefleet.metrics import ControllerMetrics
from stylefleet.naming import Ref
from stylefleet.planner import Pace
from stylefleet.policies.admission import Limits
from stylefleet.status import Status
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW, TEMPLATE, jpeg_bytes, manifest_bytes
from tests.fake_cluster import FakeCluster, HookedStore

PICTURES = ("a", "b", "c")


@dataclass
class World:
    """A bucket, a cluster, a clock, and the controllers that a test starts."""

    now: datetime = NOW
    memory: MemoryStore = field(init=False)
    store: HookedStore = field(init=False)
    cluster: FakeCluster = field(init=False)
    metrics: ControllerMetrics = field(init=False)
    all_metrics: list[ControllerMetrics] = field(default_factory=list)
    """Of every controller that ever was."""
    limits: Limits | None = None
    """Of all controllers from now on."""
    controller: Controller = field(init=False)

    def __post_init__(self) -> None:
        self.memory = MemoryStore("service", "shop", clock=lambda: self.now)
        self.store = HookedStore(self.memory)
        self.cluster = FakeCluster(self.memory, "service")
        self.memory.put(Ref("shop", "styles/waves.jpg"), jpeg_bytes(7))
        for name in PICTURES:
            self.picture(name)
        self.restart()

    def restart(self) -> None:
        self.controller = self.new_controller()

    def new_controller(self, **edges: Any) -> Controller:
        self.metrics = ControllerMetrics()
        self.all_metrics.append(self.metrics)
        facts: dict[str, Any] = {
            "store": self.store,
            "cluster": self.cluster,
            "bucket": "service",
            "allowed": (Ref("shop", ""),),
            "template": TEMPLATE,
            "pace": Pace(shard_seconds=900.0, worker_flops=1e12),
            "metrics": self.metrics,
            "limits": self.limits,
        }
        return Controller(**(facts | edges))

    def picture(self, name: str, shade: int = 1) -> None:
        self.memory.put(Ref("shop", f"catalog/{name}.jpg"), f"picture {name} {shade}".encode())

    def submit(self, name: str = "spring", **spec: object) -> None:
        self.put(f"{name}.yaml", manifest_bytes(name, **spec))

    def put(self, file_name: str, data: bytes = b"") -> None:
        self.memory.put(Ref("service", naming.INBOX_PREFIX + file_name), data)

    def remove(self, file_name: str) -> None:
        self.memory.delete(Ref("service", naming.INBOX_PREFIX + file_name))

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += timedelta(seconds=10)
            self.controller.tick()

    def status(self, name: str = "spring") -> Status:
        return status.from_json(self.memory.get(Ref("service", naming.status_key(name))).data)

    def has_status(self, name: str) -> bool:
        return naming.status_key(name) in self.keys("service")

    def report(self, name: str = "spring") -> dict[str, Any]:
        uri = self.status(name).report
        document: dict[str, Any] = json.loads(self.memory.get(naming.parse_uri(uri)).data)
        return document

    def keys(self, bucket: str) -> dict[str, str]:
        """ETag by key."""
        return {o.ref.key: o.etag for o in self.memory.list(Ref(bucket, ""))}

    def work_to_the_end(self, name: str = "spring", **how: Any) -> None:
        self.tick()
        self.cluster.work(name=name, **how)
        self.cluster.finish(name=name)
        self.tick(2)

    def shown(self, name: str) -> Counter[tuple[str, ...]]:
        """Values of the samples of this name that are not zero, by their labels' values."""
        samples = [s for family in self.metrics.registry.collect() for s in family.samples if s.name == name]
        assert samples, f"{name} is not shown"
        return Counter({tuple(s.labels.values()): s.value for s in samples if s.value})

    def failures(self, scope: str = "manifest") -> float:
        value = self.metrics.registry.get_sample_value("stylefleet_reconcile_failures_total", {"scope": scope})
        assert value is not None
        return value
