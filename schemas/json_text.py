"""JSON as fsherald reads and writes it: strict, and whatever a body holds, one kind of error."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from schemas.errors import RequestError


def loads(body: bytes) -> object:
    """The value that a message body holds; its strings may hold lone surrogates.

    Raises:
        RequestError: parse-error, for all that is not JSON in UTF-8, and for NaN and Infinity, a name used
            twice in one object, integers of thousands of digits, and nesting too deep to be read.
    """
    try:
        return _DECODER.decode(body.decode("utf-8-sig"))
    except UnicodeDecodeError as exc:
        raise RequestError.parse_error(f"the body is not UTF-8 (byte {exc.start})") from exc
    except json.JSONDecodeError as exc:
        raise RequestError.parse_error(f"the body is not JSON: {exc.msg} (character {exc.pos})") from exc
    except RecursionError as exc:
        raise RequestError.parse_error("the body is nested too deeply") from exc
    except ValueError as exc:
        raise RequestError.parse_error(f"the body cannot be read: {exc}") from exc


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name is used twice in one object")
    return value


_DECODER = json.JSONDecoder(parse_constant=_refuse, object_pairs_hook=_unique)
"""Made once: `json.loads` makes one for each text, which takes longer than to read a request."""


def dumps(value: object) -> bytes:
    r"""JSON in UTF-8 of what models, dicts, lists and plain values hold, models by their wire names.

    Where a name in it is not UTF-8 the whole text is ASCII, with the escapes \udc80 to \udcff.

    Raises:
        ValueError: the value has no JSON.
    """
    try:
        return to_json(value, by_alias=True, inf_nan_mode="null")
    except PydanticSerializationError:
        # pydantic has no JSON for lone surrogates, the standard library writes their escapes.
        return json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain).encode("ascii")


def _plain(value: object) -> dict[str, Any]:
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True)
    raise ValueError(f"{type(value).__name__} has no JSON")
