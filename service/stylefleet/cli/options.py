"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

BucketOption = Annotated[
    str, typer.Option("--bucket", envvar="STYLEFLEET_BUCKET", help="The service's bucket.", show_default=False)
]
EndpointOption = Annotated[
    str | None,
    typer.Option("--endpoint", envvar="STYLEFLEET_S3_ENDPOINT", help="S3 server other than AWS.", show_default=False),
]
NameArgument = Annotated[str, typer.Argument(help="The manifest's name; TENANT/NAME where there are tenants.")]
