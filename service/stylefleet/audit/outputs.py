"""What lies below the output prefix, beside what the receipts say of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from stylefleet import naming, receipt
from stylefleet.audit.findings import SHOWN_MAX, Audit
from stylefleet.audit.members import Members, Prints, prints
from stylefleet.audit.shard import results_of
from stylefleet.errors import NotFound, RecordUnreadable
from stylefleet.naming import Ref
from stylefleet.plan import Plan
from stylefleet.receipt import Receipt
from stylefleet.store import Head, Listed, Store
from stylefleet.streams import chunks, in_order
from stylefleet.tasks import Task, tasks_from_bytes

KEYS_A_PAGE = 1000
STRANGERS_MAX = 100_000
"""Objects with a mark of ours that no receipt explains, and that are still remembered one by one."""

Results = Sequence[tuple[Ref, str]]
"""Places with ETags."""


class Outputs:
    """Of one run."""

    def __init__(
        self,
        store: Store,
        bucket: str,
        plan: Plan,
        audit: Audit,
        *,
        results: Sequence[Prints],
        places: Sequence[Prints],
        further: Sequence[Prints],
        ended: Members,
        unfinished: Members,
    ) -> None:
        """`results` and `places` are those of the counted receipts by shard, the former with ETags; `further` those of
        receipts that do not count. `ended` and `unfinished` are the run's tasks."""
        self._store = store
        self._bucket = bucket
        self._plan = plan
        self._audit = audit
        self._results, self._places = results, places
        self._own, self._own_places = Members(results), Members(places)
        self._others = Members([*further, *self._of_other_runs()])
        self._ended, self._unfinished = ended, unfinished
        self._there: list[Prints] = []
        """Results that are there with their ETag."""
        self._replaced: list[Prints] = []
        """Places where a result of another receipt lies."""

    def look(self, results_of_shard: Callable[[int], Results]) -> None:
        """`results_of_shard` reads a shard again, where something of it must be named."""
        strangers: dict[str, Ref] = {}
        for head in in_order(self._head, self._unexplained()):
            task_id = head.metadata.get(naming.METADATA_TASK) if head is not None else None
            if head is not None and task_id is not None and not self._explained(head.ref, task_id):
                if len(strangers) < STRANGERS_MAX:
                    strangers.setdefault(task_id, head.ref)
                else:
                    self._audit.faults.add("output", head.ref, "no receipt explains it")
        self._of_nobody(strangers)
        self._missing(results_of_shard)

    def _unexplained(self) -> Iterator[Listed]:
        """Objects that no receipt tells of; on the way, what receipts tell of is noted."""
        for page in chunks(self._store.list(self._plan.output_prefix), KEYS_A_PAGE):
            self._audit.looked_at["output"] += len(page)
            wanted = prints((str(o.ref), o.etag) for o in page)
            own, others = self._own.have(wanted), self._others.have(wanted)
            self._there.append(wanted[own])
            places = prints((str(o.ref),) for o in page)
            self._replaced.append(places[others & ~own])
            yield from (page[index] for index in np.flatnonzero(~(own | others)))

    def _head(self, listed: Listed) -> Head | None:
        """None where it went away meanwhile."""
        try:
            return self._store.head(listed.ref)
        except NotFound:
            return None

    def _explained(self, ref: Ref, task_id: str) -> bool:
        """Whether an object with the mark of this task, which no receipt tells of, belongs to the run nevertheless."""
        task = prints([(task_id,)])
        if self._unfinished.have(task)[0]:
            self._audit.notes.add("output", ref, "a result without receipt: its worker ended in between")
            return True
        if self._ended.have(task)[0]:
            if not self._own_places.have(prints([(str(ref),)]))[0]:
                self._audit.notes.add("output", ref, "marked as a picture whose receipt does not tell of it")
            return True  # in its own place it is told of as a result that is not the one of the receipt
        return False

    # --- other runs of the name -----------------------------------------------------------------------------------

    def _keys_of_other_runs(self, folder: str) -> Iterator[Ref]:
        of_name = naming.run_prefix(self._plan.name, "")[:-1]
        for listed in self._store.list(Ref(self._bucket, of_name)):
            # A folder further down is another name's: that of a tenant who is called as this manifest is.
            run, found, _ = listed.ref.key.removeprefix(of_name).partition(f"/{folder}/")
            if found and "/" not in run and run != self._plan.run:
                yield listed.ref

    def _of_other_runs(self) -> Iterator[Prints]:
        """What their receipts tell of."""
        for receipts in in_order(self._receipts, self._keys_of_other_runs("receipts")):
            yield prints((str(ref), etag) for ref, etag in results_of(receipts))

    def _receipts(self, ref: Ref) -> list[Receipt]:
        try:
            return receipt.from_lines(self._store.get(ref).data)
        except RecordUnreadable:
            return []  # told by the audit of that run

    def _tasks(self, ref: Ref) -> list[Task]:
        try:
            return tasks_from_bytes(self._store.get(ref).data)
        except RecordUnreadable:
            return []  # as above

    def _of_nobody(self, strangers: dict[str, Ref]) -> None:
        """`strangers` are objects by the task that they are marked with."""
        if strangers:
            for tasks in in_order(self._tasks, self._keys_of_other_runs("shards")):
                for task in tasks:
                    ref = strangers.pop(task.task_id, None)
                    if ref is not None:
                        self._audit.notes.add("output", ref, "a result without receipt, of another run of this name")
        for task_id, ref in strangers.items():
            self._audit.faults.add("output", ref, f"it is marked with {task_id}, which is no picture of this name")

    # --- results that are not there -------------------------------------------------------------------------------

    def _missing(self, results_of_shard: Callable[[int], Results]) -> None:
        there, replaced = Members(self._there), Members(self._replaced)
        faults, notes = self._audit.faults, self._audit.notes
        for shard, results in enumerate(self._results):
            self._audit.looked_at["results"] += len(results)
            absent = ~there.have(results)
            by_others = absent & replaced.have(self._places[shard])
            gone = np.flatnonzero(absent & ~by_others).tolist()
            again = results_of_shard(shard) if gone and faults.counts["results"] < SHOWN_MAX else ()
            for index in gone:
                if faults.counts["results"] < SHOWN_MAX:
                    faults.add("results", again[index][0], self._why(*again[index]))
                else:
                    faults.add("results", f"shard {shard}", "counted and not named")
            count = int(by_others.sum())
            message = f"results that those of another run or attempt have replaced: {count}"
            notes.add("results", f"shard {shard}", message, count=count)

    def _why(self, ref: Ref, etag: str) -> str:
        try:
            found = self._store.head(ref).etag
        except NotFound:
            return "the result is not there"
        return f"its ETag is {found}, its receipt says {etag}"
