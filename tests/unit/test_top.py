"""`stylefleet top`: what is told of many runs, how it looks, and how one leaves it."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from rich.console import Console, RenderableType

from stylefleet import naming, status
from stylefleet.cli import top
from stylefleet.cli.top import Frame, halved, pace_in_words, sparkline
from stylefleet.errors import SettingsInvalid, StoreUnavailable
from stylefleet.naming import Ref
from stylefleet.overview import CELLS, Overview, Row, to_document, totals_of
from stylefleet.price import Cost
from stylefleet.status import Phase, Status
from stylefleet.status_reading import StatusReader
from stylefleet.store_memory import MemoryStore
from tests.builders import NOW
from tests.fake_cluster import HookedStore
from tests.unit.test_terminal import HOSTILE, raw


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def running(name: str = "spring", *, done: int = 0, seconds: float = 0.0, **changes: object) -> Status:
    """A run of 1000 pictures that began at NOW, as its status was written so many seconds later."""
    found = Status(
        name=name,
        run="r",
        phase=Phase.RUNNING,
        pictures=1000,
        done=done,
        started_at=NOW,
        updated_at=at(seconds),
        eta_seconds=600.0,
        cost=Cost(currency="EUR", estimated=10.0, actual=done / 100),
    )
    return replace(found, **changes)  # type: ignore[arg-type]


def shown(rows: list[Row], *, width: int = 132, height: int = 40, live: bool = False, **how: object) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, **how)  # type: ignore[arg-type]
    console.print(Frame(rows, where="s3://service", not_read=0, live=live))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# --- what is known of runs ----------------------------------------------------------------------------------------


def test_at_the_first_look_the_pace_is_that_since_the_run_began() -> None:
    (row,) = Overview().look([running(done=50, seconds=50)], at(50))
    assert row.pace == pytest.approx(1.0)
    assert row.history == ()


def test_then_it_is_that_of_the_last_minute() -> None:
    overview = Overview()
    for seconds, done in ((100, 100), (200, 400)):
        (row,) = overview.look([running(done=done, seconds=seconds)], at(seconds))
    assert row.pace == pytest.approx(3.0)


def test_a_run_that_says_nothing_more_has_no_pace() -> None:
    overview = Overview()
    overview.look([running(done=100, seconds=100)], at(100))
    (row,) = overview.look([running(done=100, seconds=100)], at(400))
    assert row.pace == 0.0


def test_the_history_is_of_what_was_seen_and_goes_on_until_the_next_status() -> None:
    overview = Overview()
    for seconds in range(100, 221, 10):
        done = min(seconds, 160) + 4 * max(0, seconds - 160)
        (row,) = overview.look([running(done=done, seconds=seconds)], at(seconds + 5))
    assert len(row.history) == CELLS
    assert row.history[0] == pytest.approx(1.0)
    assert row.history[-1] == pytest.approx(4.0, rel=0.2), "no fall since the status was written, 5 s ago"


def test_another_run_of_the_name_begins_anew() -> None:
    overview = Overview()
    overview.look([running(done=900, seconds=1000)], at(1000))
    again = running(run="r2", done=10, seconds=1110, started_at=at(1100))
    (row,) = overview.look([again], at(1110))
    assert row.pace == pytest.approx(1.0)


def test_a_run_that_ended_is_told_with_its_pace_over_all() -> None:
    ended = running(done=1000, seconds=60, phase=Phase.SUCCEEDED, finished_at=at(500))
    (row,) = Overview().look([ended], at(9000))
    assert (row.pace, row.eta_seconds, row.history) == (pytest.approx(2.0), None, ())


def test_the_time_left_is_counted_down_from_when_it_was_told() -> None:
    (row,) = Overview().look([running(seconds=100)], at(130))
    assert row.eta_seconds == 570.0


def test_what_is_at_work_stands_first_and_then_what_ended_last() -> None:
    statuses = [
        running("old", phase=Phase.SUCCEEDED, finished_at=at(10)),
        running("new", phase=Phase.FAILED, finished_at=at(20)),
        running("paused", phase=Phase.PAUSED),
        running("later", started_at=at(5)),
        running("first"),
        Status(name="queued", run="", phase=Phase.PENDING, updated_at=at(1)),
    ]
    rows = Overview().look(statuses, at(30))
    assert [row.status.name for row in rows] == ["first", "later", "queued", "paused", "new", "old"]


def test_totals_are_those_of_runs_that_are_not_over_and_costs_of_all() -> None:
    statuses = [
        running("a", done=100, seconds=100, failed=1),
        running("b", done=50, seconds=100, waiting_because="no node", eta_seconds=900.0),
        running("c", done=1000, phase=Phase.SUCCEEDED, finished_at=at(50)),
        running("d", done=1, seconds=100, cost=Cost(currency="USD", estimated=None, actual=2.0)),
    ]
    totals = totals_of(Overview().look(statuses, at(100)))
    assert (totals.running, totals.waiting, totals.ended) == (2, 1, 1)
    assert (totals.done, totals.failed, totals.left) == (151, 1, 2848)
    assert totals.pace == pytest.approx(1.52)
    assert totals.eta_seconds == 900.0
    assert totals.cost_by_currency == {"EUR": 11.5, "USD": 2.0}


# --- reading ------------------------------------------------------------------------------------------------------


def put(store: MemoryStore, one: Status) -> None:
    store.put(Ref("service", naming.status_key(one.name)), status.to_json(one))


def test_only_what_was_written_again_is_read_again() -> None:
    memory = MemoryStore("service", clock=lambda: NOW)
    reads: list[str] = []
    store = HookedStore(memory)
    store.before = lambda operation, ref: reads.append(ref.key) if operation == "get" else None
    reader = StatusReader(store, "service")
    for name in ("a", "b"):
        put(memory, running(name))
    assert len(reader.read().found) == 2
    put(memory, running("b", done=5))
    reads.clear()
    assert {s.name: s.done for s in reader.read().found} == {"a": 0, "b": 5}
    assert reads == ["status/b.json"]
    memory.delete(Ref("service", "status/a.json"))
    assert [s.name for s in reader.read().found] == ["b"]


def test_so_many_statuses_are_read_at_the_most_those_that_were_written_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stylefleet.status_reading.STATUSES_MAX", 2)
    clock = [NOW]
    memory = MemoryStore("service", clock=lambda: clock[0])
    for number, name in enumerate("abcd"):
        clock[0] = at(number)
        put(memory, running(name))
    found = StatusReader(memory, "service").read()
    assert ({s.name for s in found.found}, found.not_read) == ({"c", "d"}, 2)


def test_what_is_no_status_is_counted_and_stops_nothing() -> None:
    memory = MemoryStore("service", clock=lambda: NOW)
    put(memory, running("a"))
    memory.put(Ref("service", "status/b.json"), b"[1")
    found = StatusReader(memory, "service").read()
    assert ([s.name for s in found.found], found.not_read) == (["a"], 1)


def test_a_tenants_own_runs_are_asked_for_in_its_folder_only() -> None:
    memory = MemoryStore("service", clock=lambda: NOW)
    for name in ("art/a", "art-deco/b", "c"):
        put(memory, running(name))
    assert [s.name for s in StatusReader(memory, "service", tenant="art").read().found] == ["art/a"]


# --- what it looks like -------------------------------------------------------------------------------------------


def example() -> list[Row]:
    overview = Overview()
    for seconds in range(100, 221, 10):
        statuses = [
            running("art/spring", done=seconds, failed=2, seconds=seconds),
            running("books/covers", seconds=seconds, waiting_because="no node has a free nvidia.com/gpu"),
            running("toys/bears", done=997, failed=3, phase=Phase.PARTIALLY_SUCCEEDED, finished_at=at(50)),
        ]
        rows = overview.look(statuses, at(seconds))
    return rows


def test_a_frame_tells_totals_runs_and_why_one_waits() -> None:
    text = shown(example())
    head, counts, _, _, first, second, third, *_ = text.splitlines()
    assert re.sub(r" +", " ", head.strip()) == "stylefleet s3://service 1 running 1 waiting 1 ended"
    assert counts.startswith("pictures: 1,778 to do, 220 done, 2 failed   1.0/s ")
    assert re.search(r"[▁-█]{24}", counts)
    assert re.search(r"art/spring +Running +━+─+ +220 +2 +778 +1\.0/s +[▁-█]{24} +10 min +EUR 2\.20", first)
    assert "Waiting" in second
    assert re.search(r"toys/bears +Partly +━{16} +997 +3 ", third)
    assert re.search(r"(?m)^books/covers +no node has a free nvidia\.com/gpu", text)


@pytest.mark.parametrize("width", [60, 132])
@pytest.mark.parametrize("words", [3, 60, 400])
def test_long_reasons_take_no_more_of_the_screen_than_there_is(width: int, words: int) -> None:
    statuses = [running(f"run-{n:03}", waiting_because="insufficient " * words) for n in range(50)]
    text = shown(Overview().look(statuses, at(1)), width=width, height=30, live=True)
    assert len(text.splitlines()) <= 30
    assert "q leaves" in text


@pytest.mark.parametrize("width", [40, 80, 100, 132, 200])
def test_a_frame_is_never_wider_than_the_terminal(width: int) -> None:
    for line in shown(example(), width=width).splitlines():
        assert len(line) <= width


def test_a_live_frame_fits_the_screen_and_says_how_much_it_leaves_out() -> None:
    rows = Overview().look([running(f"run-{n:03}") for n in range(200)], at(1))
    text = shown(rows, height=24, live=True)
    assert len(text.splitlines()) <= 24
    assert "more runs" in text
    assert "q leaves" in text


def test_without_a_terminal_and_with_no_color_there_is_no_escape(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b" not in shown(example())
    monkeypatch.setenv("NO_COLOR", "1")
    coloured = shown(example(), force_terminal=True, color_system="truecolor")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", coloured)
    monkeypatch.delenv("NO_COLOR")
    assert re.search(r"\x1b\[[0-9;]*3[0-9]", shown(example(), force_terminal=True, color_system="truecolor"))


def test_a_terminal_of_plain_letters_gets_plain_letters() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=file, width=132)
    console.print(Frame(example(), where="s3://service", not_read=0, live=False))
    file.flush()
    assert b"####" in file.buffer.getvalue()  # type: ignore[attr-defined]


def test_texts_from_the_bucket_do_nothing_to_the_terminal() -> None:
    hostile = running(HOSTILE, waiting_because=HOSTILE, cost=Cost(currency=HOSTILE, estimated=1.0, actual=1.0))
    text = shown(Overview().look([hostile], at(1)))
    assert raw(text) == set()
    assert "[bold" not in text


def test_a_sparkline_has_its_largest_value_at_full_height() -> None:
    assert sparkline((0.0, 1.0, 2.0, 4.0)) == "▁▃▅█"
    assert sparkline((0.0, 0.0)) == ""
    assert sparkline(()) == ""


def test_a_narrow_terminal_has_the_history_in_half_the_width() -> None:
    (line,) = [line for line in shown(example(), width=100).splitlines() if line.startswith("art/spring")]
    assert re.search(r" [▁-█]{12} ", line)
    assert halved((1.0, 3.0, 5.0, 5.0)) == (2.0, 5.0)


@pytest.mark.parametrize(
    ("pace", "words"), [(2.5, "2.5/s"), (0.5, "30.0/min"), (0.01, "36.0/h"), (0.0001, "0.4/h"), (0.0, "0.0/h")]
)
def test_a_pace_is_told_in_the_unit_in_which_it_is_at_least_one(pace: float, words: str) -> None:
    assert pace_in_words(pace) == words


# --- the command --------------------------------------------------------------------------------------------------


def test_json_is_one_document_of_totals_and_runs(capsys: pytest.CaptureFixture[str]) -> None:
    memory = MemoryStore("service", clock=lambda: at(100))
    put(memory, running(done=100, seconds=100, waiting_because=HOSTILE))
    top.run(memory, "service", tenant="", once=False, output="json")
    told = capsys.readouterr().out
    assert raw(told) == set()
    document = json.loads(told)
    assert document["totals"]["picturesPerSecond"] == 1.0
    (run,) = document["runs"]
    assert (run["name"], run["pending"], run["cost"]["actual"]) == ("spring", 900, 1.0)
    assert run["waitingBecause"] == HOSTILE
    assert to_document([], not_read=3)["notRead"] == 3


def test_where_nobody_sits_before_a_terminal_one_frame_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    memory = MemoryStore("service", clock=lambda: at(100))
    put(memory, running(done=100, seconds=100))
    top.run(memory, "service", tenant="", once=False, output="table")
    told = capsys.readouterr().out
    assert told.count("stylefleet s3://service") == 1
    assert "q leaves" not in told


@pytest.mark.parametrize(("tenant", "output"), [("Art/..", "table"), ("", "yaml")])
def test_what_cannot_be_shown_is_refused(tenant: str, output: str) -> None:
    with pytest.raises(SettingsInvalid, match="allowed are"):
        top.run(MemoryStore("service"), "service", tenant=tenant, once=True, output=output)


def test_a_store_that_is_away_for_a_while_is_told_and_waited_for() -> None:
    memory = MemoryStore("service", clock=lambda: at(100))
    put(memory, running(done=100, seconds=100))
    store, frames, keys = HookedStore(memory), [], iter(["", "", "q"])
    looks = iter([None, StoreUnavailable("no\x1b answer"), None])

    def listing(operation: str, _: Ref) -> None:
        fault = next(looks) if operation == "list" else None
        if fault is not None:
            raise fault

    def show(frame: RenderableType) -> None:
        console = Console(file=io.StringIO(), width=120)
        console.print(frame)
        assert isinstance(console.file, io.StringIO)
        frames.append(console.file.getvalue())

    store.before = listing
    top._go_on(store, StatusReader(store, "service"), Overview(), show, lambda _: next(keys), where="s3://service")
    assert len(frames) == 3
    assert ["the last look failed: no\\u001b answer" in frame for frame in frames] == [False, True, False]
    assert all("spring" in frame for frame in frames), "what was known is still shown"


LIVE = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # or Ctrl-C would be a letter

from stylefleet.cli import top
from stylefleet.store_memory import MemoryStore
from tests.unit.test_top import NOW, at, put, running

store = MemoryStore("service", clock=lambda: at(100))
put(store, running(done=100, seconds=100))
top.run(store, "service", tenant="", once=False, output="table")
print("back in the shell")
"""


@pytest.mark.parametrize(("key", "code"), [(b"q", 0), (b"\x03", 0), (None, 143)], ids=["q", "Ctrl-C", "SIGTERM"])
def test_whoever_leaves_gets_the_terminal_back_as_it_was(key: bytes | None, code: int) -> None:
    ours, its = pty.openpty()
    before = termios.tcgetattr(its)
    process = subprocess.Popen(
        [sys.executable, "-c", LIVE],
        stdin=its,
        stdout=its,
        stderr=its,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"},
        start_new_session=True,
    )
    told = b""
    try:
        while b"q leaves" not in told:
            assert select.select([ours], [], [], 60)[0], told
            told += os.read(ours, 65536)
        assert not termios.tcgetattr(its)[3] & termios.ECHO, "keys are not shown"
        if key is None:
            process.terminate()
        else:
            os.write(ours, key)
        while process.poll() is None or select.select([ours], [], [], 0)[0]:
            if select.select([ours], [], [], 0.1)[0]:
                told += os.read(ours, 65536)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == code
    assert (b"back in the shell" in told) == (code == 0)
    enter, leave = b"\x1b[?1049h", b"\x1b[?1049l"
    assert told.count(enter) == told.count(leave) == 1
    assert told.index(enter) < told.index(b"spring") < told.rindex(leave)
    assert termios.tcgetattr(its)[3] & termios.ECHO == before[3] & termios.ECHO != 0
    os.close(ours)
    os.close(its)
