"""The commands that show runs. Thin, as in `main`, which registers them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from stylefleet.cli.options import (
    BucketOption,
    BucketOrNone,
    EndpointOption,
    NameArgument,
    Output,
    OutputOption,
    RegionOption,
    TenantOption,
)


class Cluster(StrEnum):
    """Where workers run."""

    KUBERNETES = "kubernetes"
    LOCAL = "local"


def list_runs(
    bucket: BucketOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    tenant: TenantOption = "",
    output: OutputOption = Output.TABLE,
) -> None:
    """List the runs: phase, pictures done and failed, age, cost. Those at work come first; of very many, the newest.

    Example: stylefleet list -o wide

    Cancel all of a tenant: stylefleet list --tenant fashion -o name | xargs -n 1 stylefleet cancel
    """
    from stylefleet.cli import bucket as buckets
    from stylefleet.cli import listing

    listing.run(buckets.open_store(endpoint, region), bucket, tenant=tenant, output=output)


def status(
    name: NameArgument,
    bucket: BucketOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    output: OutputOption = Output.TABLE,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it anew when it changes, until the run has ended.")
    ] = False,
) -> None:
    """Say how a run stands. With --watch the exit code is that of `wait`.

    Example: stylefleet status spring-catalog -o json

    Stay with it: stylefleet status spring-catalog --watch
    """
    from stylefleet.cli import bucket as buckets
    from stylefleet.cli import status as command

    raise typer.Exit(command.status(buckets.open_store(endpoint, region), bucket, name, output=output, watch=watch))


def results(
    name: NameArgument,
    bucket: BucketOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    output: OutputOption = Output.TABLE,
    sync: Annotated[
        Path | None, typer.Option(help="Fetch into this folder what is not there, or is another version there.")
    ] = None,
) -> None:
    """List a run's results, or fetch them. Nothing is deleted; what cannot be written is named, with exit code 3.

    Example: stylefleet results spring-catalog --sync spring/
    """
    from stylefleet.cli import bucket as buckets
    from stylefleet.cli import results as command

    store = buckets.open_store(endpoint, region)
    raise typer.Exit(command.run(store, bucket, name, output=output, folder=sync))


def logs(
    name: NameArgument,
    bucket: BucketOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    tail: Annotated[int, typer.Option(min=1, max=100_000, help="Lines of each worker, the last ones.")] = 50,
    cluster: Annotated[
        Cluster, typer.Option(envvar="STYLEFLEET_CLUSTER", help="Where the workers run.")
    ] = Cluster.KUBERNETES,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", envvar="STYLEFLEET_NAMESPACE", help="Of the workers' pods.")
    ] = "default",
    folder: Annotated[Path, typer.Option(envvar="STYLEFLEET_LOCAL_FOLDER", help="State of the local cluster.")] = Path(
        ".stylefleet/jobs"
    ),
) -> None:
    """Show the last lines of a run's workers, by your own kubeconfig; with --cluster local from this machine's files.

    Example: stylefleet logs spring-catalog -n art --tail 20
    """
    from stylefleet.cli import bucket as buckets
    from stylefleet.cli import worker_logs as command

    store = buckets.open_store(endpoint, region)
    where: Literal["kubernetes", "local"] = "local" if cluster == Cluster.LOCAL else "kubernetes"
    command.run(store, bucket, name, cluster=where, namespace=namespace, folder=folder, tail=tail)


def show_config(
    context: typer.Context,
    bucket: BucketOrNone = None,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    output: OutputOption = Output.TABLE,
    sources: Annotated[bool, typer.Option("--sources", help="Say where each comes from.")] = False,
) -> None:
    """Show the settings of these commands as they count here: flags come before variables, these before
    stylefleet.toml in this folder, this before ~/.config/stylefleet/config.toml. Secrets are masked.

    Example: stylefleet config show --sources
    """
    import os

    from stylefleet.cli import config as command

    values = {"bucket": bucket, "endpoint": endpoint, "region": region, "output": output.value}
    told = {name: source.name for name in values if (source := context.get_parameter_source(name)) is not None}
    found = command.rows(values, told, context.obj, os.environ)
    command.show(found, with_sources=sources, output=output)
