"""The types and operations of the published contract, copied from it as data, against ours."""

from __future__ import annotations

import inspect

import pytest

from schemas.errors import OmeroFSError
from schemas.events import EventInfo, EventType, MonitorClient
from schemas.files import FileStats, FileType
from schemas.methods import METHODS, methods_of
from schemas.model import WireEnum
from schemas.monitors import MonitorState, MonitorType, PathMode, WatchEventType

MONITOR_SERVER = {
    "createMonitor": (
        "mType eTypes pMode pathString whitelist blacklist timeout blockSize ignoreSysFiles ignoreDirEvents"
        " platformCheck proxy"
    ),
    "startMonitor": "id",
    "stopMonitor": "id",
    "destroyMonitor": "id",
    "getMonitorState": "id",
}
FILE_SERVER = {
    "getDirectory": "absPath filter",
    "getBulkDirectory": "absPath filter",
    "fileExists": "fileId",
    "isDir": "fileId",
    "isFile": "fileId",
    "getBaseName": "fileId",
    "getSize": "fileId",
    "getOwner": "fileId",
    "getATime": "fileId",
    "getCTime": "fileId",
    "getMTime": "fileId",
    "getStats": "fileId",
    "getSHA1": "fileId",
    "readBlock": "fileId offset size",
}
OURS = {"listMonitors": "", "describeMonitor": "id", "rpc.discover": ""}
ADDED = {
    "createMonitor": {"queue"},
    "getDirectory": {"limit", "after"},
    "getBulkDirectory": {"limit", "after"},
    "getSHA1": {"version"},
    "readBlock": {"version"},
}
REPLACED = {"proxy"}
ENUMERATORS: list[tuple[type[WireEnum], list[str]]] = [
    (EventType, ["Create", "Modify", "Delete", "System"]),
    (WatchEventType, ["Creation", "Modification", "Deletion", "All"]),
    (MonitorType, ["Persistent", "OneShot", "Inactivity"]),
    (PathMode, ["Flat", "Recurse", "Follow"]),
    (MonitorState, ["Stopped", "Started"]),
    (FileType, ["File", "Dir", "Link", "Mount", "Unknown"]),
]


def wire_names(method: str) -> set[str]:
    return {str(field.alias) for field in METHODS[method].params.model_fields.values()}


def test_the_methods_are_the_operations_of_the_contract_and_three_of_ours() -> None:
    """Nothing of the contract is missing, nothing is there without being listed here."""
    assert set(METHODS) == {*MONITOR_SERVER, *FILE_SERVER, *OURS}
    assert set(methods_of("control")) == {*MONITOR_SERVER, *OURS}
    assert set(methods_of("files")) == {*FILE_SERVER, "rpc.discover"}


@pytest.mark.parametrize("method", [*MONITOR_SERVER, *FILE_SERVER, *OURS])
def test_the_parameters_are_those_of_the_contract_by_name(method: str) -> None:
    """`proxy` is gone, our additions are listed here."""
    contract = {**MONITOR_SERVER, **FILE_SERVER, **OURS}[method].split()

    assert wire_names(method) == set(contract) - REPLACED | ADDED.get(method, set())


@pytest.mark.parametrize("method", [*MONITOR_SERVER, *FILE_SERVER])
def test_our_additions_to_an_operation_are_optional(method: str) -> None:
    """A client that knows the contract alone can call everything."""
    fields = METHODS[method].params.model_fields.values()

    assert not any(field.is_required() for field in fields if field.alias in ADDED.get(method, ()))


@pytest.mark.parametrize(("enumeration", "names"), ENUMERATORS)
def test_enumerators_have_the_names_and_numbers_of_the_contract(
    enumeration: type[WireEnum], names: list[str]
) -> None:
    """Both are accepted, the name is what travels."""
    assert [str(member) for member in enumeration] == names
    for number, name in enumerate(names):
        assert enumeration.from_wire(name).number == number
        assert enumeration.from_wire(number) == name


def test_event_info_and_file_stats_have_the_members_of_the_contract() -> None:
    """fileId and type of an event; all seven stats of a file."""
    stats = {str(field.alias) for field in FileStats.model_fields.values()}

    assert stats == {"baseName", "owner", "size", "mTime", "cTime", "aTime", "type"}
    assert list(inspect.signature(EventInfo).parameters)[:3] == ["file_id", "base_name", "type"]


def test_the_error_of_the_contract_has_reason_message_and_server_exception_class() -> None:
    """OmeroFSError carries what the contract's exception carried."""
    error = OmeroFSError("'/data' is gone")

    assert (error.reason, error.message, error.server_exception_class) == (
        "'/data' is gone",
        "The operation failed.",
        "OmeroFSError",
    )


def test_a_monitor_client_takes_the_id_and_the_event_list() -> None:
    """The contract's callback, for whoever consumes the messages."""
    assert list(inspect.signature(MonitorClient.fs_event_happened).parameters) == ["self", "id", "el"]
