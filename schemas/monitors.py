"""What a monitor is asked to do (MonitorSpec) and what it tells about itself (MonitorInfo)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, FailFast, Field, ValidationInfo, field_validator

from schemas.events import EventType
from schemas.model import (
    Natural32,
    PathText,
    PathTexts,
    WireBool,
    WireEnum,
    WireFloat,
    WireInt,
    WireModel,
    WireText,
)


class WatchEventType(WireEnum):
    """What to watch for; All stands for every other member."""

    CREATION = "Creation"
    MODIFICATION = "Modification"
    DELETION = "Deletion"
    ALL = "All"


class MonitorType(WireEnum):
    """When a monitor stops by itself: never, after its first block, or after a time without events."""

    PERSISTENT = "Persistent"
    ONE_SHOT = "OneShot"
    INACTIVITY = "Inactivity"


class PathMode(WireEnum):
    """How far a monitor looks: the directory, what is below at the start, what is below at any time."""

    FLAT = "Flat"
    RECURSE = "Recurse"
    FOLLOW = "Follow"


class MonitorState(WireEnum):
    """Whether a monitor is watching."""

    STOPPED = "Stopped"
    STARTED = "Started"


_WATCHED = {
    WatchEventType.CREATION: frozenset({EventType.CREATE}),
    WatchEventType.MODIFICATION: frozenset({EventType.MODIFY}),
    WatchEventType.DELETION: frozenset({EventType.DELETE}),
    WatchEventType.ALL: frozenset({EventType.CREATE, EventType.MODIFY, EventType.DELETE}),
}


def _not_empty(value: tuple[WatchEventType, ...]) -> tuple[WatchEventType, ...]:
    # pydantic's own min_length counts valid members only, and so calls [a wrong one] empty.
    if not value:
        raise ValueError("must not be empty")
    return value


class MonitorSpec(WireModel):
    """What createMonitor was asked for.

    Attributes:
        m_type: when the monitor stops by itself.
        e_types: what to report; not empty.
        p_mode: how far it looks below the directory.
        path_string: absolute path of the directory.
        whitelist: names, extensions, absolute paths or shell patterns of files to report; empty means all.
        blacklist: the same for files and directories to leave out; wins over the whitelist.
        timeout: seconds; for OneShot 0 waits for ever, for Inactivity it is above 0.
        block_size: events in one EventList at most; 0 sets no limit.
        ignore_sys_files: leave out dot files and desktop leftovers.
        ignore_dir_events: report files only.
        platform_check: refuse where the kernel itself does not report changes.
    """

    m_type: MonitorType
    e_types: Annotated[
        tuple[WatchEventType, ...],
        FailFast(),
        AfterValidator(_not_empty),
        Field(json_schema_extra={"minItems": 1}),
    ]
    p_mode: PathMode
    path_string: PathText
    whitelist: PathTexts = ()
    blacklist: PathTexts = ()
    timeout: Annotated[WireFloat, Field(ge=0, allow_inf_nan=False, validate_default=True)] = 0.0
    block_size: Natural32 = 0
    ignore_sys_files: WireBool = True
    ignore_dir_events: WireBool = False
    platform_check: WireBool = False

    @field_validator("timeout")
    @classmethod
    def _inactivity_needs_a_timeout(cls, value: float, info: ValidationInfo) -> float:
        if value == 0 and info.data.get("m_type") is MonitorType.INACTIVITY:
            raise ValueError("must be greater than 0 for an Inactivity monitor")
        return value

    @property
    def watched(self) -> frozenset[EventType]:
        """The event types that `e_types` asks for, All expanded."""
        return frozenset[EventType]().union(*(_WATCHED[each] for each in self.e_types))


class MonitorCounters(WireModel):
    """Counts since the service started: events and blocks recorded, events filtered out, gaps told of."""

    events: WireInt = 0
    blocks: WireInt = 0
    filtered: WireInt = 0
    gaps: WireInt = 0


class Coverage(WireModel):
    """Directories that were found and that are watched; `polled` when comparison stands in for the kernel."""

    directories: WireInt = 0
    watched: WireInt = 0
    polled: WireBool = False


class MonitorInfo(WireModel):
    """Everything about one monitor, the result of describeMonitor.

    Attributes:
        id: the monitor's id.
        spec: what createMonitor was asked for.
        state: whether it is watching.
        exchange: the topic exchange that its blocks are published to.
        counters: what it did since the service started.
        coverage: which directories are watched.
        last_error: the last thing that went wrong, in one sentence.
        outbox: blocks that are accepted and not yet confirmed by the broker.
    """

    id: WireText
    spec: MonitorSpec
    state: MonitorState
    exchange: WireText
    counters: MonitorCounters
    coverage: Coverage
    last_error: WireText | None = None
    outbox: WireInt = 0
