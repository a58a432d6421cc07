"""What there is and what is left to do: pictures, and what earlier runs have finished of them, into the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from stylefleet import naming, receipt
from stylefleet.errors import FieldError, NotFound, PlanInvalid
from stylefleet.field_errors import ERRORS_MAX
from stylefleet.ledger import Ledger
from stylefleet.naming import Ref
from stylefleet.receipt import Done
from stylefleet.store import Listed, Store
from stylefleet.streams import READERS, chunks, in_order
from stylefleet.task_making import TaskMaker, refusal, unusable

BYTES_HELD = 16_000_000
"""Of objects that are read ahead, about; parsed they take three times as much."""
CHUNK = 1000


def enter_tasks(ledger: Ledger, maker: TaskMaker, pictures: Iterable[Listed]) -> None:
    """The task of each picture, in the listing's order. Raises PlanInvalid: for all keys that cannot be used, else for
    the first task that cannot be carried out."""
    faults: list[FieldError] = []
    ledger.add_sources(maker.styles_endangered)
    impossible: list[tuple[int, PlanInvalid]] = []
    entered = 0
    for chunk in chunks(pictures, CHUNK):
        faults += filter(None, map(unusable, chunk))
        if len(faults) >= ERRORS_MAX:
            break
        if faults:
            continue
        tasks = [maker.task(picture) for picture in chunk]
        ledger.add_tasks(tasks)
        ledger.add_sources(key for task in tasks for key in maker.endangered(task))
        if not impossible:
            misplaced = ((number, maker.misplaced(task)) for number, task in enumerate(tasks, start=entered + 1))
            impossible = [(number, error) for number, error in misplaced if error is not None][:1]
        entered += len(tasks)
    if faults:
        raise PlanInvalid(faults[:ERRORS_MAX])
    # The first of all; of one task in this order.
    found = [*_clashes(ledger), *impossible]
    if found:
        raise min(found, key=lambda each: each[0])[1]


def _clashes(ledger: Ledger) -> Iterator[tuple[int, PlanInvalid]]:
    if twin := ledger.first_twin():
        number, first, second = twin
        message, found = "two pictures would have the same result", f"{first.content} and {second.content}"
        yield number, refusal("spec.content", message, f"{found} -> {second.output}", "exclude one of them")
    if over := ledger.first_over_source():
        number, move = over
        message, found = "a result would overwrite a source picture", f"{move.content} -> {move.output}"
        yield number, refusal("spec.output.prefix", message, found, "a folder without sources")


def enter_finished(ledger: Ledger, store: Store, bucket: str, name: str, results: Ref) -> None:
    """What the receipts of every earlier run of this name say is done, and what lies in the folder of the results.

    That folder is listed only where one of the tasks is done.
    """
    for chunk in chunks(store.list(Ref(bucket, naming.run_prefix(name, "")[:-1])), CHUNK):
        parts = ((naming.part_of(name, listed.ref.key), listed) for listed in chunk)
        ledger.add_parts((part, listed) for part, listed in parts if part is not None)

    def done(part: tuple[str, bool]) -> list[Done]:
        key, whole = part
        data = store.get(Ref(bucket, key)).data
        return receipt.done_of_whole(data) if whole else receipt.done_from_lines(data)

    ahead = max(1, min(4 * READERS, BYTES_HELD // max(1, ledger.largest_part())))
    for found in in_order(done, ledger.parts_to_read(), threads=min(READERS, ahead), ahead=ahead):
        ledger.add_done(found)
    if ledger.any_done():
        for chunk in chunks(store.list(results), CHUNK):
            ledger.add_results((o.ref.key, o.etag) for o in chunk)


def require_bucket(store: Store, results: Ref) -> None:
    """Raises PlanInvalid where the bucket of the results is not there."""
    try:
        next(store.list(results), None)
    except NotFound as error:
        raise PlanInvalid([FieldError(path="spec.output.prefix", message=str(error))]) from error
