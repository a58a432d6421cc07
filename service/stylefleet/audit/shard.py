"""One shard: its tasks beside its receipts. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from stylefleet.naming import Ref, parse_uri
from stylefleet.receipt import Receipt
from stylefleet.tasks import Task

Said = tuple[str, str]
"""What is said about a thing: its name and the words."""


@dataclass(kw_only=True)
class Judged:
    """What the receipts of a shard say of its tasks."""

    ended: list[str] = field(default_factory=list)
    """Ids of tasks with a receipt."""
    unfinished: list[str] = field(default_factory=list)
    """Ids of tasks without one."""
    results: list[tuple[Ref, str]] = field(default_factory=list)
    """Place and ETag of each result that a counted receipt tells of."""
    further: list[tuple[Ref, str]] = field(default_factory=list)
    """Of each that another attempt tells of."""
    failed_by_reason: Counter[str] = field(default_factory=Counter)
    faults: list[Said] = field(default_factory=list)
    notes: list[Said] = field(default_factory=list)


def judge(shard: int, tasks: Sequence[Task], receipts: Iterable[Receipt]) -> Judged:
    """`receipts` are those in the shard's folder in the order of their keys: of each task the first one counts."""
    judged = Judged()
    by_task: dict[str, list[Receipt]] = {task.task_id: [] for task in tasks}
    for one in receipts:
        if one.task_id not in by_task:
            judged.faults.append(
                (one.content, f"a receipt in shard {shard} is for a task that the shard does not have")
            )
            continue
        if one.shard != shard:
            judged.faults.append((one.content, f"a receipt in the folder of shard {shard} says shard {one.shard}"))
        by_task[one.task_id].append(one)
    for task in tasks:
        _judge_task(task, by_task[task.task_id], judged)
    return judged


def _judge_task(task: Task, receipts: Sequence[Receipt], judged: Judged) -> None:
    if not receipts:
        judged.unfinished.append(task.task_id)
        return
    judged.ended.append(task.task_id)
    counted, *others = receipts
    about = str(task.content)
    if counted.content != about:
        judged.faults.append((about, f"its receipt is for another picture: {counted.content}"))
    if counted.outcome == "failed":
        judged.failed_by_reason[counted.reason] += 1
    elif counted.result != str(task.output):
        judged.faults.append((about, f"its result belongs at {task.output}, its receipt says {counted.result}"))
    else:
        judged.results.append((task.output, counted.result_etag))
    if others:
        attempts = ", ".join(sorted({one.attempt for one in receipts}))
        if {(one.outcome, one.result_etag) for one in receipts} == {(counted.outcome, counted.result_etag)}:
            judged.notes.append((about, f"{len(receipts)} receipts say the same; by {attempts}"))
        else:
            judged.faults.append((about, f"{len(receipts)} receipts do not agree; by {attempts}"))
        judged.further += results_of(others)


def results_of(receipts: Iterable[Receipt]) -> list[tuple[Ref, str]]:
    """Place and ETag of each result that these tell of."""
    return [(parse_uri(one.result), one.result_etag) for one in receipts if one.outcome == "done"]
