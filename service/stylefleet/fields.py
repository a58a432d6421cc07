"""What every part of a manifest is made of: the base of its models, and types that check themselves."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
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
