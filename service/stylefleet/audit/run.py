"""The audit of one run: shards beside receipts, receipts beside results, all of that beside report and status."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from stylefleet import naming, receipt, status
from stylefleet.audit import papers
from stylefleet.audit.findings import Audit
from stylefleet.audit.members import Members, Prints, prints
from stylefleet.audit.outputs import Outputs
from stylefleet.audit.shard import Judged, Said, judge
from stylefleet.errors import NotFound, RecordUnreadable, RunUnderWay
from stylefleet.naming import Ref
from stylefleet.plan import Plan, ShardEntry
from stylefleet.planner import load_plan
from stylefleet.receipt import Receipt
from stylefleet.status import Status
from stylefleet.store import Store
from stylefleet.streams import chunks, in_order
from stylefleet.tasks import Task, tasks_from_bytes

KEYS_A_PAGE = 1000


def audit(store: Store, bucket: str, name: str, *, run: str | None = None) -> Audit:
    """What is to be said of `run`, or of the newest one of this name.

    Raises NotFound where there is none, RunUnderWay while any run of the name goes on, and RecordUnreadable.
    """
    found = _status(store, bucket, name)
    if found is not None and not found.phase.final:
        raise RunUnderWay(f"{name}: a run is going on ({found.phase.value}); audit it when it has ended")
    if run is None and found is None:
        raise NotFound(f"{name}: no status in s3://{bucket}/{naming.STATUS_PREFIX}; name a run of runs/{name}/")
    run = run or (found.run if found else "")
    plan = load_plan(store, bucket, name, run)
    if plan is None:
        raise NotFound(f"{name}: the run {run} was never planned, so there is nothing to audit")
    return _Auditor(store, bucket, plan).audit(found if found is not None and found.run == run else None)


def _status(store: Store, bucket: str, name: str) -> Status | None:
    ref = Ref(bucket, naming.status_key(name))
    try:
        return status.from_json(store.get(ref).data)
    except NotFound:
        return None
    except (KeyError, TypeError, ValueError) as error:
        raise RecordUnreadable(f"{ref}: the status cannot be read: {error!r}") from error


@dataclass(kw_only=True)
class _Sums:
    """Over all shards."""

    ended: list[Prints] = field(default_factory=list)
    unfinished: list[Prints] = field(default_factory=list)
    results: list[Prints] = field(default_factory=list)
    """Places with ETags, by shard."""
    places: list[Prints] = field(default_factory=list)
    further: list[Prints] = field(default_factory=list)
    failed_by_reason: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """One shard, as it is read: what its receipts say, and what is wrong with the objects themselves."""

    judged: Judged
    of_shard: tuple[Said, ...]
    of_receipts: tuple[Said, ...]


class _Auditor:
    def __init__(self, store: Store, bucket: str, plan: Plan) -> None:
        self._store = store
        self._bucket = bucket
        self._plan = plan
        self._audit = Audit(name=plan.name, run=plan.run)

    def audit(self, found: Status | None) -> Audit:
        """`found` is the status of this very run."""
        sums = self._shards()
        outputs = Outputs(
            self._store,
            self._bucket,
            self._plan,
            self._audit,
            results=sums.results,
            places=sums.places,
            further=sums.further,
            ended=(ended := Members(sums.ended)),
            unfinished=(unfinished := Members(sums.unfinished)),
        )
        outputs.look(lambda shard: self._seen(self._plan.shards[shard]).judged.results)
        self._checkpoints(ended, unfinished)
        papers.check(
            self._store,
            self._bucket,
            self._plan,
            self._audit,
            found,
            done=sum(map(len, sums.results)),
            failed_by_reason=sums.failed_by_reason,
            unfinished=sum(map(len, sums.unfinished)),
        )
        return self._audit

    # --- shards and receipts --------------------------------------------------------------------------------------

    def _shards(self) -> _Sums:
        audit, sums, tasks = self._audit, _Sums(), 0
        for entry, seen in zip(self._plan.shards, in_order(self._seen, self._plan.shards), strict=True):
            judged = seen.judged
            tasks += entry.tasks
            audit.looked_at["shards"] += 1
            audit.looked_at["receipts"] += len(judged.ended)
            for said in seen.of_shard:
                audit.faults.add("shards", *said)
            for said in (*seen.of_receipts, *judged.faults):
                audit.faults.add("receipts", *said)
            for said in judged.notes:
                audit.notes.add("receipts", *said)
            sums.ended.append(prints((task_id,) for task_id in judged.ended))
            sums.unfinished.append(prints((task_id,) for task_id in judged.unfinished))
            sums.results.append(prints((str(ref), etag) for ref, etag in judged.results))
            sums.places.append(prints((str(ref),) for ref, _ in judged.results))
            sums.further.append(prints((str(ref), etag) for ref, etag in judged.further))
            sums.failed_by_reason.update(judged.failed_by_reason)
        self._check_sums(sums, tasks)
        self._stray_receipts()
        return sums

    def _check_sums(self, sums: _Sums, tasks: int) -> None:
        plan, faults = self._plan, self._audit.faults
        if [entry.index for entry in plan.shards] != list(range(len(plan.shards))):
            faults.add("shards", "plan.json", "the shards are not numbered from 0 on")
        if tasks != plan.tasks:
            faults.add("shards", "plan.json", f"its shards have {tasks} pictures, the plan has {plan.tasks}")
        named = [*sums.ended, *sums.unfinished]
        doubled = sum(map(len, named)) - len(Members(named))
        faults.add("shards", "plan.json", f"pictures that are in two places of the plan: {doubled}", count=doubled)

    def _stray_receipts(self) -> None:
        plan = self._plan
        for listed in self._store.list(Ref(self._bucket, naming.receipts_prefix(plan.name, plan.run))):
            shard = naming.shard_of_receipts(plan.name, plan.run, listed.ref.key)
            if shard is None or shard >= len(plan.shards):
                self._audit.faults.add("receipts", listed.ref, "this belongs to no shard of the plan")

    def _seen(self, entry: ShardEntry) -> _Seen:
        tasks, of_shard = self._tasks(entry)
        receipts, of_receipts = self._receipts(entry)
        return _Seen(judged=judge(entry.index, tasks, receipts), of_shard=of_shard, of_receipts=of_receipts)

    def _tasks(self, entry: ShardEntry) -> tuple[list[Task], tuple[Said, ...]]:
        plan = self._plan
        ref = Ref(self._bucket, naming.shard_key(plan.name, plan.run, entry.index, entry.digest))
        try:
            data = self._store.get(ref).data
        except NotFound:
            return [], ((str(ref), "the shard is not there"),)
        found = hashlib.sha256(data).hexdigest()
        if found != entry.digest:
            return [], ((str(ref), f"its SHA-256 is {found}, the plan says {entry.digest}"),)
        try:
            tasks = tasks_from_bytes(data)
        except RecordUnreadable as error:
            return [], ((str(ref), str(error)),)
        if len(tasks) != entry.tasks:
            return tasks, ((str(ref), f"it has {len(tasks)} pictures, the plan says {entry.tasks}"),)
        return tasks, ()

    def _receipts(self, entry: ShardEntry) -> tuple[list[Receipt], tuple[Said, ...]]:
        plan, receipts, faults = self._plan, list[Receipt](), list[Said]()
        prefix = naming.shard_receipts_prefix(plan.name, plan.run, entry.index)
        for listed in self._store.list(Ref(self._bucket, prefix)):
            try:
                receipts += receipt.from_lines(self._store.get(listed.ref).data)
            except RecordUnreadable as error:
                faults.append((str(listed.ref), str(error)))
        return receipts, tuple(faults)

    # --- checkpoints ----------------------------------------------------------------------------------------------

    def _checkpoints(self, ended: Members, unfinished: Members) -> None:
        for page in chunks(self._checkpoint_keys(), KEYS_A_PAGE):
            wanted = prints((key.rpartition("/")[2],) for key in page)
            self._audit.looked_at["checkpoints"] += len(page)
            of_ended, of_unfinished = ended.have(wanted), unfinished.have(wanted)
            for key, left_over, waiting in zip(page, of_ended, of_unfinished, strict=True):
                if left_over:
                    self._audit.faults.add("checkpoints", key, "it is left of a picture that has its receipt")
                if waiting:
                    self._audit.notes.add("checkpoints", key, "of a picture that was not finished, for the next run")

    def _checkpoint_keys(self) -> Iterator[str]:
        folder = naming.checkpoint_key("", naming.tenant_of(self._plan.name))
        for listed in self._store.list(Ref(self._bucket, folder)):
            yield listed.ref.key
