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


def explore(
    content: Annotated[Path, typer.Argument(help="The photo.")],
    style: Annotated[Path, typer.Argument(help="The picture whose style it gets.")],
    more: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD=VALUE,...]...", help="Further fields of the grid.")
    ] = None,
    grid: Annotated[
        list[str] | None, typer.Option("--grid", metavar="FIELD=VALUE,...", help="A field of the recipe, and values.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the sheet goes: a .png.")] = Path("explored.png"),
    size: Annotated[int, typer.Option(help="Longer edge of each cell in pixels.")] = 256,
    choose: Annotated[
        int | None, typer.Option(help="Draw nothing; print the manifest of the cell with this number.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(envvar="STYLEFLEET_VGG19_WEIGHTS", help="File with the VGG19 weights.")
    ] = None,
    weights_sha256: Annotated[
        str | None, typer.Option(envvar="STYLEFLEET_VGG19_SHA256", help="SHA-256 that this file must have.")
    ] = None,
) -> None:
    """Restyle a photo by every recipe of a grid, small and quick, onto one sheet; then print the manifest of the cell
    that you choose. The last field runs along the rows.

    Example: stylefleet explore photo.jpg waves.jpg --grid contentWeight=500,1000,5000 styleWeight=0.005,0.01,0.02

    Then the same with --choose 4 > spring.yaml
    """
    from stylefleet.cli import explore as command

    found = command.Weights(path=weights, sha256=weights_sha256)
    command.run(content, style, [*(grid or []), *(more or [])], out=out, size=size, choose=choose, weights=found)
