"""JSON Schema of everything on the wire, generated from the models; what the other documents are made of."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from schemas.errors import OMERO_FS_ERROR_CODE, ErrorCode, RequestError
from schemas.events import EVENT_LIST
from schemas.methods import METHODS, Method

Document = dict[str, Any]

JSON_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

RPC_ERRORS = {
    error.name: error
    for error in (
        RequestError.parse_error("The body is not JSON."),
        RequestError.invalid_request("The JSON is not a request."),
        RequestError.method_not_found("The queue has no such method."),
        RequestError.invalid_params("The parameters are not those of the method; data.errors lists each."),
        RequestError.internal_error("The server failed; its log says why."),
    )
}


def json_schemas() -> Document:
    """One JSON Schema whose `$defs` has EventList, Error, and a request and a reply for each method."""
    schemas = Schemas("#/$defs/")
    schemas.event_list()
    definitions = schemas.definitions
    for method in METHODS.values():
        definitions[f"{method.name}.request"] = request_payload(method, schemas)
        definitions[f"{method.name}.reply"] = reply_payload(method, schemas)
    return {"$schema": JSON_SCHEMA_DIALECT, "title": "fsherald", "$defs": definitions}


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes from the names of fields: they say nothing more."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - pydantic's signature
        """Never."""
        return False


class Schemas:
    """The schemas of the models; those that have a name are collected in `definitions` and referred to."""

    def __init__(self, prefix: str) -> None:
        """Starts empty; `prefix` is where `definitions` will stand in the document."""
        self.definitions: Document = {}
        self._template = prefix + "{model}"

    def params(self, method: Method) -> Document:
        """The object that a request's `params` is."""
        return self._schema(TypeAdapter(method.params), "validation")

    def result(self, method: Method) -> Document:
        """What a reply's `result` is."""
        return self._schema(method.result_adapter, "serialization")

    def event_list(self) -> Document:
        """The body of a block."""
        return self._named("EventList", self._schema(EVENT_LIST, "validation"))

    def error(self) -> Document:
        """What a reply's `error` is."""
        return self._named("Error", _error_schema())

    def _schema(self, adapter: TypeAdapter[Any], mode: JsonSchemaMode) -> Document:
        schema = adapter.json_schema(mode=mode, ref_template=self._template, schema_generator=_WithoutTitles)
        definitions = schema.pop("$defs", {})
        for each in (schema, *definitions.values()):
            _summarize(each)
        self.definitions.update(definitions)
        return schema

    def _named(self, name: str, schema: Document) -> Document:
        self.definitions[name] = schema
        return {"$ref": self._template.format(model=name)}


def _summarize(schema: Document) -> None:
    """Keeps the first paragraph of a docstring: the rest speaks of attributes by their Python names."""
    if "description" in schema:
        schema["description"] = schema["description"].partition("\n\n")[0]


def request_payload(method: Method, schemas: Schemas) -> Document:
    """The schema of a request's body."""
    params = schemas.params(method)
    required = ["method", "params"] if params.get("required") else ["method"]
    envelope = _envelope({"method": {"const": method.name}, "params": params}, required)
    return {**envelope, "additionalProperties": False}


def reply_payload(method: Method, schemas: Schemas) -> Document:
    """The schema of a reply's body."""
    succeeded = _envelope({"result": schemas.result(method)}, ["id", "result"])
    failed = _envelope({"error": schemas.error()}, ["id", "error"])
    return {"oneOf": [succeeded, failed]}


def _envelope(members: Document, required: list[str]) -> Document:
    return {
        "type": "object",
        "properties": {
            "jsonrpc": {"const": "2.0"},
            "id": {"type": ["string", "number", "null"]},
            **members,
        },
        "required": ["jsonrpc", *required],
    }


def _error_schema() -> Document:
    problem = {
        "type": "object",
        "properties": {"field": {"type": "string"}, "problem": {"type": "string"}},
        "required": ["field", "problem"],
    }
    failed = {
        "type": {"const": "OmeroFSError"},
        "code": {"enum": list(map(str, ErrorCode))},
        "reason": {"type": "string"},
    }
    wrong = {"code": {"enum": list(RPC_ERRORS)}, "errors": {"type": "array", "items": problem}}
    codes = [error.rpc_code for error in RPC_ERRORS.values()]
    return {
        "title": "Error",
        "oneOf": [
            _error_kind({"const": OMERO_FS_ERROR_CODE}, failed, ["type", "code", "reason"]),
            _error_kind({"enum": codes}, wrong, ["code"]),
        ],
    }


def _error_kind(code: Document, data: Document, required: list[str]) -> Document:
    return {
        "type": "object",
        "properties": {
            "code": code,
            "message": {"type": "string"},
            "data": {"type": "object", "properties": data, "required": required},
        },
        "required": ["code", "message", "data"],
    }
