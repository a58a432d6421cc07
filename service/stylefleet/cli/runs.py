"""The commands about a run that is already submitted. Thin, as in `main`, which registers them."""

from __future__ import annotations

from typing import Annotated

import typer

from stylefleet.cli.options import BucketOption, EndpointOption, NameArgument, RegionOption


def cancel(
    name: NameArgument, bucket: BucketOption, endpoint: EndpointOption = None, region: RegionOption = None
) -> None:
    """Stop a run; what is finished stays.

    Example: stylefleet cancel spring-catalog
    """
    from stylefleet.cli import bucket as buckets
    from stylefleet.cli import markers

    markers.cancel(buckets.open_store(endpoint, region), bucket, name)


def pause(
    name: NameArgument, bucket: BucketOption, endpoint: EndpointOption = None, region: RegionOption = None
) -> None:
    """Have a run's workers end until it is resumed; they keep what they have. Its deadline goes on counting.

    Example: stylefleet pause spring-catalog
    """
    from stylefleet.cli import bucket as buckets
    from stylefleet.cli import markers

    markers.pause(buckets.open_store(endpoint, region), bucket, name)


def resume(
    name: NameArgument, bucket: BucketOption, endpoint: EndpointOption = None, region: RegionOption = None
) -> None:
    """Go on with a run that was paused.

    Example: stylefleet resume spring-catalog
    """
    from stylefleet.cli import bucket as buckets
    from stylefleet.cli import markers

    markers.resume(buckets.open_store(endpoint, region), bucket, name)


def retry(
    name: NameArgument,
    bucket: BucketOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the run has ended.")] = False,
) -> None:
    """Submit a run's own manifest again: what failed, or was not done, is done; what has a result is left alone.

    Example: stylefleet retry spring-catalog --wait
    """
    from stylefleet.cli import bucket as buckets
    from stylefleet.cli import retry as command

    raise typer.Exit(command.retry(buckets.open_store(endpoint, region), bucket, name, wait_for_end=wait))


def audit(
    name: NameArgument,
    bucket: BucketOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    run: Annotated[
        str | None, typer.Option(help="A run of runs/NAME/ other than the newest.", show_default=False)
    ] = None,
    output: Annotated[str, typer.Option("-o", "--output", help="table or json.")] = "table",
) -> None:
    """Prove from the bucket alone that a run which ended is whole: every picture with its receipt, every receipt with
    its result, and nothing else; exit code 0 if so, 3 if not. It only reads.

    Example: stylefleet audit spring-catalog
    """
    from stylefleet.cli import audit as command
    from stylefleet.cli import bucket as buckets

    raise typer.Exit(command.run(buckets.open_store(endpoint, region), bucket, name, run=run, output=output))
