"""`stylefleet top`: all runs in one table that keeps itself new; or one frame of it, or JSON."""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from stylefleet import naming, price
from stylefleet.cli.bucket import COLOUR_BY_PHASE, duration
from stylefleet.cli.options import Output
from stylefleet.cli.output import print_document
from stylefleet.errors import SettingsInvalid, TransientError, printable
from stylefleet.overview import Overview, Row, Totals, to_document, totals_of
from stylefleet.status import Phase
from stylefleet.status_reading import StatusReader
from stylefleet.store import Store

LOOK_SECONDS = 2.0
NOTES_SHOWN = 6
_NAME_WIDTH = 30
_LEVELS, _ASCII_LEVELS = "▁▂▃▄▅▆▇█", "_.-=+*%@"
_BAR, _ASCII_BAR = ("━", "─"), ("#", ".")
_BAR_CELLS = 16
_WIDE, _MIDDLE = 120, 92
"""From how many columns on there is a bar of progress, and a history."""
_PHASE_WORDS = {Phase.PARTIALLY_SUCCEEDED: "Partly"}


def run(store: Store, bucket: str, *, tenant: str, once: bool, output: str) -> None:
    """Show the runs until `q` or Ctrl-C; one frame with `once`, for JSON, and where nobody sits before a terminal."""
    if output not in ("table", "json"):
        raise SettingsInvalid(f"-o: found {output!r}, allowed are table and json")
    if tenant and not naming.NAME_PATTERN.fullmatch(tenant):
        raise SettingsInvalid(f"--tenant: found {tenant!r}, allowed are {naming.NAME_RULE}")
    reader, overview = StatusReader(store, bucket, tenant=tenant), Overview()
    if output == "json":
        found = reader.read()
        document = to_document(overview.look(found.found, store.now()), not_read=found.not_read)
        print_document(document, Output.JSON)
        return
    console = Console(highlight=False)
    where = f"s3://{bucket}" + (f", {tenant}" if tenant else "")
    # Not what rich takes for a terminal: FORCE_COLOR makes it take anything for one.
    if once or not sys.stdout.isatty() or console.is_dumb_terminal:
        found = reader.read()
        console.print(Frame(overview.look(found.found, store.now()), where=where, not_read=found.not_read, live=False))
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        # Unwind as Ctrl-C does: the terminal must get back what it had.
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    with contextlib.suppress(KeyboardInterrupt), _keys() as pressed, Live(console=console, screen=True) as live:
        _go_on(store, reader, overview, live.update, pressed, where=where)


def _go_on(
    store: Store,
    reader: StatusReader,
    overview: Overview,
    show: Callable[[RenderableType], None],
    pressed: Callable[[float], str],
    *,
    where: str,
) -> None:
    """A frame every LOOK_SECONDS until `q` is pressed. A store that is away for a while is waited for."""
    rows: list[Row] = []
    not_read = 0
    while True:
        trouble = ""
        try:
            found = reader.read()
            rows, not_read = overview.look(found.found, store.now()), found.not_read
        except TransientError as error:
            trouble = str(error)
        show(Frame(rows, where=where, not_read=not_read, live=True, trouble=trouble))
        if pressed(LOOK_SECONDS) in ("q", "Q", "\x03"):
            return


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[float], str]]:
    """A way to wait so many seconds for a key: it is given without Enter and not shown. Empty where none came."""
    if not sys.stdin.isatty():

        def wait(seconds: float) -> str:
            time.sleep(seconds)
            return ""

        yield wait
        return
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)

    def pressed(seconds: float) -> str:
        ready, _, _ = select.select([terminal], [], [], seconds)
        return os.read(terminal, 1).decode(errors="replace") if ready else ""

    try:
        yield pressed
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


class Frame:
    """What is on the screen at one time, as large as the terminal is."""

    def __init__(self, rows: Sequence[Row], *, where: str, not_read: int, live: bool, trouble: str = "") -> None:
        self._rows = rows
        self._where = where
        self._not_read = not_read
        self._live = live
        self._trouble = trouble

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        ascii_only, width = options.ascii_only, options.max_width
        noted = [row for row in self._rows if row.note and not row.status.phase.final][:NOTES_SHOWN]
        lines = [math.ceil(len(printable(row.note)) / max(1, width - _NAME_WIDTH - 2)) for row in noted]
        room = console.height // 3 if self._live else sum(lines)
        notes = [row for row, upto in zip(noted, itertools.accumulate(lines), strict=True) if upto <= room]
        # What is not the table: totals, its head, notes (whose words break lines, too), and the last line.
        beside = 9 + (sum(lines[: len(notes)]) + len(notes) + 1 if notes else 0)
        most = max(3, console.height - beside) if self._live else len(self._rows)
        shown = self._rows[:most]
        parts: list[RenderableType] = [
            _headline(totals_of(self._rows), self._where, wide=width >= _WIDE, ascii_only=ascii_only),
            "",
        ]
        if shown:
            parts.append(_table(shown, width=width, ascii_only=ascii_only))
        else:
            parts.append(Text("no run has a status here", style="dim"))
        if len(shown) < len(self._rows):
            parts.append(Text(f"and {len(self._rows) - len(shown):,} more runs", style="dim"))
        if self._not_read:
            parts.append(Text(f"{self._not_read:,} older statuses, or such that cannot be read, are left out", "dim"))
        if notes:
            parts += ["", _notes(notes)]
        if self._trouble:
            parts += ["", Text(f"the last look failed: {printable(self._trouble)}", style="red")]
        if self._live:
            parts += ["", Text("q leaves", style="dim")]
        yield Group(*parts)


def _headline(totals: Totals, where: str, *, wide: bool, ascii_only: bool) -> RenderableType:
    runs = [
        (totals.running, "running", "green"),
        (totals.waiting, "waiting", "yellow"),
        (totals.paused, "paused", "blue"),
        (totals.pending, "to be planned", "cyan"),
        (totals.ended, "ended", "dim"),
    ]
    first = Text.assemble(("stylefleet ", "bold"), (f"{printable(where)}   ", "dim"))
    parts = [
        Text.assemble((f"{count:,}", f"bold {style}"), (f" {word}", style)) for count, word, style in runs if count
    ]
    first.append(Text("  ").join(parts) if parts else Text("nothing to do", style="dim"))
    second = Text.assemble(
        "pictures: ", (f"{totals.left:,}", "bold"), " to do, ", (f"{totals.done:,}", "bold"), " done"
    )
    if totals.failed:
        second.append(f", {totals.failed:,} failed", style="red")
    second.append("   ")
    second.append(pace_in_words(totals.pace), style="bold")
    if totals.history:
        second.append(" ")
        second.append(sparkline(totals.history, ascii_only=ascii_only), style="cyan")
    ends = [] if totals.eta_seconds is None else [f"ready in {duration(totals.eta_seconds)}"]
    for currency, amount in sorted(totals.cost_by_currency.items()):
        ends.append(f"{price.in_words(amount, printable(currency))} so far")
    third = Text("   ".join(ends))
    if wide or not ends:
        return Group(first, Text("   ").join([second, third]))
    return Group(first, second, third)


def _table(rows: Sequence[Row], *, width: int, ascii_only: bool) -> Table:
    wide, middle = width >= _WIDE, width >= _MIDDLE
    with_cost = middle and any(row.status.cost for row in rows)
    table = Table(box=None, pad_edge=False, expand=True, header_style="dim")
    table.add_column("run", ratio=1, overflow="ellipsis", no_wrap=True, min_width=12)
    table.add_column("phase", no_wrap=True)
    if wide:
        table.add_column("", no_wrap=True)
    for name in ("done", "failed", "left"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("pace", justify="right", no_wrap=True)
    if middle:
        table.add_column("", no_wrap=True)
    table.add_column("ready in", justify="right", no_wrap=True)
    if with_cost:
        table.add_column("cost", justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*_cells(row, wide=wide, middle=middle, with_cost=with_cost, ascii_only=ascii_only))
    return table


def _cells(row: Row, *, wide: bool, middle: bool, with_cost: bool, ascii_only: bool) -> Iterator[Text]:
    status = row.status
    over = "dim" if status.phase.final else ""
    yield Text(printable(status.name), style=over or "bold")
    word = "Waiting" if row.waits else _PHASE_WORDS.get(status.phase, status.phase.value)
    yield Text(word, style="yellow" if row.waits else COLOUR_BY_PHASE.get(status.phase, "cyan"))
    if wide:
        yield _bar(row, ascii_only=ascii_only)
    yield Text(f"{status.done:,}" if status.pictures else "", style=over)
    yield Text(f"{status.failed:,}" if status.failed else "", style="red")
    yield Text(f"{status.pending:,}" if status.pictures and not status.phase.final else "", style=over)
    yield Text(pace_in_words(row.pace) if row.pace else "", style=over)
    if middle:
        history = row.history if wide else halved(row.history)
        yield Text(sparkline(history, ascii_only=ascii_only), style="cyan")
    yield Text("" if row.eta_seconds is None else duration(row.eta_seconds), style=over)
    if with_cost:
        cost = status.cost
        yield Text("" if cost is None else price.in_words(cost.actual, printable(cost.currency)), style=over)


def _bar(row: Row, *, ascii_only: bool) -> Text:
    """How much of it has a result, and how much failed."""
    full, empty = _ASCII_BAR if ascii_only else _BAR
    status = row.status
    if not status.pictures:
        return Text()
    # One failure among millions is seen, too.
    bad = math.ceil(_BAR_CELLS * status.failed / status.pictures)
    good = min(_BAR_CELLS - bad, round(_BAR_CELLS * (status.done + status.skipped) / status.pictures))
    return Text.assemble((full * good, "green"), (full * bad, "red"), (empty * (_BAR_CELLS - good - bad), "dim"))


def _notes(rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, max_width=_NAME_WIDTH, overflow="ellipsis")
    table.add_column(overflow="fold")
    for row in rows:
        style = "yellow" if row.waits else "dim"
        table.add_row(Text(printable(row.status.name), style="bold"), f"[{style}]{escape(printable(row.note))}[/]")
    return table


def sparkline(values: Sequence[float], *, ascii_only: bool = False) -> str:
    """One character for each value, its height by the largest of them; nothing where all are 0."""
    levels = _ASCII_LEVELS if ascii_only else _LEVELS
    top = max(values, default=0.0)
    if top <= 0:
        return ""
    return "".join(levels[min(len(levels) - 1, math.ceil(v / top * (len(levels) - 1)))] for v in values)


def halved(values: Sequence[float]) -> tuple[float, ...]:
    """The same in half as many values, each the mean of two."""
    return tuple((a + b) / 2 for a, b in zip(values[::2], values[1::2], strict=True))


def pace_in_words(per_second: float) -> str:
    """`3.2/s`, `7.5/min`, `40/h`: in the unit in which it is at least one."""
    for factor, unit in ((1, "s"), (60, "min"), (3600, "h")):
        if per_second * factor >= 1:
            return f"{per_second * factor:,.1f}/{unit}"
    return f"{per_second * 3600:.1f}/h"
