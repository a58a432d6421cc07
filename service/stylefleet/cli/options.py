"""Options that several commands have. What is wrong with a value is said before anything else is loaded."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

from stylefleet import naming

_ENDPOINT = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")


def _bucket(value: str) -> str:
    if not naming.BUCKET_PATTERN.fullmatch(value):
        raise typer.BadParameter(f"found {value!r}, allowed are 3 to 63 lower-case letters, digits, dots and hyphens")
    return value


def _endpoint(value: str | None) -> str | None:
    if value and not _ENDPOINT.fullmatch(value):
        # Not quoted: it may hold a user and a password.
        raise typer.BadParameter("allowed is an address such as http://minio:9000, without user and query")
    return value or None


BucketOption = Annotated[
    str,
    typer.Option(
        "--bucket", envvar="STYLEFLEET_BUCKET", help="The service's bucket.", show_default=False, callback=_bucket
    ),
]
EndpointOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        envvar="STYLEFLEET_S3_ENDPOINT",
        help="S3 server other than AWS.",
        show_default=False,
        callback=_endpoint,
    ),
]
RegionOption = Annotated[
    str | None,
    typer.Option("--region", envvar="AWS_REGION", help="Region of the bucket.", show_default="as AWS tools find it"),
]
NameArgument = Annotated[str, typer.Argument(help="The manifest's name; TENANT/NAME where there are tenants.")]


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    WIDE = "wide"
    """The table with all columns."""
    JSON = "json"
    YAML = "yaml"
    NAME = "name"
    """One name a line, for other commands."""


OutputOption = Annotated[Output, typer.Option("-o", "--output", envvar="STYLEFLEET_OUTPUT", help="How to print it.")]
TenantOption = Annotated[str, typer.Option(help="This tenant's runs only.", show_default=False)]
