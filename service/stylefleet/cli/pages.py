"""The commands that make pages and sheets to look at. Thin, as in `main`, which registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylefleet.cli.options import BucketOption, EndpointOption, RegionOption

ToOption = Annotated[Path, typer.Option("--to", help="The folder to make: empty, or of an earlier gallery.")]
FullOption = Annotated[bool, typer.Option("--full", help="Copy whole pictures too, for zooming in.")]


def gallery(
    names: Annotated[list[str], typer.Argument(help="The manifest's name, or several; TENANT/NAME with tenants.")],
    bucket: BucketOption,
    to: ToOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    full: FullOption = False,
) -> None:
    """Make a folder with a page of a run: before and after, search, filters, zoom, what each picture took.

    It needs nothing else, works offline, and can be sent or served as it is. Several runs make one page, where styles
    can be chosen. Small copies of pictures are in it; --full adds the whole ones.

    Example: stylefleet gallery spring-catalog --to spring-gallery --full
    """
    from stylefleet.cli import bucket as buckets
    from stylefleet.cli import gallery as command

    raise typer.Exit(command.run(buckets.open_store(endpoint, region), bucket, names, to, full=full))


def compare(
    first: Annotated[str, typer.Argument(help="The one on the left: NAME, or NAME@RUN for an older run.")],
    second: Annotated[str, typer.Argument(help="The one on the right.")],
    bucket: BucketOption,
    to: ToOption,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    full: FullOption = False,
) -> None:
    """Make a folder with a page of two runs of the same pictures side by side, with the same pan and zoom, to choose
    between their recipes. It says which settings differ.

    Example: stylefleet compare spring-soft spring-bold --to soft-or-bold --full
    """
    from stylefleet.cli import bucket as buckets
    from stylefleet.cli import compare as command

    raise typer.Exit(command.run(buckets.open_store(endpoint, region), bucket, first, second, to, full=full))
