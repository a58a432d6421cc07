"""The page of measurements: sections come, are replaced, and never mix two machines."""

from __future__ import annotations

from benchmarks.page import with_section
from benchmarks.result import Report, Row

ORDER = ("method", "rates", "memory")
MACHINE = ("a processor, 2 cores", "TensorFlow 2")


def report(title: str, measured: str = "1 s") -> Report:
    row = Row(what="a step", measured=measured, compared_with="2 s", ratio="2 x")
    return Report(title=title, rows=[row], notes=["A note."])


def page(*names: str, before: str = "", machine: tuple[str, ...] = MACHINE) -> str:
    for name in names:
        before = with_section(before, machine, name, [report(f"Title of {name}")], order=ORDER)
    return before


def test_a_page_names_the_machine_and_has_the_table_and_its_notes() -> None:
    found = page("rates")
    for line in ("* a processor, 2 cores", "## Title of rates", "| a step | 1 s | 2 s | 2 x |", "* A note."):
        assert line in found.splitlines()


def test_sections_stand_in_the_pages_order_whichever_came_first() -> None:
    assert page("memory", "method", "rates") == page("method", "rates", "memory")


def test_a_section_is_replaced_and_the_others_stay_as_they_are() -> None:
    before = page(*ORDER)
    after = with_section(before, MACHINE, "rates", [report("Title of rates", "9 s")], order=ORDER)
    assert after == before.replace("| a step | 1 s |", "| a step | 9 s |", 2).replace("| 9 s |", "| 1 s |", 1)


def test_writing_the_same_again_changes_nothing() -> None:
    assert page("rates", before=page(*ORDER)) == page(*ORDER)


def test_what_another_machine_measured_is_dropped() -> None:
    found = page("rates", before=page(*ORDER), machine=("another processor",))
    assert found == page("rates", machine=("another processor",))
