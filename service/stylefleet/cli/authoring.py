"""The commands with which manifests are written. Thin, as in `main`, which registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stylefleet.cli.options import BucketOption, EndpointOption, RegionOption


def init(
    bucket: BucketOption,
    file: Annotated[Path | None, typer.Argument(help="Where to write it.", show_default="stdout")] = None,
    endpoint: EndpointOption = None,
    region: RegionOption = None,
    name: Annotated[
        str | None, typer.Option(help="metadata.name.", show_default="the file's name, or first-run")
    ] = None,
) -> None:
    """Write a commented manifest for this bucket: with its pictures and its styles, where there are some.

    Example: stylefleet init spring-catalog.yaml --bucket shop
    """
    from stylefleet.cli import bucket as buckets
    from stylefleet.cli import init as command

    own = name or (file.stem.lower() if file else "first-run")
    command.run(buckets.open_store(endpoint, region), bucket, file, name=own)


def validate(
    manifest: Annotated[Path, typer.Argument(help="The manifest file.")],
) -> None:
    """Check a manifest without touching any bucket; what is wrong is shown with its line, and what is allowed.

    Example: stylefleet validate spring-catalog.yaml
    """
    from stylefleet.cli import bucket as commands

    commands.validate(manifest)


def explain(
    field: Annotated[str, typer.Argument(help="Such as spec.recipe.size.", show_default="the manifest")] = "",
) -> None:
    """Say what a field of a manifest is for: its type, default, what is allowed, and the fields in it.

    Example: stylefleet explain spec.recipe.size
    """
    from stylefleet.cli import explain as command

    command.run(field)
