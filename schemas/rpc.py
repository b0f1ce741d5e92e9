"""JSON-RPC 2.0 as spoken on the request queues: bodies to requests, results and errors to replies. Pure.

A body goes through `parse_message`, each request's method through `find_method`, its parameters through
`Method.parse_params`; a reply is made with `success` or `failure` and written with `dumps`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias, TypeGuard

from schemas.errors import (
    OMERO_FS_ERROR_CODE,
    FieldProblem,
    OmeroFSError,
    RequestError,
    error_class,
)
from schemas.json_text import dumps, loads
from schemas.methods import METHODS, Method, Queue, find_method, methods_of
from schemas.problems import shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ABSENT",
    "BATCH_MAX_REQUESTS",
    "BODY_MAX_BYTES",
    "METHODS",
    "Absent",
    "InvalidRequest",
    "Message",
    "Method",
    "Queue",
    "Request",
    "RequestId",
    "dumps",
    "error_object",
    "failure",
    "find_method",
    "from_error_object",
    "loads",
    "methods_of",
    "parse_message",
    "raise_error",
    "request_object",
    "result_of",
    "success",
]


class Absent(Enum):
    """The type of ABSENT."""

    ABSENT = "absent"


BODY_MAX_BYTES = 4 * 2**20
BATCH_MAX_REQUESTS = 10_000
"""Bounds of one message body: a request takes up to fifty times its size in memory while it is read."""

ABSENT: Final = Absent.ABSENT
"""In the place of an id: the request has none, and so is a notification."""

RequestId: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True)
class Request:
    """One well-formed request; whether the method exists and the parameters fit it is not known yet."""

    method: str
    params: dict[str, object] | list[object] = field(default_factory=dict)
    id: RequestId | Absent = ABSENT

    @property
    def is_notification(self) -> bool:
        """Executed, not answered; not even with an error."""
        return self.id is ABSENT


@dataclass(frozen=True, slots=True)
class InvalidRequest:
    """What stands in the place of a request and is none: answered with `error`, under its id or null."""

    error: RequestError
    id: RequestId = None


@dataclass(frozen=True, slots=True)
class Message:
    """What one body asks for, in its order; the replies to a batch travel in one array."""

    requests: tuple[Request | InvalidRequest, ...]
    is_batch: bool


def parse_message(body: bytes) -> Message:
    """The requests in a message body.

    Raises:
        RequestError: parse-error, or invalid-request for an empty batch and for a body or batch that is too
            large; to be answered under the id null.
    """
    if len(body) > BODY_MAX_BYTES:
        raise RequestError.invalid_request(
            f"the body has {len(body)} bytes, {BODY_MAX_BYTES} at most are read"
        )
    value = loads(body)
    if not isinstance(value, list):
        return Message((_parse_request(value),), is_batch=False)
    if not value:
        raise RequestError.invalid_request("the batch is empty")
    if len(value) > BATCH_MAX_REQUESTS:
        raise RequestError.invalid_request(
            f"the batch has {len(value)} requests, the limit is {BATCH_MAX_REQUESTS}"
        )
    return Message(tuple(_parse_request(each) for each in value), is_batch=True)


def _parse_request(value: object) -> Request | InvalidRequest:
    if not isinstance(value, dict):
        return InvalidRequest(RequestError.invalid_request("a request must be an object"))
    id_ = value.get("id", ABSENT)
    if id_ is not ABSENT and not _is_id(id_):
        return InvalidRequest(RequestError.invalid_request("id must be a string, a number or null"))
    method, params = value.get("method"), value.get("params", {})
    problem = _problem_of(value, method, params)
    if problem or not isinstance(method, str):
        return InvalidRequest(RequestError.invalid_request(problem), None if id_ is ABSENT else id_)
    return Request(method, params, id_)


def _problem_of(value: dict[str, object], method: object, params: object) -> str:
    if value.get("jsonrpc") != "2.0":
        return 'jsonrpc must be "2.0"'
    if not isinstance(method, str):
        return "method must be a string"
    if not isinstance(params, dict | list):
        return "params must be an object"
    unknown = value.keys() - {"jsonrpc", "id", "method", "params"}
    return f"unknown member {shortened(min(unknown))!r}" if unknown else ""


def _is_id(value: object) -> TypeGuard[RequestId]:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, str | int) and not isinstance(value, bool))


def request_object(
    method: str, params: Mapping[str, object] | None = None, id: RequestId | Absent = ABSENT
) -> dict[str, object]:
    """A request, or without an id a notification, for `dumps`."""
    request: dict[str, object] = {"jsonrpc": "2.0", "method": method, "params": dict(params or {})}
    if id is not ABSENT:
        request["id"] = id
    return request


def success(id: RequestId, result: object) -> dict[str, object]:
    """The reply that carries a result, for `dumps`."""
    return {"jsonrpc": "2.0", "id": id, "result": result}


def failure(id: RequestId, exc: BaseException) -> dict[str, object]:
    """The reply that carries an error, for `dumps`."""
    return {"jsonrpc": "2.0", "id": id, "error": error_object(exc)}


def error_object(exc: BaseException) -> dict[str, object]:
    """The error member of a reply; what is no failure of the contract or the request is an internal error.

    An internal error carries nothing of the exception: no text of it, no traceback.
    """
    if isinstance(exc, OmeroFSError):
        data = {"type": "OmeroFSError", "code": exc.code.value, "reason": exc.reason}
        return {"code": OMERO_FS_ERROR_CODE, "message": exc.message, "data": data}
    error = exc if isinstance(exc, RequestError) else RequestError.internal_error()
    details: dict[str, object] = {"code": error.name}
    if error.errors is not None:
        details["errors"] = [{"field": each.field, "problem": each.problem} for each in error.errors]
    return {"code": error.rpc_code, "message": error.message, "data": details}


def from_error_object(obj: object) -> OmeroFSError | RequestError:
    """The exception that an error member stands for; whatever does not look like one is an internal error."""
    if not isinstance(obj, dict) or not isinstance(obj.get("code"), int):
        return RequestError.internal_error("the server sent an error that cannot be read")
    code, message, data = obj["code"], str(obj.get("message", "")), obj.get("data")
    known: dict[str, Any] = data if isinstance(data, dict) else {}
    if code == OMERO_FS_ERROR_CODE:
        return error_class(str(known.get("code", "")))(str(known.get("reason") or message))
    errors = known.get("errors")
    problems = [_field_problem(each) for each in errors] if isinstance(errors, list) else None
    return RequestError(code, str(known.get("code", "server-error")), message, problems)


def _field_problem(value: object) -> FieldProblem:
    if not isinstance(value, dict):
        return FieldProblem("", str(value))
    return FieldProblem(str(value.get("field", "")), str(value.get("problem", "")))


def raise_error(obj: object) -> NoReturn:
    """Raises the exception that an error member stands for.

    Raises:
        OmeroFSError: the operation failed; the subclass says how.
        RequestError: the request was wrong, or the server failed.
    """
    raise from_error_object(obj)


def result_of(reply: object) -> Any:
    """The result that a decoded reply carries; unknown members are ignored.

    Raises:
        OmeroFSError: the reply carries a failure of the contract.
        RequestError: the reply carries another error, or is none (internal-error).
    """
    if isinstance(reply, dict):
        if reply.get("error") is not None:
            raise_error(reply["error"])
        if "result" in reply:
            return reply["result"]
    raise RequestError.internal_error("the server sent a reply that cannot be read")
