"""The commands that show runs. Thin, as in `main`, which registers them."""

from __future__ import annotations

from typing import Annotated

import typer

from stylefleet.cli.options import (
    BucketOption,
    EndpointOption,
    NameArgument,
    Output,
    OutputOption,
    RegionOption,
    TenantOption,
)


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
