"""Kueue's changes to a Job, one after another, before a controller that understands them and undoes none."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from stylefleet import kueue, naming
from stylefleet.cluster_kubernetes import KubernetesCluster
from stylefleet.diagnosis import of_suspended
from stylefleet.errors import AccessDenied
from stylefleet.jobs import job_for, view
from stylefleet.kubernetes_api import Gone
from stylefleet.kueue import ANNOTATION_MIN_PARALLELISM, Said
from stylefleet.planner import Pace
from stylefleet.policies.admission import Limits
from stylefleet.status import Phase
from stylefleet.terms import Terms
from stylefleet.worker_pod import WorkerPod
from tests.builders import TEMPLATE, make_plan
from tests.kueue import FLAVOR_LABELS, Json, Kueue
from tests.world import World

NO_ROOM = (
    "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu in flavor l4, 3 more needed"
)
PREEMPTED = "Preempted to accommodate a workload (UID: d34468c2) due to prioritization in the ClusterQueue"


class Queued(World):
    """A run of 12 pictures and 4 workers that goes through a queue."""

    def __init__(self, **run: Any) -> None:
        super().__init__()
        for number in range(9):
            self.picture(f"{number:02d}")
        # So slow that an estimate is to be seen.
        self.controller = self.new_controller(pace=Pace(shard_seconds=900.0, worker_flops=1e8))
        self.submit(run={"parallelism": 4, "queue": "gpu", **run})
        self.tick()
        (self.job,) = self.cluster.jobs.values()
        self.kueue = Kueue(self.job)
        self.made = self.cluster.created.copy()

    def look(self, times: int = 3) -> str:
        """Ticks, so long that a run that waits says why; what Kueue says is what its Workload does. The controller must
        leave the Job as it is."""
        self.cluster.queue_says = kueue.of_workload(self.kueue.workload)
        before = copy.deepcopy(self.job["spec"])
        self.tick(times)
        assert self.job["spec"] == before
        assert self.cluster.created == self.made
        return self.status().waiting_because

    def be_at_work(self, *, pods: int = 4) -> None:
        self.cluster.set_status(active=pods, ready=pods)


def test_a_job_that_is_suspended_at_its_creation_waits_and_is_told_by_kueues_words() -> None:
    world = Queued()
    assert world.look() == (
        "QueueNotAdmitted: the queue gpu has not admitted the Job. Its quota is in use, or there is no LocalQueue of "
        "that name here: kubectl get localqueues,workloads"
    )
    world.kueue.pend(NO_ROOM)
    assert world.look() == f"QueueNotAdmitted: the queue gpu has not admitted the Job: {NO_ROOM}"


def test_an_admitted_job_keeps_what_its_flavor_says_and_runs_to_its_end() -> None:
    world = Queued()
    world.look()
    world.kueue.admit()
    world.be_at_work()
    assert world.look() == ""
    assert world.job["spec"]["template"]["spec"]["nodeSelector"] == FLAVOR_LABELS
    world.cluster.work()
    world.cluster.finish()
    world.tick(2)
    assert world.status().phase is Phase.SUCCEEDED
    assert len(world.cluster.computed) == 12


def test_an_evicted_job_says_so_keeps_what_is_done_and_goes_on_when_it_is_admitted_again() -> None:
    world = Queued()
    world.kueue.admit()
    world.be_at_work()
    world.cluster.work(only={0, 1})
    world.look()
    done = world.status().done
    assert done > 0
    world.kueue.evict("Preempted", PREEMPTED)
    assert world.look() == (
        f"Evicted: the queue gpu has stopped the Job, which was at work: {PREEMPTED}. It goes on when the queue admits "
        "it again; what is finished stays"
    )
    found = world.status()
    assert (found.phase, found.done) == (Phase.RUNNING, done)
    world.kueue.pend(NO_ROOM)
    assert f"at work: {PREEMPTED}. {NO_ROOM}." in world.look()
    world.kueue.admit()
    world.be_at_work()
    assert world.look() == ""
    world.cluster.work()
    world.cluster.finish()
    world.tick(2)
    assert world.status().phase is Phase.SUCCEEDED
    assert len(world.cluster.computed) == 12, "nothing was done twice"


@pytest.mark.parametrize("evidence", ["its pods were seen", "its indexes", "a Workload that may be read"])
def test_an_eviction_is_told_from_a_first_wait_by_whatever_there_is_to_see(evidence: str) -> None:
    world = Queued()
    world.kueue.admit()
    if evidence == "its pods were seen":
        world.be_at_work()
        world.look()
    if evidence == "its indexes":
        world.cluster.work(only={0})
    world.kueue.evict("Preempted", PREEMPTED)
    if evidence != "a Workload that may be read":
        world.kueue.workload["status"]["conditions"] = []
    if evidence != "its pods were seen":
        world.restart()  # a controller that saw nothing of it
    assert world.look().startswith("Evicted: the queue gpu has stopped the Job, which was at work")


def test_a_new_job_of_a_run_that_worked_before_is_not_called_evicted() -> None:
    world = Queued()
    world.kueue.admit()
    world.be_at_work()
    world.cluster.work(only={0})
    world.look()
    world.put("spring.pause")
    world.tick(2)
    world.remove("spring.pause")
    world.tick(2)
    (world.job,) = world.cluster.jobs.values()
    world.kueue, world.made = Kueue(world.job), world.cluster.created.copy()
    assert world.look().startswith("QueueNotAdmitted")


def test_a_deactivated_workload_is_told_with_what_brings_it_back() -> None:
    world = Queued()
    world.kueue.admit()
    world.be_at_work()
    world.look()
    world.kueue.evict("PodsReadyTimeout", "Exceeded the PodsReady timeout art/job-sf-spring")
    world.kueue.deactivate("The workload is deactivated due to exceeding the maximum number of re-queuing retries")
    because = world.look()
    assert "exceeding the maximum number of re-queuing retries" in because
    assert f"the Workload {world.kueue.workload['metadata']['name']} is deactivated" in because
    assert "sets its spec.active to true" in because
    world.cluster.queue_says = Said()
    world.put("spring.cancel")
    world.tick(3)
    assert world.status().phase is Phase.CANCELLED, "and it can be cancelled like any other"


def test_cancelling_a_job_that_waits_in_its_queue_removes_it() -> None:
    world = Queued()
    world.look()
    world.put("spring.cancel")
    world.tick(3)
    assert world.cluster.jobs == {}
    assert world.status().phase is Phase.CANCELLED


# --- partial admission ----------------------------------------------------------------------------------------------


def annotation(**plan: Any) -> str | None:
    terms = make_plan().terms
    fewest = plan.pop("fewest")
    made = make_plan(shards=(1,) * 9, terms=replace(terms, parallelism_min=fewest), **plan)
    found: dict[str, str] = job_for(made, TEMPLATE)["metadata"].get("annotations", {})
    return found.get(ANNOTATION_MIN_PARALLELISM)


def test_a_job_asks_for_partial_admission_where_its_manifest_does_and_kueue_takes_it() -> None:
    assert annotation(fewest=None, parallelism=8, queue="gpu") is None, "without a word it begins whole"
    assert annotation(fewest=2, parallelism=8, queue="gpu") == "2"
    assert annotation(fewest=2, parallelism=8, queue=None) is None
    assert annotation(fewest=8, parallelism=8, queue="gpu") is None, "Kueue's webhook refuses what is not less"
    assert annotation(fewest=9, parallelism=20, queue="gpu") is None, "there are no more than nine indexes"


def test_the_operators_own_queue_counts_too() -> None:
    plan = make_plan(shards=(1,) * 9, terms=Terms(parallelism_min=2))
    template = replace(TEMPLATE, pod=WorkerPod(queue="night"))
    assert job_for(plan, template)["metadata"]["annotations"] == {ANNOTATION_MIN_PARALLELISM: "2"}


def test_a_job_that_was_admitted_in_part_stays_so_and_gets_its_estimate_by_that() -> None:
    world = Queued(minParallelism=1)
    world.look()
    whole = world.status().eta_seconds
    world.kueue.admit(count=1)
    world.be_at_work(pods=1)
    assert world.look() == ""
    assert world.job["spec"]["parallelism"] == 1
    part = world.status().eta_seconds
    assert whole
    assert part
    assert 3.5 < part / whole < 4.5
    world.kueue.evict("Preempted", PREEMPTED)
    world.look()
    assert world.job["spec"]["parallelism"] == 4, "Kueue has put it back"


def test_under_a_cap_a_queued_run_begins_with_what_its_manifest_calls_enough() -> None:
    world = World()
    for number in range(9):
        world.picture(f"{number:02d}")
    world.controller = world.new_controller(limits=Limits(total=3, by_tenant={}, weights={}))
    world.submit(run={"parallelism": 4, "queue": "gpu", "minParallelism": 2})
    world.tick()
    (job,) = world.cluster.jobs.values()
    assert job["spec"]["parallelism"] == 3
    assert job["metadata"]["annotations"] == {ANNOTATION_MIN_PARALLELISM: "2"}


# --- who is asked ---------------------------------------------------------------------------------------------------


class Api:
    """Answers of an API server, by the last part of the path; it writes down what it is asked for."""

    def __init__(self, queue: Kueue, *, workloads: list[Json] | Exception, events: Exception | None = None) -> None:
        self.queue, self.workloads, self.events = queue, workloads, events
        self.asked: list[str] = []

    def ask_again(self, _method: str, path: str, *, names: dict[str, str], query: dict[str, str]) -> Json:
        assert names == {"namespace": "art"}
        self.asked.append(f"{path.split('/')[3]} {path.rpartition('/')[2]} {' '.join(query.values())}")
        if path.endswith("/workloads"):
            if isinstance(self.workloads, Exception):
                raise self.workloads
            return {"items": self.workloads}
        if self.events is not None:
            raise self.events
        of_workload = "kind=Workload" in query["fieldSelector"]
        return {"items": self.queue.workload_events if of_workload else self.queue.job_events}


def told(queue: Kueue, api: Api) -> str:
    cluster = KubernetesCluster.__new__(KubernetesCluster)
    cluster._api, cluster._namespace = api, "art"  # type: ignore[assignment]
    return cluster.suspended_because(view(queue.job), ran=False)


def test_the_workload_is_asked_where_it_may_be_read_and_nothing_else() -> None:
    queue = fresh()
    queue.pend(NO_ROOM)
    queue.workload["metadata"]["creationTimestamp"] = "2026-03-01T12:00:00Z"
    api = Api(queue, workloads=[queue.workload])
    assert NO_ROOM in told(queue, api)
    assert api.asked == ["v1beta2 workloads kueue.x-k8s.io/job-uid=uid-1"]


@pytest.mark.parametrize("answer", [AccessDenied("workloads is forbidden"), Gone("no such resource"), []])
def test_events_are_asked_where_the_workload_is_not_to_be_seen(answer: list[Json] | Exception) -> None:
    queue = fresh()
    queue.pend(NO_ROOM)
    api = Api(queue, workloads=answer)
    assert NO_ROOM in told(queue, api)
    assert [a for a in api.asked if "events" in a] == [
        "namespaces events involvedObject.uid=uid-1 500",
        f"namespaces events involvedObject.kind=Workload,involvedObject.name={queue.workload['metadata']['name']} 500",
    ]


def test_where_not_even_events_may_be_read_the_queue_is_named() -> None:
    queue = fresh()
    api = Api(queue, workloads=AccessDenied("forbidden"), events=AccessDenied("forbidden"))
    assert told(queue, api).startswith("QueueNotAdmitted: the queue gpu has not admitted the Job. Its quota is in use")


def test_a_job_without_a_queue_asks_nobody() -> None:
    queue = fresh()
    del queue.job["metadata"]["labels"][naming.LABEL_QUEUE]
    api = Api(queue, workloads=[])
    assert told(queue, api).startswith("Suspended: the Job is suspended. A queue")
    assert api.asked == []


# --- words ----------------------------------------------------------------------------------------------------------


def fresh() -> Kueue:
    job = job_for(make_plan(queue="gpu"), TEMPLATE)
    job["metadata"]["uid"], job["status"] = "uid-1", {}
    return Kueue(job)


def test_a_check_that_holds_an_admission_up_is_named() -> None:
    queue = fresh()
    queue._says("QuotaReserved", "True", "QuotaReserved", "Quota reserved in ClusterQueue gpus")
    queue.workload["status"]["admissionChecks"] = [
        {"name": "budget", "state": "Ready", "message": "fine"},
        {"name": "provision", "state": "Pending", "message": "waiting for nodes"},
    ]
    said = kueue.of_workload(queue.workload)
    assert said.words == "its quota is reserved, but the check provision says Pending: waiting for nodes"
    assert not said.evicted


@pytest.mark.parametrize("workload", [{"metadata": {"name": "w"}}, {"metadata": {"name": "w"}, "status": {}}])
def test_a_workload_that_was_just_made_says_nothing(workload: Json) -> None:
    assert kueue.of_workload(workload) == Said()


def test_without_the_workload_events_tell_the_same() -> None:
    queue = fresh()
    queue.pend(NO_ROOM)
    assert kueue.workload_name(queue.job_events) == queue.workload["metadata"]["name"]
    assert kueue.of_events(queue.job_events, queue.workload_events) == Said(words=NO_ROOM)
    queue.admit()
    queue.evict("Preempted", PREEMPTED)
    queue.pend("insufficient quota")
    said = kueue.of_events(queue.job_events, queue.workload_events)
    assert said == Said(words=f"{PREEMPTED}. insufficient quota", evicted=True)


def test_a_stop_before_any_start_is_no_eviction() -> None:
    queue = fresh()
    queue.job_events.append({"reason": "Stopped", "message": "Not admitted by cluster queue"})
    assert kueue.of_events(queue.job_events, []) == Said(words="Not admitted by cluster queue")


def test_events_that_are_gone_leave_the_queues_name() -> None:
    assert kueue.workload_name([]) == ""
    assert kueue.of_events([], []) == Said()
    assert "the queue gpu has not admitted the Job" in str(of_suspended("gpu", evicted=False, said=""))


def test_a_job_that_a_hand_suspended_is_told_with_what_it_says_itself() -> None:
    queue = fresh()
    queue._condition("Suspended", "True", "ByHand", "held by the night shift")
    del queue.job["metadata"]["labels"][naming.LABEL_QUEUE]
    job = view(queue.job)
    assert job.message == "held by the night shift"
    because = str(of_suspended(job.queue, evicted=False, said=job.message))
    assert because.startswith("Suspended: the Job is suspended: held by the night shift. ")
    queue._condition("Suspended", "True", "JobSuspended", "Job suspended")
    assert view(queue.job).message == ""


def test_a_long_story_is_shortened() -> None:
    assert len(str(of_suspended("gpu", evicted=False, said="x" * 5000))) < 800
