"""A cluster and a store for tests: in memory, and the test decides what happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from stylefleet import diagnosis, naming, receipt, succession
from stylefleet.errors import PreconditionFailed, Superseded
from stylefleet.indexes import format_indexes, parse_indexes
from stylefleet.jobs import JobView, Json, view
from stylefleet.kueue import Said
from stylefleet.naming import Ref
from stylefleet.plan import plan_from_json
from stylefleet.store import Head, Listed, Object, Page, Store
from stylefleet.tasks import tasks_from_bytes
from tests.builders import failed_receipt, make_receipt

Hook = Callable[[str, object], None]
"""Called with the method's name and its object before a call; what it raises is what the caller gets."""


def nothing(_method: str, _subject: object) -> None:
    """No fault."""


WORKER_SECONDS = 5.0
"""Of each picture."""


class FakeCluster:
    """Jobs in a dictionary. `work`, `fail` and `finish` are what pods and the Job controller would do."""

    def __init__(self, store: Store, bucket: str) -> None:
        self.jobs: dict[str, Json] = {}
        self.created: list[str] = []
        """Names in order of creation; twice where a Job was made twice."""
        self.deleted: list[str] = []
        self.computed: list[str] = []
        """Content keys in the order in which they were restyled."""
        self.waiting = ""
        self.queue_says = Said()
        self.last_words = ""
        self.cut_off: list[Json] = []
        """Jobs that are gone while their pods live on, unseen."""
        self.before: Hook = nothing
        self.after: Hook = nothing
        self._store = store
        self._bucket = bucket

    # --- what the controller sees ---------------------------------------------------------------------------------

    def create_job(self, job: Json) -> None:
        self.before("create_job", job)
        name = job["metadata"]["name"]
        existing = self.jobs.get(name)
        if existing is None:
            self.created.append(name)
            copy = json.loads(json.dumps(job))
            copy["metadata"]["uid"] = f"uid-{len(self.created)}"
            copy["status"] = {}
            self.jobs[name] = copy
        elif existing["metadata"]["labels"][naming.LABEL_RUN] != job["metadata"]["labels"][naming.LABEL_RUN]:
            raise PreconditionFailed(name)
        self.after("create_job", job)

    def list_jobs(self) -> list[JobView]:
        self.before("list_jobs", None)
        jobs = [view(job) for job in self.jobs.values()]
        self.after("list_jobs", None)
        return jobs

    def require_listed(self, namespace: str) -> None:
        """Nothing to say: `list_jobs` has raised."""

    def release_job(self, job: JobView) -> None:
        self.before("release_job", job)
        found = self.jobs.get(job.name)
        if found is not None and found["metadata"]["uid"] == job.uid:
            found["metadata"]["finalizers"] = []
            if found["metadata"].get("deletionTimestamp"):
                del self.jobs[job.name]
        self.after("release_job", job)

    def resize_job(self, job: JobView, parallelism: int) -> None:
        self.before("resize_job", job)
        found = self.jobs.get(job.name)
        if found is not None and found["metadata"]["uid"] == job.uid:
            found["spec"]["parallelism"] = parallelism
        self.after("resize_job", job)

    def delete_job(self, job: JobView) -> None:
        self.before("delete_job", job)
        found = self.jobs.get(job.name)
        if found is not None and found["metadata"]["uid"] == job.uid:
            self.cut_off.append(self.jobs.pop(job.name))
            self.deleted.append(job.name)
        self.after("delete_job", job)

    def waiting_because(self, job: JobView) -> str:
        self.before("waiting_because", job)
        return self.waiting

    def suspended_because(self, job: JobView, *, ran: bool) -> str:
        self.before("suspended_because", job)
        evicted = ran or self.queue_says.evicted
        return str(diagnosis.of_suspended(job.queue, evicted=evicted, said=self.queue_says.words))

    def failed_because(self, job: JobView) -> str:
        self.before("failed_because", job)
        return self.last_words

    # --- what the test makes happen -------------------------------------------------------------------------------

    def work(
        self,
        *,
        name: str = "spring",
        only: set[int] | None = None,
        bad: Mapping[str, str] | None = None,
        most: int = 10**9,
    ) -> None:
        """Do every open index of the Job of `name`, as workers would; `bad` pictures fail with that reason.

        After `most` pictures of an index its worker dies: what it did has its receipts, the index stays open.
        """
        for job in self._of(name):
            status = job["status"]
            ended = parse_indexes(status.get("completedIndexes", "")) | parse_indexes(status.get("failedIndexes", ""))
            for index in range(job["spec"]["completions"]):
                if (
                    index not in ended
                    and (only is None or index in only)
                    and self._do_index(job, index, bad or {}, most)
                ):
                    ended |= {index}
                    status["completedIndexes"] = format_indexes(
                        parse_indexes(status.get("completedIndexes", "")) | {index}
                    )
                    status["succeeded"] = len(parse_indexes(status["completedIndexes"]))

    def _do_index(self, job: Json, index: int, bad: Mapping[str, str], most: int) -> bool:
        labels = job["metadata"]["labels"]
        name, run = naming.name_of_label(labels[naming.LABEL_NAME]), labels[naming.LABEL_RUN]
        plan = plan_from_json(self._store.get(Ref(self._bucket, naming.plan_key(name, run))).data)
        entry = plan.shards[index]
        data = self._store.get(Ref(self._bucket, naming.shard_key(name, run, index, entry.digest))).data
        prefix = Ref(self._bucket, naming.shard_receipts_prefix(name, run, index))
        parts = list(self._store.list(prefix))
        done = {r.task_id for part in parts for r in receipt.from_lines(self._store.get(part.ref).data)}
        attempt = f"{job['metadata']['name']}-{index}-{job['metadata']['uid']}"
        for task in tasks_from_bytes(data):
            if task.task_id in done:
                continue
            if most <= 0:
                return False
            most -= 1
            try:
                succession.require_newest(self._store, self._bucket, name, run)
            except Superseded:
                return False
            self.computed.append(task.content.key)
            if task.content.key in bad:
                one = failed_receipt(task, reason=bad[task.content.key])
            else:
                mark = {naming.METADATA_TASK: task.task_id, naming.METADATA_RECIPE: plan.recipe.digest}
                etag = self._store.put(task.output, f"restyled {task.content.key}".encode(), metadata=mark)
                one = make_receipt(task, result_etag=etag)
            key = naming.receipts_key(name, run, index, attempt, len(parts))
            line = receipt.to_lines([replace(one, shard=index, attempt=attempt, worker_seconds=WORKER_SECONDS)])
            self._store.put(Ref(self._bucket, key), line, if_absent=True)
            parts.append(next(iter(self._store.list(Ref(self._bucket, key)))))
        return True

    def work_unseen(self) -> None:
        """Pods on nodes that are cut off go on: they reach the bucket still."""
        for job in self.cut_off:
            for index in range(job["spec"]["completions"]):
                self._do_index(job, index, {}, 10**9)

    def fail(self, index: int, *, name: str = "spring") -> None:
        """The index is given up."""
        for job in self._of(name):
            failed = parse_indexes(job["status"].get("failedIndexes", "")) | {index}
            job["status"]["failedIndexes"] = format_indexes(failed)

    def set_status(self, *, name: str = "spring", **status: object) -> None:
        for job in self._of(name):
            job["status"] |= status

    def finish(self, *, name: str = "spring") -> None:
        """Every index has ended: say so, as the Job controller does."""
        for job in self._of(name):
            kind = "Failed" if job["status"].get("failedIndexes") else "Complete"
            message = "Job has failed indexes" if kind == "Failed" else ""
            job["status"]["conditions"] = [{"type": kind, "status": "True", "message": message}]
            job["status"] |= {"active": 0, "ready": 0}

    def _of(self, name: str) -> list[Json]:
        label = naming.label_of(name)
        return [j for j in self.jobs.values() if j["metadata"]["labels"][naming.LABEL_NAME] == label]


class HookedStore:
    """A store whose calls a test may see, break, or break off."""

    def __init__(self, real: Store) -> None:
        self.real = real
        self.before: Hook = nothing
        self.after: Hook = nothing
        self.puts: list[str] = []
        """Keys in the order of the puts that went through."""

    def get(self, ref: Ref, *, if_match: str | None = None) -> Object:
        self.before("get", ref)
        found = self.real.get(ref, if_match=if_match)
        self.after("get", ref)
        return found

    def head(self, ref: Ref) -> Head:
        self.before("head", ref)
        head = self.real.head(ref)
        self.after("head", ref)
        return head

    def put(
        self,
        ref: Ref,
        data: bytes,
        *,
        if_absent: bool = False,
        if_match: str | None = None,
        content_type: str = "application/octet-stream",
        metadata: Mapping[str, str] | None = None,
    ) -> str:
        self.before("put", ref)
        etag = self.real.put(
            ref, data, if_absent=if_absent, if_match=if_match, content_type=content_type, metadata=metadata
        )
        self.puts.append(ref.key)
        self.after("put", ref)
        return etag

    def delete(self, ref: Ref) -> None:
        self.before("delete", ref)
        self.real.delete(ref)
        self.after("delete", ref)

    def list(self, prefix: Ref, *, after: str = "") -> Iterator[Listed]:
        self.before("list", prefix)
        yield from self.real.list(prefix, after=after)
        self.after("list", prefix)

    def pages(self, prefix: Ref, *, after: str = "", known: Mapping[bytes, Page]) -> Iterator[Page]:
        self.before("list", prefix)
        yield from self.real.pages(prefix, after=after, known=known)
        self.after("list", prefix)

    def now(self) -> datetime:
        return self.real.now()
