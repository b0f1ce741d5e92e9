"""What pydantic finds wrong with a request, in plain words and under the names of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from schemas.errors import FieldProblem

if TYPE_CHECKING:
    from pydantic import ValidationError

PROBLEMS_MAX = 100
"""A reply lists no more: a request of a million mistakes must not make a reply of as many."""

_NAME_MAX_LENGTH = 100

_WORDS = {
    "missing": "is required",
    "extra_forbidden": "is not known",
    "bool_type": "must be true or false",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "string_type": "must be a string",
    "string_unicode": "must be text",
    "tuple_type": "must be an array",
    "list_type": "must be an array",
    "too_long": "must have at most {max_length} members",
    "finite_number": "must be a finite number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "value_error": "{error}",
}


def field_problems(exc: ValidationError) -> list[FieldProblem]:
    """One problem for each thing that validation found; the values, which may be large, stay out of it."""
    return [
        FieldProblem(_field(error["loc"]), _problem(error["type"], error["msg"], error.get("ctx", {})))
        for error in exc.errors(include_url=False, include_input=False)
    ]


def _field(location: tuple[int | str, ...]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def _problem(kind: str, message: str, context: dict[str, Any]) -> str:
    words = _WORDS.get(kind)
    return words.format_map({name: _number(value) for name, value in context.items()}) if words else message


def _number(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def shortened(name: str) -> str:
    """A name that somebody sent, as it may be repeated in an error."""
    return name if len(name) <= _NAME_MAX_LENGTH else name[: _NAME_MAX_LENGTH - 3] + "..."
