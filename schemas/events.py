"""What monitors report: EventInfo, EventList (one block) and its JSON, exactly as published.

Encoding and decoding are on the way of every event: the types are slotted dataclasses and not pydantic
models (0.2 us to build one instead of 1.1), and `type` is a Literal that is written as a plain string (0.2 us
to encode an event instead of 1.0 with an enumeration).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from pydantic import ConfigDict, Field, GetPydanticSchema, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticSerializationError, core_schema

from schemas.errors import DecodeError
from schemas.model import WireEnum

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler


class EventType(WireEnum):
    """What happened to a file or directory; System is said about the monitor itself."""

    CREATE = "Create"
    MODIFY = "Modify"
    DELETE = "Delete"
    SYSTEM = "System"


class SystemCode(WireEnum):
    """What a System event is about (`detail.code`)."""

    TIMED_OUT = "timed-out"
    INACTIVE = "inactive"
    OVERFLOW = "overflow"
    ROOT_LOST = "root-lost"
    ROOT_RESTORED = "root-restored"
    WATCH_LIMIT = "watch-limit"
    COVERAGE = "coverage"
    GAP = "gap"


def _written_as_str(source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
    schema = handler(source)
    schema["serialization"] = core_schema.simple_ser_schema("str")  # type: ignore[index]  # every schema kind has it
    return schema


_CONFIG = ConfigDict(alias_generator=to_camel, extra="ignore")


@dataclass(slots=True)
class EventInfo:
    """One event.

    Attributes:
        file_id: absolute path, in the kernel's spelling; the text of a System event.
        base_name: its last component; empty for a System event.
        type: an EventType, by name.
        is_dir: True for a directory, else absent.
        origin: "scan" when found by comparison rather than reported by the kernel.
        detail: of a System event, `code` and more.
    """

    __pydantic_config__ = _CONFIG

    file_id: str
    base_name: str
    type: Annotated[Literal["Create", "Modify", "Delete", "System"], GetPydanticSchema(_written_as_str)]
    is_dir: bool | None = None
    origin: Literal["scan"] | None = None
    detail: dict[str, object] | None = None


@dataclass(slots=True)
class EventList:
    """One block: events of one monitor in the order in which the kernel reported them; numbered from 1."""

    __pydantic_config__ = _CONFIG

    monitor_id: str
    sequence: Annotated[int, Field(ge=1)]
    events: list[EventInfo]


EVENT_LIST: TypeAdapter[EventList] = TypeAdapter(EventList)
_OPTIONAL = (("isDir", "is_dir"), ("origin", "origin"), ("detail", "detail"))


def encode_event_list(el: EventList) -> bytes:
    """The message body of a block: UTF-8, or ASCII when a name in it is not UTF-8. Pure; any thread."""
    try:
        return EVENT_LIST.dump_json(el, by_alias=True, exclude_none=True)
    except PydanticSerializationError:
        # Lone surrogates: pydantic has no JSON for them, the standard library writes their escapes.
        events = [_to_wire(event) for event in el.events]
        wire = {"monitorId": el.monitor_id, "sequence": el.sequence, "events": events}
        return json.dumps(wire, separators=(",", ":"), allow_nan=False).encode("ascii")


def _to_wire(event: EventInfo) -> dict[str, object]:
    wire: dict[str, object] = {"fileId": event.file_id, "baseName": event.base_name, "type": event.type}
    for name, attribute in _OPTIONAL:
        value = getattr(event, attribute)
        if value is not None:
            wire[name] = value
    return wire


def decode_event_list(body: bytes) -> EventList:
    """The block that a message body holds; members that are not known are ignored. Pure; any thread.

    Raises:
        DecodeError: the body is not an EventList.
    """
    try:
        return EVENT_LIST.validate_json(body)
    except ValidationError as exc:
        if exc.errors(include_url=False, include_input=False)[0]["type"] != "json_invalid":
            raise DecodeError(f"not an EventList: {_first_problem(exc)}") from exc
    try:
        return EVENT_LIST.validate_python(json.loads(body.decode("utf-8-sig")))
    except ValidationError as exc:
        raise DecodeError(f"not an EventList: {_first_problem(exc)}") from exc
    except (ValueError, RecursionError) as exc:
        raise DecodeError("not an EventList: not JSON") from exc


def _first_problem(exc: ValidationError) -> str:
    first = exc.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def system_event(code: SystemCode, text: str, **detail: object) -> EventInfo:
    """What a monitor says about itself, in a block of its own: `text` for people, `detail` for programs."""
    return EventInfo(text, "", "System", detail={"code": code.value, **detail})


class MonitorClient(Protocol):
    """The contract's interface of a subscriber; here called by whoever consumes the messages."""

    def fs_event_happened(self, id: str, el: EventList) -> None:
        """Takes one block of the monitor `id`."""
