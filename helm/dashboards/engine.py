"""Engine: what the workers do at this moment, and how fast."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard
from helm.dashboards.panels import Band, board, choice_of, heat_map, lines, number, stacked
from helm.dashboards.queries import latest, mean, or_zero, quantile, rate, select, total

STAGES = "stylefleet_picture_stage_duration_seconds"


def dashboard() -> Dashboard:
    memory = total("stylefleet_worker_memory_bytes", by="instance")
    limit = total("stylefleet_worker_memory_limit_bytes", by="instance")
    return board(
        title="Engine",
        uid="stylefleet-engine",
        description="What the workers do at this moment: speed, precision, batches, memory. Live values come from the "
        "workers themselves (the PodMonitor), all others from receipts.",
        variables=[choice_of("stage", "Stage", f"label_values({select(f'{STAGES}_count')}, stage)", first="optimize")],
        bands=[
            Band(
                title="Now",
                height=5,
                panels=[
                    number(
                        "Workers",
                        "Workers that are scraped.",
                        or_zero(f"count({select('stylefleet_worker_info')})"),
                    ),
                    number(
                        "Iterations per second",
                        "Optimizer steps each second of all workers, live. A step of a batch is one.",
                        or_zero(total("stylefleet_worker_iterations_per_second")),
                    ),
                    number(
                        "Pictures at a time",
                        "Pictures that are optimized at this moment, over all workers.",
                        or_zero(total("stylefleet_worker_batch_pictures")),
                    ),
                    number(
                        "Pictures left",
                        "Pictures that the shards of these workers have left.",
                        or_zero(total("stylefleet_worker_pictures_left")),
                        unit="short",
                    ),
                    number(
                        "Fullest memory",
                        "Of the worker that is nearest to its limit. At 100 % it is killed, and what it did goes on in "
                        "smaller batches.",
                        or_zero(f"max({memory} / ({limit} > 0))"),
                        unit="percentunit",
                        bad_from=0.9,
                    ),
                    number(
                        "GPU memory",
                        "Memory of GPUs that is in use, over all workers; 0 without GPUs.",
                        or_zero(total("stylefleet_worker_gpu_memory_bytes")),
                        unit="bytes",
                    ),
                ],
            ),
            Band(
                title="Speed",
                height=9,
                panels=[
                    stacked(
                        "Iterations per second by worker",
                        "Optimizer steps each second, live. A step of a batch is one: larger batches and larger "
                        "pictures make fewer.",
                        "none",
                        (total("stylefleet_worker_iterations_per_second", by="instance"), "{{instance}}"),
                    ),
                    lines(
                        "Iterations per second, over time",
                        "From receipts each step counts once for every picture of its batch; live, a batch's step is "
                        "one.",
                        "none",
                        (or_zero(rate("stylefleet_iterations_total")), "of pictures, from receipts"),
                        (or_zero(rate("stylefleet_worker_iterations_total")), "of batches, live"),
                    ),
                    lines(
                        "Loss by worker",
                        "Mean loss of the pictures in work. It falls within a scale, and jumps where a larger scale or "
                        "another batch begins.",
                        "none",
                        (total("stylefleet_worker_loss", by="instance"), "{{instance}}"),
                    ),
                ],
            ),
            Band(
                title="Stages",
                height=9,
                panels=[
                    heat_map(
                        "Time in the stage $stage",
                        "How many pictures took how long in the stage that was chosen above.",
                        "s",
                        STAGES,
                        'stage="$stage"',
                    ),
                    lines(
                        "95 % are below, by stage",
                        "Time that 95 % of the pictures do not exceed, by stage.",
                        "s",
                        (quantile(0.95, STAGES, by="stage"), "{{stage}}"),
                    ),
                ],
            ),
            Band(
                title="Precision and batches",
                height=9,
                panels=[
                    stacked(
                        "Pictures per second by precision",
                        "What computed the pictures that were done. float32 on a GPU is slower than it need be: "
                        "receipts say why it was taken.",
                        "none",
                        (
                            rate("stylefleet_pictures_by_engine_total", by="precision, device"),
                            "{{precision}} on {{device}}",
                        ),
                    ),
                    heat_map(
                        "Batch size",
                        "In batches of how many pictures those that were done were optimized.",
                        "none",
                        "stylefleet_picture_batch_size",
                    ),
                    lines(
                        "Pictures in a batch",
                        "Live: in work at this moment. Mean: of those that were done.",
                        "none",
                        (total("stylefleet_worker_batch_pictures", by="instance"), "{{instance}}"),
                        (or_zero(mean("stylefleet_picture_batch_size")), "mean"),
                    ),
                ],
            ),
            Band(
                panels=[
                    lines(
                        "Size by worker",
                        "Longer side of the pictures in work, at the scale that is being optimized.",
                        "pixel",
                        (latest("stylefleet_worker_image_size_pixels", by="instance"), "{{instance}}"),
                    ),
                    lines(
                        "Pictures left by worker",
                        "Pictures of a worker's shard that have no receipt.",
                        "short",
                        (total("stylefleet_worker_pictures_left", by="instance"), "{{instance}}"),
                    ),
                ]
            ),
            Band(
                title="Memory",
                panels=[
                    lines(
                        "Memory by worker",
                        "Memory of the worker's process, and the limit at which it is killed.",
                        "bytes",
                        (memory, "{{instance}}"),
                        (f"max({limit})", "limit"),
                    ),
                    lines(
                        "Share of the limit by worker",
                        "Memory of the worker's process as a share of its limit.",
                        "percentunit",
                        (f"{memory} / ({limit} > 0)", "{{instance}}"),
                    ).max(1),
                    lines(
                        "GPU memory by worker",
                        "Memory that the worker holds on its GPUs, and the most it has held; empty without GPUs.",
                        "bytes",
                        (total("stylefleet_worker_gpu_memory_bytes", by="instance"), "{{instance}}"),
                        (total("stylefleet_worker_gpu_memory_peak_bytes", by="instance"), "{{instance}}, peak"),
                    ),
                ],
            ),
        ],
    )
