"""Run health: what fails, what is tried again, and what waits."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from helm.dashboards.panels import Band, bars, board, lines, number
from helm.dashboards.queries import age, growth, hourly, latest, or_zero, quantile, rate, ratio
from helm.dashboards.waiting import queue_age, runs, workers

PICTURES = "stylefleet_pictures_total"
FAILED = 'outcome="failed"'


def dashboard() -> Dashboard:
    return board(
        title="Run health",
        uid="stylefleet-run-health",
        description="Which pictures fail and why, which workers are lost, and which runs wait or will be late.",
        bands=[
            Band(
                title="Now",
                height=5,
                panels=[
                    number(
                        "Failed",
                        "Pictures that failed in the time that is shown.",
                        or_zero(growth(PICTURES, FAILED)),
                        unit="short",
                    ),
                    number(
                        "Share that failed",
                        "Of the pictures that ended in the time that is shown.",
                        or_zero(f"{growth(PICTURES, FAILED)} / ({growth(PICTURES)} > 0)"),
                        unit="percentunit",
                        bad_from=0.05,
                    ),
                    number(
                        "Since a picture was done",
                        "Since a picture was last restyled; 0 where none has been. Long only where runs are running.",
                        age("stylefleet_picture_last_success_timestamp_seconds"),
                        unit="s",
                    ),
                    number(
                        "Runs that wait",
                        "Runs without a worker at work. status/NAME.json says why.",
                        or_zero(latest("stylefleet_runs", 'state="waiting"')),
                    ),
                    number(
                        "Behind their deadline",
                        "Runs whose estimated end is after their deadline.",
                        or_zero(latest("stylefleet_runs_behind_deadline")),
                        bad_from=1,
                    ),
                    number(
                        "Attempts that died",
                        "Attempts at a shard that were killed, ran out of memory or were lost with their node, in the "
                        "time that is shown.",
                        or_zero(growth("stylefleet_shard_retries_total", 'cause="died"')),
                        unit="short",
                        bad_from=1,
                    ),
                ],
            ),
            Band(
                title="What fails",
                height=9,
                panels=[
                    bars(
                        "Failures by reason",
                        "Pictures that failed each hour, by the reason in their receipts. docs/operations.md says "
                        "which are the picture's fault and which are ours.",
                        "none",
                        (_failures(), "{{reason}}"),
                    ),
                    lines(
                        "Share that failed, over time",
                        "Of the pictures that end.",
                        "percentunit",
                        (or_zero(ratio(rate(PICTURES, FAILED), rate(PICTURES))), "failed"),
                    ).max(1),
                    bars(
                        "Rejected manifests",
                        "Manifests that were refused each hour, by reason; their status has the place and what is "
                        "allowed.",
                        "none",
                        (hourly("stylefleet_manifests_rejected_total", by="reason"), "{{reason}}"),
                    ),
                ],
            ),
            Band(
                title="What is tried again",
                panels=[
                    bars(
                        "Retries",
                        "Attempts at a shard before the one that went on, each hour: died (killed, out of memory, "
                        "lost node), or stopped (evicted, preempted, paused), which lose nothing.",
                        "none",
                        (hourly("stylefleet_shard_retries_total", by="cause"), "{{cause}}"),
                    ),
                    lines(
                        "Time of a shard",
                        "Workers' seconds that a shard took, when its last picture has its receipt.",
                        "s",
                        (quantile(0.5, "stylefleet_shard_duration_seconds"), "half are below"),
                        (quantile(0.95, "stylefleet_shard_duration_seconds"), "95 % are below"),
                    ),
                ],
            ),
            Band(
                title="What waits",
                panels=[
                    runs(),
                    workers(),
                    queue_age(),
                ],
            ),
            Band(
                title="How runs end",
                panels=[
                    bars(
                        "Runs that ended",
                        "Each hour, by the phase in which they ended.",
                        "none",
                        (hourly("stylefleet_run_duration_seconds_count", by="phase"), "{{phase}}"),
                    ),
                    lines(
                        "Time of a run",
                        "From its plan to its end, whatever the end.",
                        "s",
                        (quantile(0.5, "stylefleet_run_duration_seconds"), "half are below"),
                        (quantile(0.95, "stylefleet_run_duration_seconds"), "95 % are below"),
                    ),
                ],
            ),
        ],
    )


def _failures() -> str:
    """Only the reasons that there are: the list of those that could be is long. Without any, one line at 0."""
    there = f"{hourly(PICTURES, FAILED, by='reason')} > 0"
    none = f"{hourly(PICTURES, FAILED)} == 0"
    return f'{there} or label_replace({none}, "reason", "none", "", "")'
