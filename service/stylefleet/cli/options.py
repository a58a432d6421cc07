"""Options that several commands have. What is wrong with a value is said before anything else is loaded."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Annotated

import typer

from stylefleet import naming

_ENDPOINT = re.compile(r"https?://[^\s/?#@]+(/[^\s?#@]*)?")


def bucket_fault(value: str) -> str:
    """What is wrong with it; empty where it may be."""
    if naming.BUCKET_PATTERN.fullmatch(value):
        return ""
    return f"found {value!r}, allowed are 3 to 63 lower-case letters, digits, dots and hyphens"


def endpoint_fault(value: str) -> str:
    """What is wrong with it, which is not quoted: it may hold a user and a password."""
    return (
        "" if _ENDPOINT.fullmatch(value) else "allowed is an address such as http://minio:9000, without user and query"
    )


def output_fault(value: str) -> str:
    """What is wrong with it; empty where it may be."""
    return "" if value in set(Output) else f"found {value!r}, allowed are {', '.join(Output)}"


def _bucket(value: str) -> str:
    if fault := bucket_fault(value):
        raise typer.BadParameter(fault)
    return value


def _endpoint(value: str | None) -> str | None:
    if value and (fault := endpoint_fault(value)):
        raise typer.BadParameter(fault)
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


BucketOrNone = Annotated[
    str | None,
    typer.Option("--bucket", envvar="STYLEFLEET_BUCKET", help="The service's bucket.", show_default=False),
]
"""Where nothing is read of it."""
OutputOption = Annotated[Output, typer.Option("-o", "--output", envvar="STYLEFLEET_OUTPUT", help="How to print it.")]
TenantOption = Annotated[str, typer.Option(help="This tenant's runs only.", show_default=False)]
