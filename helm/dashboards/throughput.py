"""Throughput: the dashboard that is left open. How much gets done, how much is left, and what it costs."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from helm.dashboards.panels import Band, board, lines, number, stacked
from helm.dashboards.queries import growth, latest, mean, or_zero, rate, ratio
from helm.dashboards.waiting import queue_age, runs, workers

DONE = 'outcome="done"'
STAGES = "stylefleet_picture_stage_duration_seconds"


def dashboard() -> Dashboard:
    return board(
        title="Throughput",
        uid="stylefleet-throughput",
        description="How many pictures get done, how many are left, where the time goes, and what it costs.",
        bands=[
            Band(
                title="Now",
                height=5,
                panels=[
                    number(
                        "Pictures per second",
                        "Pictures that were restyled each second, over all workers.",
                        or_zero(rate("stylefleet_pictures_total", DONE)),
                    ),
                    number(
                        "Megapixels per second",
                        "Millions of pixels of results each second: unlike pictures, comparable between sizes.",
                        or_zero(f"{rate('stylefleet_pixels_total')} / 1e6"),
                    ),
                    number(
                        "Pictures to do",
                        "Pictures of all runs that have not ended.",
                        or_zero(latest("stylefleet_pending_pictures")),
                    ),
                    number(
                        "Time left",
                        "Until the run ends that ends last, as estimated from what pictures have taken so far.",
                        or_zero(latest("stylefleet_estimated_seconds_left")),
                        unit="s",
                    ),
                    number(
                        "Pictures done",
                        "Pictures that were restyled in the time that is shown.",
                        or_zero(growth("stylefleet_pictures_total", DONE)),
                        unit="short",
                    ),
                    number(
                        "Cost of 1,000 pictures",
                        "In the time that is shown, in the currency of the price setting; 0 where no price is set.",
                        or_zero(
                            f"1000 * {growth('stylefleet_cost_total')} "
                            f"/ ({growth('stylefleet_pictures_total', DONE)} > 0)"
                        ),
                    ),
                ],
            ),
            Band(
                title="What gets done",
                height=9,
                panels=[
                    stacked(
                        "Pictures per second by outcome",
                        "Pictures that ended each second: done, or failed, for which report.json has the reason.",
                        "none",
                        (rate("stylefleet_pictures_total", by="outcome"), "{{outcome}}"),
                    ),
                    lines(
                        "Megapixels per second, over time",
                        "Millions of pixels of results each second.",
                        "none",
                        (or_zero(f"{rate('stylefleet_pixels_total')} / 1e6"), "megapixels per second"),
                    ),
                ],
            ),
            Band(
                title="What is left",
                panels=[
                    lines(
                        "Queue depth",
                        "Pictures of planned runs that have not ended, and manifests that are not planned yet.",
                        "short",
                        (or_zero(latest("stylefleet_pending_pictures")), "pictures"),
                        (or_zero(latest("stylefleet_queued_manifests")), "manifests"),
                    ),
                    queue_age(),
                    lines(
                        "Time left, over time",
                        "Until the run ends that ends last. A line that falls by a second each second keeps its word.",
                        "s",
                        (or_zero(latest("stylefleet_estimated_seconds_left")), "time left"),
                    ),
                ],
            ),
            Band(
                panels=[
                    workers(),
                    runs(),
                    lines(
                        "Style cache",
                        "Share of style targets that were in the cache when a worker set out; the rest was computed.",
                        "percentunit",
                        (
                            or_zero(
                                ratio(
                                    rate("stylefleet_style_cache_lookups_total", 'result="hit"'),
                                    rate("stylefleet_style_cache_lookups_total"),
                                )
                            ),
                            "hits",
                        ),
                    ).max(1),
                ]
            ),
            Band(
                title="Where the time goes",
                height=9,
                panels=[
                    stacked(
                        "Stages",
                        "Seconds that pictures spend in each stage, each second, over all workers. What a batch shares "
                        "is divided among its pictures, so the height is how many workers' time this accounts for.",
                        "none",
                        (rate(f"{STAGES}_sum", by="stage"), "{{stage}}"),
                    ),
                    stacked(
                        "Seconds a picture by stage",
                        "The mean time of a picture in each stage.",
                        "s",
                        (mean(STAGES, by="stage"), "{{stage}}"),
                    ),
                ],
            ),
            Band(
                title="What it costs",
                panels=[
                    lines(
                        "Cost per hour",
                        "In the currency of the price setting; 0 where no price is set.",
                        "none",
                        (or_zero(f"3600 * {rate('stylefleet_cost_total')}"), "cost per hour"),
                    ),
                    lines(
                        "Cost of 1,000 pictures, over time",
                        "In the currency of the price setting; 0 where no price is set or nothing was done.",
                        "none",
                        (
                            or_zero(
                                f"1000 * {rate('stylefleet_cost_total')} "
                                f"/ ({rate('stylefleet_pictures_total', DONE)} > 0)"
                            ),
                            "1,000 pictures",
                        ),
                    ),
                    lines(
                        "Workers' time",
                        "Seconds of workers, and of their GPUs, that receipts account for, each second.",
                        "none",
                        (or_zero(rate("stylefleet_worker_seconds_total")), "workers"),
                        (or_zero(rate("stylefleet_gpu_seconds_total")), "GPUs"),
                    ),
                ],
            ),
        ],
    )
