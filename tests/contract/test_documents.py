"""The generated documents cover everything on the wire and hold together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from schemas.documents import Document, asyncapi, json_schemas, openrpc
from schemas.errors import ErrorCode
from schemas.methods import METHODS, methods_of
from schemas.topology import Topology
from schemas.version import __version__

MODELS = {
    "EventInfo",
    "EventList",
    "Error",
    "FileStats",
    "MonitorInfo",
    "MonitorSpec",
    "MonitorCounters",
    "Coverage",
}
DOCUMENTS = [openrpc("control"), openrpc("files"), asyncapi(Topology("lab")), json_schemas()]


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    elif isinstance(value, list):
        for each in value:
            yield from references(each)


def resolve(document: Document, reference: str) -> Any:
    value: Any = document
    for part in reference.removeprefix("#/").split("/"):
        value = value[part]
    return value


@pytest.mark.parametrize("document", DOCUMENTS, ids=["control", "files", "asyncapi", "json-schema"])
def test_every_reference_in_a_document_leads_somewhere_in_it(document: Document) -> None:
    """A document stands alone, and is JSON."""
    assert json.loads(json.dumps(document)) == document
    for reference in references(document):
        assert resolve(document, reference)


@pytest.mark.parametrize("queue", ["control", "files"])
def test_the_openrpc_document_has_every_method_of_its_queue_with_every_parameter(
    queue: Literal["control", "files"],
) -> None:
    """Names, which of them are required, and a schema for the result."""
    document = openrpc(queue, "1.2.3")
    described = {method["name"]: method for method in document["methods"]}

    assert document["info"]["version"] == "1.2.3"
    assert set(described) == set(methods_of(queue))
    for name, method in described.items():
        fields = METHODS[name].params.model_fields.values()
        params = {each["name"]: each["required"] for each in method["params"]}
        assert params == {str(field.alias): field.is_required() for field in fields}
        assert method["paramStructure"] == "by-name"
        assert "schema" in method["result"]


def test_the_openrpc_document_says_that_enumerators_are_names_or_numbers_in_requests_only() -> None:
    """What is read is wider than what is written."""
    methods = {method["name"]: method for method in openrpc("control")["methods"]}
    p_mode = next(each for each in methods["createMonitor"]["params"] if each["name"] == "pMode")

    assert p_mode["schema"]["enum"] == ["Flat", "Recurse", "Follow", 0, 1, 2]
    assert methods["getMonitorState"]["result"]["schema"]["enum"] == ["Stopped", "Started"]


def test_the_asyncapi_document_has_every_queue_exchange_and_message() -> None:
    """A request and a reply for each method; the events of one monitor and of all."""
    document = asyncapi(Topology("lab"))

    assert document["info"]["version"] == __version__
    assert {channel["address"] for channel in document["channels"].values()} == {
        "lab.control",
        "lab.files",
        "lab.events",
        "lab.monitor.{monitorId}",
        None,
    }
    kinds = {f"{name}.{kind}" for name in METHODS for kind in ("request", "reply")}
    assert set(document["components"]["messages"]) == {"EventList", *kinds}
    received = {
        each["messages"][0]["$ref"].rpartition("/")[2]
        for each in document["operations"].values()
        if each["action"] == "receive"
    }
    assert received == {f"{name}.request" for name in METHODS}


def test_the_json_schema_has_every_message_and_every_model() -> None:
    """Whoever generates code from it gets all of the types."""
    definitions = json_schemas()["$defs"]

    assert set(definitions) >= MODELS
    assert set(definitions) >= {f"{name}.{kind}" for name in METHODS for kind in ("request", "reply")}


def test_the_json_schema_names_every_failure_of_the_contract() -> None:
    """The codes of OmeroFSError are an enumeration."""
    failed, _ = json_schemas()["$defs"]["Error"]["oneOf"]

    assert failed["properties"]["data"]["properties"]["code"]["enum"] == [str(code) for code in ErrorCode]


def test_only_event_members_that_always_stand_are_required() -> None:
    """isDir, origin and detail are absent when they say nothing."""
    assert json_schemas()["$defs"]["EventInfo"]["required"] == ["fileId", "baseName", "type"]


def test_a_document_is_the_callers_to_change() -> None:
    """Each call builds a new one."""
    openrpc("files")["methods"].clear()

    assert openrpc("files")["methods"]
