"""What every part of a manifest is made of: the base of its models, and types that check themselves."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from stylefleet import naming

PATTERNS_MAX = 100


def _uri(value: str) -> str:
    try:
        naming.parse_uri(value)
    except ValueError as error:
        raise PydanticCustomError("uri", "{reason}", {"reason": str(error), "allowed": "s3://bucket/key"}) from error
    return value


def _name(value: str) -> str:
    if not naming.NAME_PATTERN.fullmatch(value):
        raise PydanticCustomError("name", "the name is not usable", {"allowed": naming.NAME_RULE})
    return value


Name = Annotated[str, AfterValidator(_name), Field(json_schema_extra={"pattern": f"^{naming.NAME_PATTERN.pattern}$"})]


def _object_uri(value: str) -> str:
    if _uri(value).endswith("/"):
        raise PydanticCustomError("uri", "this is a folder, not a picture", {"allowed": "s3://bucket/key"})
    return value


Uri = Annotated[str, AfterValidator(_uri)]
"""Of a folder."""
ObjectUri = Annotated[str, AfterValidator(_object_uri)]
Patterns = Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=PATTERNS_MAX)]


_DURATION = re.compile(r"[1-9][0-9]{0,4}[mhd]")
_PERCENTAGE = re.compile(r"(100|[0-9]{1,2}(\.[0-9]{1,4})?)%")
FAILURES_MAX = 10**9
"""Beyond any catalog."""


def _duration(value: object) -> object:
    if not (isinstance(value, str) and _DURATION.fullmatch(value)):
        allowed = "minutes, hours or days, such as 90m, 6h or 2d"
        raise PydanticCustomError("duration", "this is no duration", {"allowed": allowed})
    return value


def _failures(value: object) -> object:
    if isinstance(value, str) and _PERCENTAGE.fullmatch(value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= FAILURES_MAX:
        return value
    allowed = "a count such as 10, or a share of the pictures such as 1%"
    raise PydanticCustomError("failures", "this is no number of failures", {"allowed": allowed})


Duration = Annotated[str, BeforeValidator(_duration), Field(json_schema_extra={"pattern": f"^{_DURATION.pattern}$"})]
Failures = Annotated[
    Annotated[int, Field(ge=0, le=FAILURES_MAX)]
    | Annotated[str, Field(json_schema_extra={"pattern": f"^{_PERCENTAGE.pattern}$"})],
    BeforeValidator(_failures),
]
"""A count, or a percentage."""
Priority = Literal["low", "normal", "high"]


class Model(BaseModel):
    """Base of all parts: unknown fields are errors, types are strict, records are frozen, names are camelCase."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )
