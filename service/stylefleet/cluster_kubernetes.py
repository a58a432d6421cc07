"""Jobs of one namespace of a real cluster, in plain JSON."""

from __future__ import annotations

import contextlib

from kubernetes import client

from stylefleet import diagnosis, kueue, naming
from stylefleet.errors import AccessDenied, ClusterUnavailable, PreconditionFailed
from stylefleet.jobs import JobView, Json, view
from stylefleet.kubernetes_api import Expired, Gone, KubernetesApi, PatchRefused
from stylefleet.kueue import Said
from stylefleet.rights import Right

PAGE = 500
PODS_LOOKED_AT = 20
LISTINGS = 3
"""Times that a listing is begun, where the API server forgets it half-way."""
RELEASES = 3
"""Times that a Job is looked at to take our finalizer off, where it changes meanwhile."""
_SELECTOR = f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY}"
_JOBS = "/apis/batch/v1/namespaces/{namespace}/jobs"
_JOB = f"{_JOBS}/{{name}}"
_PODS = "/api/v1/namespaces/{namespace}/pods"
_EVENTS = "/api/v1/namespaces/{namespace}/events"
_WORKLOADS = tuple(f"/apis/kueue.x-k8s.io/{v}/namespaces/{{namespace}}/workloads" for v in ("v1beta2", "v1beta1"))
"""Of the newer Kueue, and of the older."""
_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class KubernetesCluster:
    """Jobs of one namespace of a real cluster."""

    def __init__(self, api_client: client.ApiClient, namespace: str) -> None:
        self._api = KubernetesApi(api_client)
        self._namespace = namespace

    def create_job(self, job: Json) -> None:
        name = job["metadata"]["name"]
        try:
            self.post_job(job)
        except PreconditionFailed:
            # POST with a name of our own making is the lock: 409 with our run's label means we were here before.
            try:
                existing = self.read_job(name)
            except Gone as error:
                raise ClusterUnavailable(f"Job {self._namespace}/{name} was there and is gone: {error}") from error
            found, ours = existing["metadata"].get("labels") or {}, job["metadata"]["labels"]
            if any(found.get(label) != ours[label] for label in (naming.LABEL_RUN, naming.LABEL_BUCKET)):
                raise PreconditionFailed(f"Job {self._namespace}/{name} exists and belongs to another run") from None

    def post_job(self, job: Json) -> Json:
        """Create a Job and return it as the API server made it; PreconditionFailed where one has its name."""
        return self._api.ask_again("POST", _JOBS, names=self._names(), body=job)

    def read_job(self, name: str) -> Json:
        return self._api.ask_again("GET", _JOB, names=self._names(name))

    def list_jobs(self) -> list[JobView]:
        for _ in range(LISTINGS - 1):
            try:
                return self._all_jobs()
            except Expired:
                continue  # begin anew: what was listed so far is of another time
        return self._all_jobs()

    def _all_jobs(self) -> list[JobView]:
        jobs: list[JobView] = []
        query = {"labelSelector": _SELECTOR, "limit": str(PAGE)}
        while True:
            page = self._api.ask_again("GET", _JOBS, names=self._names(), query=query)
            jobs += [view(job) for job in page["items"]]
            token = page["metadata"].get("continue")
            if not token:
                return jobs
            query["continue"] = token

    def require_listed(self, namespace: str) -> None:
        """Nothing to say: `list_jobs` has raised."""

    def release_job(self, job: JobView) -> None:
        for _ in range(RELEASES - 1):
            try:
                self._take_finalizer_off(job)
            except PatchRefused:
                continue  # others changed it since we looked; or our patch went through and only its answer was lost
            return
        self._take_finalizer_off(job)

    def _take_finalizer_off(self, job: JobView) -> None:
        try:
            current = self.read_job(job.name)
            if current["metadata"]["uid"] != job.uid:
                return
            finalizers = current["metadata"].get("finalizers") or []
            if naming.FINALIZER not in finalizers:
                return
            patch: list[Json] = [
                {"op": "test", "path": "/metadata/uid", "value": job.uid},
                {"op": "test", "path": "/metadata/finalizers", "value": finalizers},
                {
                    "op": "replace",
                    "path": "/metadata/finalizers",
                    "value": [f for f in finalizers if f != naming.FINALIZER],
                },
            ]
            self._patch_job(job.name, patch)
        except Gone:
            return

    def _patch_job(self, name: str, patch: list[Json]) -> None:
        content_type = "application/json-patch+json"
        self._api.ask_again("PATCH", _JOB, names=self._names(name), body=patch, content_type=content_type)

    def resize_job(self, job: JobView, parallelism: int) -> None:
        patch: list[Json] = [
            {"op": "test", "path": "/metadata/uid", "value": job.uid},
            {"op": "replace", "path": "/spec/parallelism", "value": parallelism},
        ]
        with contextlib.suppress(Gone):
            self._patch_job(job.name, patch)

    def delete_job(self, job: JobView) -> None:
        self.release_job(job)
        if job.deleting:
            return
        # Foreground: the Job stays listed until its pods have ended; nobody takes it for gone while they still write.
        # (The API's default for Jobs would even leave the pods running as orphans.)
        options = {"propagationPolicy": "Foreground", "preconditions": {"uid": job.uid}}
        try:
            self._api.ask_again("DELETE", _JOB, names=self._names(job.name), body=options)
        except (Gone, PreconditionFailed):
            return

    def waiting_because(self, job: JobView) -> str:
        pending = self.pods(job.name, "Pending")
        held_up = diagnosis.of_waiting(pending)
        if held_up is not None:
            return str(held_up)
        failed = [] if pending else self.pods(job.name, "Failed")
        try:
            # Of the pod that nothing is known about, or else of the Job, which then could not make one.
            warnings = self.warnings(pending[0]["metadata"]["uid"] if pending else job.uid)
        except AccessDenied:
            return str(diagnosis.EVENTS_UNREADABLE)
        newest = max((p["metadata"]["creationTimestamp"] for p in failed), default="")
        found = diagnosis.of_events(warnings, since=newest) or diagnosis.of_ended(failed)
        return str(found or (diagnosis.STARTING if pending else diagnosis.NO_POD))

    def suspended_because(self, job: JobView, *, ran: bool) -> str:
        said = Said(words=job.message) if job.queue is None else self._queue_says(job)
        return str(diagnosis.of_suspended(job.queue, evicted=ran or said.evicted, said=said.words))

    def _queue_says(self, job: JobView) -> Said:
        workloads = self._workloads(job.uid)
        if workloads:
            return kueue.of_workload(max(workloads, key=lambda w: w["metadata"]["creationTimestamp"]))
        try:
            events = self._events(f"involvedObject.uid={job.uid}")
            name = kueue.workload_name(events)
            its_own = self._events(f"involvedObject.kind=Workload,involvedObject.name={name}") if name else []
        except AccessDenied:
            return Said(words=job.message)
        return kueue.of_events(events, its_own)

    def _workloads(self, job_uid: str) -> list[Json]:
        """Kueue's objects for the Job; none where it is not installed, or its objects may not be read (an operator's
        choice: events tell much of it)."""
        query = {"labelSelector": f"{kueue.LABEL_JOB_UID}={job_uid}"}
        for path in _WORKLOADS:
            with contextlib.suppress(Gone, AccessDenied):
                found: list[Json] = self._api.ask_again("GET", path, names=self._names(), query=query)["items"]
                return found
        return []

    def failed_because(self, job: JobView) -> str:
        found = diagnosis.of_ended(self.pods(job.name, "Failed"))
        return str(found or "")

    def pods(self, job_name: str, phase: str = "") -> list[Json]:
        """The first pods of a Job; only those in `phase`, where one is given."""
        query = {"labelSelector": f"batch.kubernetes.io/job-name={job_name}", "limit": str(PODS_LOOKED_AT)}
        if phase:
            query["fieldSelector"] = f"status.phase={phase}"
        found: list[Json] = self._api.ask_again("GET", _PODS, names=self._names(), query=query)["items"]
        return found

    def warnings(self, uid: str) -> list[Json]:
        """Warning events about the object with this uid."""
        return self._events(f"involvedObject.uid={uid},type=Warning")

    def _events(self, selector: str) -> list[Json]:
        """Events of a field selector, oldest first."""
        query = {"fieldSelector": selector, "limit": str(PAGE)}
        found: list[Json] = self._api.ask_again("GET", _EVENTS, names=self._names(), query=query)["items"]
        return sorted(found, key=diagnosis.seen_at)

    def allows(self, right: Right) -> bool:
        """Whether this identity has the right; every authenticated user may ask that of itself."""
        attributes = {
            "namespace": self._namespace,
            "group": right.group,
            "resource": right.resource,
            "verb": right.verb,
        } | ({"name": right.name} if right.name else {})
        head = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
        review = {**head, "spec": {"resourceAttributes": attributes}}
        answer = self._api.ask_again("POST", _REVIEWS, names={}, body=review)
        return bool(answer["status"]["allowed"])

    def _names(self, job_name: str = "") -> dict[str, str]:
        return {"namespace": self._namespace, **({"name": job_name} if job_name else {})}
