"""Panels about what waits, which stand on more than one dashboard."""

from __future__ import annotations

from helm.dashboards.panels import Panel, lines, stacked
from helm.dashboards.queries import age, latest


def queue_age() -> Panel:
    return lines(
        "Queue age",
        "Since the oldest manifest or run was submitted that has no worker at work; 0 where none waits.",
        "s",
        (age("stylefleet_queue_oldest_timestamp_seconds"), "oldest"),
    )


def runs() -> Panel:
    return stacked(
        "Runs",
        "Runs that are not final: a worker is at work (running), none is (waiting), or none is to be (paused).",
        "short",
        (latest("stylefleet_runs", by="state"), "{{state}}"),
    )


def workers() -> Panel:
    return lines(
        "Workers",
        "What the Jobs ask for (wanted), pods that are pending or running (active), pods at work (ready). Wanted and "
        "not active: no pod is made (quota, a queue). Active and not ready: there is no place for it, or no image.",
        "short",
        (latest("stylefleet_workers", by="state"), "{{state}}"),
    )
