"""Runs that share a fleet: in which order they are planned and begin, what they are told while they wait."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stylefleet import naming, tenants
from stylefleet.errors import ClusterUnavailable
from stylefleet.naming import Ref
from stylefleet.policies.admission import Limits
from stylefleet.settings import controller_settings
from stylefleet.status import Phase
from stylefleet.turns import URGENT_MAX
from tests.builders import TEMPLATE, manifest_bytes
from tests.world import World

ART = {"name": "art", "allowed": ["s3://shop/"], "parallelismMax": 4, "weight": 2}
TOYS = {"name": "toys", "allowed": ["s3://shop/"]}


class Crowd(World):
    """Many pictures, so that runs have more shards than workers."""

    def __init__(self, *records: dict[str, Any], total: int | None = None) -> None:
        super().__init__()
        for number in range(40):
            self.picture(f"{number:02d}")
        self.settings = controller_settings(
            {"STYLEFLEET_BUCKET": "service", "STYLEFLEET_PARALLELISM_MAX": str(total or "")}
            | ({"STYLEFLEET_TENANTS": json.dumps(records)} if records else {})
        )
        self.start()

    def start(self, **edges: Any) -> None:
        limits, of = self.settings.limits, self.settings.tenants
        self.controller = self.new_controller(**({"tenants": of, "limits": limits} | edges))

    def want(self, name: str, *, parallelism: int = 4, **run: Any) -> None:
        """A manifest whose run wants so many workers."""
        spec = {"output": {"prefix": f"s3://shop/restyled/{name}/"}, "run": {"parallelism": parallelism, **run}}
        self.submit(name, **spec) if "/" not in name else self.put(
            f"{name}.yaml", manifest_bytes(naming.own_name_of(name), **spec)
        )

    def workers(self) -> dict[str, int]:
        """Parallelism of the Jobs that have not ended, by manifest."""
        return {
            naming.name_of_label(j["metadata"]["labels"][naming.LABEL_NAME]): j["spec"]["parallelism"]
            for j in self.cluster.jobs.values()
            if not j["status"].get("conditions")
        }

    def end(self, name: str) -> None:
        self.cluster.work(name=name)
        self.cluster.finish(name=name)

    def why(self, name: str) -> str:
        return self.status(name).waiting_because


def test_a_tenants_cap_is_kept_and_the_others_go_on() -> None:
    crowd = Crowd(ART, TOYS)
    for name in ("art/a", "art/b", "toys/c"):
        crowd.want(name)
        crowd.tick()
    assert crowd.workers() == {"art/a": 4, "toys/c": 4}
    found = crowd.status("art/b")
    assert (found.phase, found.waiting_because) == (
        Phase.RUNNING,
        "CapReached: tenant art uses 4 of its 4 workers",
    )
    crowd.end("art/a")
    crowd.tick(2)
    assert crowd.workers() == {"art/b": 4, "toys/c": 4}
    assert crowd.why("art/b") == ""


def test_high_priority_begins_first_and_who_waits_is_told_how_many_are_before_it() -> None:
    crowd = Crowd(total=4)
    crowd.want("at-work")
    crowd.tick()
    for name, priority in (("old", "normal"), ("low", "low"), ("high", "high")):
        crowd.want(name, priority=priority)
        crowd.tick()
    crowd.tick()
    assert crowd.why("high") == "CapReached: 4 of 4 workers are in use"
    assert crowd.why("low") == "CapReached: 4 of 4 workers are in use; 2 runs are before it"
    for name in ("high", "old", "low"):
        crowd.end(next(iter(crowd.workers())))
        crowd.tick(2)
        assert crowd.workers() == {name: 4}


def test_a_run_begins_with_what_is_left_and_grows_when_there_is_more() -> None:
    crowd = Crowd(total=6)
    crowd.want("first")
    crowd.tick()
    crowd.want("second")
    crowd.want("third")
    crowd.tick()
    assert crowd.workers() == {"first": 4, "second": 2}
    crowd.cluster.work(name="first", only=set(range(39)))
    crowd.tick()
    # Of the first run's Job as many workers are left as it has open indexes; the older of the others is served first.
    assert crowd.workers()["second"] == 4
    crowd.end("first")
    crowd.tick()
    assert crowd.workers() == {"second": 4, "third": 2}


def test_a_job_of_a_queue_begins_whole_and_is_never_changed() -> None:
    crowd = Crowd(total=6)
    crowd.want("first")
    crowd.tick()
    crowd.want("queued", queue="gpu")
    crowd.want("small", parallelism=1)
    crowd.tick(2)
    assert crowd.workers() == {"first": 4}
    assert crowd.why("queued") == "CapReached: 4 of 6 workers are in use, and this run begins with 4"
    assert crowd.why("small").endswith("; 1 run is before it"), (
        "nobody passes it, so that it is not kept waiting for ever"
    )
    crowd.end("first")
    crowd.tick()
    assert crowd.workers() == {"queued": 4, "small": 1}
    job = next(j for j in crowd.cluster.jobs.values() if naming.LABEL_QUEUE in j["metadata"]["labels"])
    job["spec"]["parallelism"] = 2  # Kueue admitted a part
    crowd.tick(2)
    assert crowd.workers() == {"queued": 2, "small": 1}


def test_what_a_queue_admits_in_part_counts_as_that_part() -> None:
    crowd = Crowd(total=6)
    crowd.want("queued", queue="gpu")
    crowd.tick()
    next(iter(crowd.cluster.jobs.values()))["spec"]["parallelism"] = 1
    crowd.want("other", parallelism=5)
    crowd.tick()
    assert crowd.workers() == {"queued": 1, "other": 5}


def test_a_suspended_job_keeps_its_place_since_its_queue_may_admit_it_any_time() -> None:
    crowd = Crowd(total=4)
    crowd.want("queued", queue="gpu")
    crowd.tick()
    next(iter(crowd.cluster.jobs.values()))["spec"]["suspend"] = True
    crowd.want("other")
    crowd.tick(2)
    assert crowd.workers() == {"queued": 4}


@pytest.mark.parametrize("how", ["cancelled", "deleted", "paused"])
def test_a_run_that_does_not_want_workers_any_more_keeps_nobody_waiting(how: str) -> None:
    crowd = Crowd(total=4)
    crowd.want("at-work")
    crowd.tick()
    crowd.want("first")
    crowd.tick()
    crowd.want("second")
    crowd.tick()
    if how == "deleted":
        crowd.remove("first.yaml")
    else:
        crowd.put(f"first.{'cancel' if how == 'cancelled' else 'pause'}")
    crowd.tick(3)
    assert crowd.why("second") == "CapReached: 4 of 4 workers are in use"
    crowd.end("at-work")
    crowd.tick(2)
    assert crowd.workers() == {"second": 4}


def test_a_controller_that_comes_new_keeps_the_caps_and_the_order() -> None:
    crowd = Crowd(total=4)
    for name in ("at-work", "first", "second"):
        crowd.want(name)
        crowd.tick()
    crowd.start()
    crowd.tick()
    assert crowd.workers() == {"at-work": 4}
    crowd.end("at-work")
    crowd.tick(2)
    assert crowd.workers() == {"first": 4}


def test_a_job_that_cannot_be_made_is_tried_again_and_does_not_use_up_the_cap() -> None:
    crowd = Crowd(total=4)

    def away(method: str, _: object) -> None:
        if method == "create_job":
            raise ClusterUnavailable("no answer")

    crowd.cluster.before = away
    crowd.want("first")
    crowd.tick(2)
    assert crowd.status("first").message == "held up: no answer"
    crowd.cluster.before = lambda *_: None
    crowd.tick()
    assert crowd.workers() == {"first": 4}


def test_new_manifests_are_planned_by_priority_then_by_tenant_then_by_age() -> None:
    crowd = Crowd(ART, TOYS, total=100)
    crowd.want("art/running", parallelism=2)
    crowd.tick()
    # Put in an order that is not that of their names, all before one tick.
    crowd.now = crowd.now.replace(second=1)
    for second, (name, priority) in enumerate(
        [("art/z-old", "normal"), ("art/a-new", "normal"), ("toys/m", "normal"), ("art/low", "low"), ("toys/x", "high")]
    ):
        crowd.now = crowd.now.replace(second=2 + second)
        crowd.want(name, parallelism=4, priority=priority)
    crowd.store.puts.clear()
    crowd.tick()
    planned = [key.split("/")[1:3] for key in crowd.store.puts if key.endswith("/plan.json")]
    # toys/x counts when toys/m has its turn: art, with two workers and twice the weight, has had less for its weight.
    assert ["/".join(name) for name in planned] == ["toys/x", "art/z-old", "art/a-new", "toys/m", "art/low"]


def test_one_tenants_flood_does_not_keep_anothers_manifest_waiting() -> None:
    crowd = Crowd(ART | {"parallelismMax": 1}, TOYS)
    for number in range(URGENT_MAX + 30):
        crowd.want(f"art/{number:04d}", parallelism=1)
    crowd.want("toys/late", parallelism=1)
    crowd.tick()
    assert "toys/late" in crowd.workers()
    assert len(crowd.workers()) == 2, "and art keeps to its cap"


def test_a_thousand_runs_that_wait_do_not_keep_a_job_that_ended_waiting() -> None:
    crowd = Crowd(total=1)
    for number in range(2 * URGENT_MAX + 30):
        crowd.want(f"run-{number:04d}", parallelism=1)
    crowd.tick(4)
    (name,) = crowd.workers()
    crowd.end(name)
    crowd.tick()
    assert crowd.status(name).phase is Phase.SUCCEEDED
    crowd.tick()
    assert list(crowd.workers()) == ["run-0001"]


def test_a_flood_of_new_manifests_does_not_keep_from_its_workers_whose_turn_it_is() -> None:
    crowd = Crowd(total=1)
    for name in ("at-work", "next"):
        crowd.want(name, parallelism=1)
        crowd.tick()
    crowd.end("at-work")
    for number in range(URGENT_MAX + 30):
        crowd.want(f"new-{number:04d}", parallelism=1)
    crowd.tick()
    assert crowd.workers() == {"next": 1}


def test_without_caps_a_job_that_a_hand_made_smaller_stays_so() -> None:
    crowd = Crowd(TOYS)
    crowd.want("toys/a")
    crowd.tick()
    next(iter(crowd.cluster.jobs.values()))["spec"]["parallelism"] = 1
    crowd.tick(2)
    assert crowd.workers() == {"toys/a": 1}


def test_the_settings_say_the_limits() -> None:
    settings = Crowd(ART, TOYS, total=90).settings
    assert settings.limits == Limits(total=90, by_tenant={"art": 4}, weights={"art": 2.0, "toys": 1.0})
    assert Crowd().settings.limits.none
    with pytest.raises(ValueError, match=r"\[0\].weight: the number is out of range"):
        tenants.parse(json.dumps([ART | {"weight": 0}]), service_bucket="service")
    with pytest.raises(ValueError, match=r"\[0\].parallelismMax: the number is out of range"):
        tenants.parse(json.dumps([ART | {"parallelismMax": 0}]), service_bucket="service")


def test_the_default_queue_of_the_operator_counts_as_a_queue() -> None:
    crowd = Crowd(total=6)
    pod = TEMPLATE.pod.model_copy(update={"queue": "night"})
    crowd.start(template=replace(TEMPLATE, pod=pod))
    crowd.want("first")
    crowd.want("second")
    crowd.tick()
    assert crowd.workers() == {"first": 4}


def test_the_inbox_of_one_manifest_is_read_once() -> None:
    crowd = Crowd(total=6)
    crowd.want("only")
    seen: list[str] = []
    crowd.store.before = lambda method, subject: seen.append(str(subject)) if method == "get" else None
    crowd.tick()
    assert seen.count(str(Ref("service", "jobs/only.yaml"))) == 1
