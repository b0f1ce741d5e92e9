"""What the models of the wire share: names (camel case outside, snake case inside), enumerators, paths."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, FailFast, Field, Strict
from pydantic.alias_generators import to_camel
from pydantic_core import core_schema

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue

INT32_MAX = 2**31 - 1
INT64_MAX = 2**63 - 1


class WireModel(BaseModel):
    """A result, or a part of one: members that the reader does not know are ignored."""

    model_config = ConfigDict(
        frozen=True, populate_by_name=True, alias_generator=to_camel, extra="ignore", serialize_by_alias=True
    )


class Params(BaseModel):
    """The parameters of one method: those that it does not know are refused."""

    model_config = ConfigDict(
        frozen=True, populate_by_name=True, alias_generator=to_camel, extra="forbid", serialize_by_alias=True
    )


class WireEnum(StrEnum):
    """An enumeration of the contract: values are the names on the wire, the order gives the numbers."""

    @property
    def number(self) -> int:
        """The contract's number of this enumerator."""
        return list(type(self)).index(self)

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """The member that a name or a contract number stands for.

        Raises:
            ValueError: it stands for none; the message lists those there are.
        """
        if isinstance(value, cls):
            return value
        members = list(cls)
        if isinstance(value, str):
            for member in members:
                if member.value == value:
                    return member
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(members):
            return members[value]
        raise ValueError(f"must be one of {', '.join(members)} (or 0 to {len(members) - 1})")

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Validates with `from_wire` and writes the name."""
        return core_schema.no_info_plain_validator_function(
            cls.from_wire, serialization=core_schema.simple_ser_schema("str")
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Names, and where values are read the numbers too."""
        names = [member.value for member in cls]
        if handler.mode == "serialization":
            return {"title": cls.__name__, "type": "string", "enum": names}
        return {"title": cls.__name__, "enum": [*names, *range(len(names))]}


def _integral(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _carries_bytes(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain a NUL character")
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise ValueError("must not contain lone surrogates other than \\udc80 to \\udcff") from None
    return value


WireBool = Annotated[bool, Strict()]
WireInt = Annotated[int, Strict(), BeforeValidator(_integral)]
"""An integer; JSON does not tell 5 from 5.0, so both are taken."""
Natural32 = Annotated[int, Strict(), Field(ge=0, le=INT32_MAX), BeforeValidator(_integral)]
Natural64 = Annotated[int, Strict(), Field(ge=0, le=INT64_MAX), BeforeValidator(_integral)]
Positive64 = Annotated[int, Strict(), Field(ge=1, le=INT64_MAX), BeforeValidator(_integral)]
WireFloat = Annotated[float, Strict()]
WireText = Annotated[str, Strict()]
"""Any text; lone surrogates are let through, since an id that nobody has is for the handler to refuse."""
PathText = Annotated[
    str,
    Strict(),
    AfterValidator(_carries_bytes),
    Field(description="Path or name; bytes that are not UTF-8 are \\udc80 to \\udcff."),
]
"""A path or name: text in which \\udc80 to \\udcff stand for bytes that are not UTF-8 (PEP 383); no NUL."""
PathTexts = Annotated[tuple[PathText, ...], FailFast(), Field(max_length=10_000)]
"""Paths, names or patterns. Fails at the first wrong one: a problem of each of millions would fill the memory."""
