"""The machine-readable description of the wire, generated from the models: OpenRPC, AsyncAPI and JSON Schema.

Every call builds a new document, which the caller may change; nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterable

from schemas import topology as wire
from schemas.errors import OMERO_FS_ERROR_CODE, ErrorCode
from schemas.json_schema import RPC_ERRORS, Document, Schemas, json_schemas, reply_payload, request_payload
from schemas.methods import METHODS, Method, Queue, methods_of
from schemas.version import __version__

__all__ = ["Document", "asyncapi", "json_schemas", "openrpc"]

OPENRPC_VERSION = "1.3.2"
ASYNCAPI_VERSION = "3.0.0"

_AMQP_BINDING_VERSION = "0.3.0"
_TITLES: dict[Queue, str] = {"control": "fsherald MonitorServer", "files": "fsherald FileServer"}


def openrpc(queue: Queue, version: str = __version__) -> Document:
    """The OpenRPC document of one request queue, the result of rpc.discover there."""
    schemas = Schemas("#/components/schemas/")
    return {
        "openrpc": OPENRPC_VERSION,
        "info": {"title": _TITLES[queue], "version": version},
        "methods": [_openrpc_method(method, schemas) for method in methods_of(queue).values()],
        "components": {"schemas": schemas.definitions, "errors": _openrpc_errors()},
    }


def _openrpc_method(method: Method, schemas: Schemas) -> Document:
    params = schemas.params(method)
    required = params.get("required", ())
    return {
        "name": method.name,
        "summary": method.summary,
        "paramStructure": "by-name",
        "params": [
            {"name": name, "required": name in required, "schema": schema}
            for name, schema in params.get("properties", {}).items()
        ],
        "result": {"name": f"{method.name}Result", "schema": schemas.result(method)},
        "errors": [
            {"$ref": f"#/components/errors/{name}"}
            for name in ("invalid-params", "internal-error", "OmeroFSError")
        ],
    }


def _openrpc_errors() -> Document:
    errors: Document = {
        name: {"code": error.rpc_code, "message": error.message, "data": {"code": name}}
        for name, error in RPC_ERRORS.items()
    }
    errors["OmeroFSError"] = {
        "code": OMERO_FS_ERROR_CODE,
        "message": "The operation failed; data.code says how and data.reason names the thing.",
        "data": {"type": "OmeroFSError", "code": " | ".join(ErrorCode), "reason": "one sentence"},
    }
    return errors


def asyncapi(topology: wire.Topology, version: str = __version__) -> Document:
    """The AsyncAPI document of one server: its queues, its exchanges, and what travels through them."""
    schemas = Schemas("#/components/schemas/")
    messages: Document = {"EventList": _event_list_message(schemas)}
    for name, method in METHODS.items():
        messages[f"{name}.request"] = _rpc_message(f"{name}.request", request_payload(method, schemas))
        messages[f"{name}.reply"] = _rpc_message(f"{name}.reply", reply_payload(method, schemas))
    return {
        "asyncapi": ASYNCAPI_VERSION,
        "info": {"title": "fsherald", "version": version},
        "defaultContentType": wire.CONTENT_TYPE_JSON,
        "channels": {
            "control": _request_channel(topology.control, "control"),
            "files": _request_channel(topology.files, "files"),
            "replies": {"address": None, "messages": _message_refs(f"{name}.reply" for name in METHODS)},
            "monitorEvents": {
                **_event_channel(topology.monitor_exchange("{monitorId}")),
                "parameters": {"monitorId": {"description": "What createMonitor returned."}},
            },
            "events": _event_channel(topology.events),
        },
        "operations": {
            **{name: _request_operation(method) for name, method in METHODS.items() if method.queue},
            "rpc.discover.control": _request_operation(METHODS["rpc.discover"], "control"),
            "rpc.discover.files": _request_operation(METHODS["rpc.discover"], "files"),
            "fsEventHappened": _event_operation("monitorEvents"),
            "fsEventHappenedAnywhere": _event_operation("events"),
        },
        "components": {"messages": messages, "schemas": schemas.definitions},
    }


def _message_refs(names: Iterable[str]) -> Document:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


def _request_channel(address: str, queue: Queue) -> Document:
    queue_binding = {"name": address, "durable": True, "exclusive": False, "autoDelete": False}
    return {
        "address": address,
        "messages": _message_refs(f"{name}.request" for name in methods_of(queue)),
        "bindings": {
            "amqp": {"is": "queue", "queue": queue_binding, "bindingVersion": _AMQP_BINDING_VERSION}
        },
    }


def _event_channel(address: str) -> Document:
    exchange = {"name": address, "type": "topic", "durable": True, "autoDelete": False}
    return {
        "address": address,
        "messages": _message_refs(["EventList"]),
        "bindings": {
            "amqp": {"is": "routingKey", "exchange": exchange, "bindingVersion": _AMQP_BINDING_VERSION}
        },
    }


def _request_operation(method: Method, queue: Queue | None = None) -> Document:
    channel = queue or method.queue
    return {
        "action": "receive",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": method.summary,
        "messages": [{"$ref": f"#/channels/{channel}/messages/{method.name}.request"}],
        "reply": {
            "address": {"location": "$message.header#/replyTo"},
            "channel": {"$ref": "#/channels/replies"},
            "messages": [{"$ref": f"#/channels/replies/messages/{method.name}.reply"}],
        },
    }


def _event_operation(channel: str) -> Document:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": "Publishes one block; the routing key is <monitorId>.<types>.",
        "messages": [{"$ref": f"#/channels/{channel}/messages/EventList"}],
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": True, "bindingVersion": _AMQP_BINDING_VERSION}},
    }


def _event_list_message(schemas: Schemas) -> Document:
    return {
        "name": wire.EVENT_LIST_TYPE,
        "contentType": wire.CONTENT_TYPE_JSON,
        "headers": {
            "type": "object",
            "properties": {
                wire.HEADER_SCHEMA: {"const": wire.SCHEMA_VERSION},
                wire.HEADER_MONITOR_ID: {"type": "string"},
                wire.HEADER_SEQUENCE: {"type": "integer", "minimum": 1},
                wire.HEADER_EVENT_COUNT: {"type": "integer", "minimum": 1},
            },
        },
        "payload": schemas.event_list(),
    }


def _rpc_message(name: str, payload: Document) -> Document:
    return {
        "name": name,
        "contentType": wire.CONTENT_TYPE_JSON,
        "correlationId": {"location": "$message.header#/correlationId"},
        "payload": payload,
    }
