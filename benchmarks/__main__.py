"""Run benchmarks: `python -m benchmarks [NAME ...] [--size PX] [--quick] [--write PAGE]`."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks import page, result, roofline
from benchmarks.effort import FULL, QUICK, Effort
from benchmarks.result import Report

SIZE_PX_MIN = 128
ROOFLINE_PAGE = Path("docs/roofline.md")


def _module(name: str, function: str = "measure") -> Callable[[Effort], list[Report]]:
    """A function of a module that is imported when it is called: a process that benchmarks start does not load them
    all."""

    def measure(effort: Effort) -> list[Report]:
        reports: list[Report] = getattr(importlib.import_module(f"benchmarks.{name}"), function)(effort)
        return reports

    return measure


BENCHMARKS: dict[str, Callable[[Effort], list[Report]]] = {
    "method": _module("method"),
    "peers": _module("method", "measure_others"),
    "plain3000": _module("plain3000"),
    "precision": _module("precision"),
    "rates": _module("rates"),
    "profile": _module("profile"),
    "catalog": _module("catalog"),
    "overhead": _module("overhead"),
    "startup": _module("startup"),
    "memory": _module("memory"),
    "planning": _module("planning"),
    "controller": _module("controller"),
}
"""In the order of the page."""

BY_NAME_ONLY = ("plain3000", "memory", "planning", "controller")
"""Not for every time: a quarter of an hour; minutes at the largest sizes; an API server, which is started as root."""


def main(arguments: Sequence[str]) -> int:
    """Run the named benchmarks, or all that are not too long; the exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if unknown := set(asked.names) - set(BENCHMARKS):
        parser.error(f"found {', '.join(sorted(unknown))}; allowed are {', '.join(BENCHMARKS)}")
    if asked.size is not None and asked.size < SIZE_PX_MIN:
        parser.error(f"--size: found {asked.size}, allowed are {SIZE_PX_MIN} and more: some run at a quarter of it")
    if asked.write_roofline:
        ROOFLINE_PAGE.write_text(roofline.markdown())
        return 0
    effort = QUICK if asked.quick else FULL
    if asked.size:
        effort = replace(effort, size_px=asked.size)
    from benchmarks.machine import machine

    # Wide where the output is a file: a table that is cut helps nobody.
    console = Console(width=None if sys.stdout.isatty() else 180)
    lines = [*machine(), *(["tried out with `--quick`: **these numbers mean nothing**"] if asked.quick else [])]
    for line in lines:
        console.print(line, markup=False)
    started = time.monotonic()
    for name in [n for n in BENCHMARKS if n in asked.names or (not asked.names and n not in BY_NAME_ONLY)]:
        reports = BENCHMARKS[name](effort)
        for report in reports:
            console.print(result.terminal_table(report))
        if asked.write:  # after each, so that a run that is stopped leaves what it has found
            before = asked.write.read_text() if asked.write.exists() else ""
            asked.write.write_text(page.with_section(before, lines, name, reports, order=tuple(BENCHMARKS)))
    console.print(f"{(time.monotonic() - started) / 60:.1f} minutes")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed and memory, as ratios.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--size", type=int, metavar="PX", help=f"longer edge of the picture (default {FULL.size_px})")
    parser.add_argument("--quick", action="store_true", help="small sizes and counts, to try a benchmark out")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into a Markdown page as well")
    parser.add_argument("--write-roofline", action="store_true", help=f"write {ROOFLINE_PAGE} and measure nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
