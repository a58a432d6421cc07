"""Run every benchmark and print one table each: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import engine, planning
from benchmarks.result import Row

BENCHMARKS = {"planning": planning.measure, "engine": engine.measure}


def machine() -> str:
    """What this ran on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor()
    system = f"{platform.system()} {platform.release()}"
    return f"{model}, {os.cpu_count()} cores, {system}, Python {platform.python_version()}"


def table(name: str, rows: list[Row]) -> Table:
    """One benchmark's rows."""
    found = Table(title=name, title_justify="left")
    for column in ("what", "measured", "compared with", "ratio"):
        found.add_column(column)
    for row in rows:
        found.add_row(row.what, row.measured, row.compared_with, row.ratio)
    return found


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all."""
    console = Console(width=140)
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        console.print(f"unknown: {', '.join(sorted(unknown))}; allowed: {', '.join(BENCHMARKS)}")
        return 2
    console.print(f"machine: {machine()}")
    for name in names or BENCHMARKS:
        console.print(table(name, BENCHMARKS[name]()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
