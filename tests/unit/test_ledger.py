from __future__ import annotations

from dataclasses import replace

import pytest

from stylefleet.companions import Pin
from stylefleet.errors import ScratchUnusable
from stylefleet.ledger import Ledger, Move
from stylefleet.naming import Ref
from stylefleet.receipt import Done
from stylefleet.tasks import Task, tasks_from_bytes
from tests.builders import make_task


def kept(ledger: Ledger, *done: Done) -> bool:
    """Whether the one task is left out after these receipts, with the result `new` in its place."""
    task = make_task()
    ledger.add_tasks([task])
    ledger.add_done(done)
    ledger.any_done()
    ledger.add_results([(task.output.key, "new")])
    return ledger.close_books() == 0


TASK_ID = make_task().task_id


@pytest.mark.parametrize(
    ("done", "left_out"),
    [
        ([Done(TASK_ID, "old", 1.0), Done(TASK_ID, "new", 2.0)], True),
        ([Done(TASK_ID, "new", 2.0), Done(TASK_ID, "old", 1.0)], True),
        ([Done(TASK_ID, "old", 2.0), Done(TASK_ID, "new", 1.0)], False),
        ([Done(TASK_ID, "new", 1.0), Done(TASK_ID, "old", 1.0)], True),  # of the same moment, the one read first
        ([Done("0" * 64, "new", 1.0)], False),
        ([], False),
    ],
    ids=str,
)
def test_of_several_receipts_of_a_task_the_newest_counts(done: list[Done], left_out: bool) -> None:
    with Ledger() as ledger:
        assert kept(ledger, *done) is left_out


def test_receipts_of_other_tasks_are_not_worth_a_look_at_the_results() -> None:
    with Ledger() as ledger:
        ledger.add_tasks([make_task()])
        ledger.add_done([Done("0" * 64, "e", 1.0)])
        assert not ledger.any_done()


def test_the_first_twin_is_the_first_second_one_in_the_order_of_the_listing() -> None:
    with Ledger() as ledger:
        for key, output in [("c", "1"), ("a", "2"), ("b", "2"), ("d", "1"), ("e", "1")]:
            ledger.add_tasks([_moving(key, output)])
        assert ledger.first_twin() == (3, Move("s3://shop/a", "s3://shop/2"), Move("s3://shop/b", "s3://shop/2"))


def test_a_picture_that_a_listing_has_twice_is_no_twin_of_itself() -> None:
    with Ledger() as ledger:
        ledger.add_tasks([_moving("a", "1"), _moving("a", "1"), _moving("b", "1")])
        assert ledger.first_twin() == (3, Move("s3://shop/a", "s3://shop/1"), Move("s3://shop/b", "s3://shop/1"))
    with Ledger() as ledger:
        ledger.add_tasks([_moving("a", "1"), _moving("a", "1")])
        assert ledger.first_twin() is None


def test_tens_of_thousands_of_twins_are_found_as_one_is() -> None:
    with Ledger() as ledger:
        ledger.add_tasks(_moving(f"{side}{number}", str(number)) for side in "ab" for number in range(20_000))
        found = ledger.first_twin()
        assert found is not None
        assert found[0] == 20_001


def test_of_results_over_sources_the_first_is_told() -> None:
    with Ledger() as ledger:
        ledger.add_sources(["3", "2", "3"])
        ledger.add_tasks([_moving("a", "1"), _moving("b", "2"), _moving("c", "3")])
        assert ledger.first_over_source() == (2, Move("s3://shop/b", "s3://shop/2"))


def test_places_of_companions_are_kept_apart() -> None:
    with Ledger() as ledger:
        ledger.add_pins(0, [Pin(Ref("shop", "m/a"), "e", 7)])
        ledger.add_pins(1, [Pin(Ref("other", "m/a"), "f", 8)])
        assert ledger.pin(0, "shop", "m/a") == Pin(Ref("shop", "m/a"), "e", 7)
        assert ledger.pin(1, "other", "m/a") == Pin(Ref("other", "m/a"), "f", 8)
        assert ledger.pin(0, "shop", "m/b") is None
        assert [ledger.has_pins(place) for place in range(3)] == [True, True, False]


@pytest.mark.parametrize("key", ["é\u2028😀", "a'b\"; DROP TABLE task", "x" * 900])
def test_keys_are_kept_as_they_are(key: str) -> None:
    with Ledger() as ledger:
        task = make_task(f"catalog/{key}")
        ledger.add_tasks([task])
        ledger.add_done([Done(task.task_id, "e", 1.0)])
        ledger.any_done()
        ledger.add_results([(task.output.key, "f")])
        ledger.close_books()
        assert tasks_from_bytes(b"".join(ledger.lines_to_do())) == [task]
        ledger.add_pins(0, [Pin(Ref("shop", key), "e", 1)])
        assert ledger.pin(0, "shop", key) == Pin(Ref("shop", key), "e", 1)


def test_where_there_is_no_room_for_the_notes_it_says_how_much_is_needed_and_where() -> None:
    with Ledger() as ledger:
        ledger._db.execute("PRAGMA max_page_count = 20")  # as on a full disk
        with pytest.raises(ScratchUnusable, match=r"is full.*TMPDIR.*bytes a picture"):
            ledger.add_tasks(make_task(f"catalog/{n}.jpg") for n in range(10_000))


def _moving(content: str, output: str) -> Task:
    return replace(make_task(), content=Ref("shop", content), output=Ref("shop", output))
