r"""What the command line shows: events, monitors and files as text that no file name can turn into more.

A name is bytes that anyone may choose. Whatever could move the cursor, change colours, reverse the reading
direction or break a line is shown as an escape (`\n`, `\x1b`, `\u202e`); bytes that are not UTF-8 as `\xNN`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from schemas.events import encode_event_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from schemas.events import EventInfo, EventList
    from schemas.files import FileStats
    from schemas.monitors import MonitorInfo

EVENT_STYLES = {"Create": "green", "Modify": "yellow", "Delete": "red", "System": "bold magenta"}
STATE_STYLES = {"Started": "green", "Stopped": "dim"}
SHORT_ID_LENGTH = 8

_ESCAPES = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\"}
_FIRST_RAW_BYTE, _LAST_RAW_BYTE = 0xDC80, 0xDCFF


def printable(text: str) -> str:
    """`text` with all that is not plainly visible escaped; unambiguous, since a backslash is doubled."""
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_visible(character) for character in text)


def sentence(text: str) -> str:
    """`text` (an error's message) on one line, escaped as by `printable` but with its backslashes as they are."""
    return "".join(
        character if character == "\\" else _visible(character) for character in " ".join(text.splitlines())
    )


def _visible(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if _FIRST_RAW_BYTE <= code <= _LAST_RAW_BYTE:
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def short_id(monitor_id: str) -> str:
    """The beginning of a monitor id: enough to tell monitors apart, and accepted by every command."""
    return printable(monitor_id[:SHORT_ID_LENGTH])


def event_lines(block: EventList, *, at: datetime, with_monitor: bool) -> Iterator[Text]:
    """One coloured line per event of `block`: time of arrival, monitor if asked for, type, path."""
    for event in block.events:
        line = Text(no_wrap=True, overflow="ignore", end="")
        line.append(f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}", style="dim")
        if with_monitor:
            line.append(f"  {short_id(block.monitor_id)}", style="cyan")
        line.append(f"  {event.type:<6}", style=EVENT_STYLES.get(event.type, ""))
        line.append(f"  {_subject(event)}")
        if event.origin is not None:
            line.append(f"  (found by {printable(event.origin)})", style="dim")
        yield line


def _subject(event: EventInfo) -> str:
    return printable(event.file_id) + ("/" if event.is_dir and not event.file_id.endswith("/") else "")


def missing_line(monitor_id: str, first: int, last: int) -> Text:
    """What to say when the sequence of a monitor skips the blocks `first` to `last`."""
    blocks = f"block {first}" if first == last else f"blocks {first} to {last}"
    text = f"{blocks} of monitor {short_id(monitor_id)} did not arrive here"
    return Text(text, style="yellow", no_wrap=True, end="")


def event_list_json(block: EventList) -> str:
    """`block` as on the wire, on one line and in ASCII: safe for a pipe and for a terminal alike."""
    return as_json(json.loads(encode_event_list(block)))


def as_json(value: object) -> str:
    """`value` on one line of ASCII."""
    return json.dumps(value, ensure_ascii=True, separators=(", ", ": ")).replace("\x7f", "\\u007f")


def monitor_table(monitors: Iterable[MonitorInfo], *, whole_ids: bool) -> Table:
    """One row per monitor, with as much of its id as a person or a program needs."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in ("ID", "STATE", "TYPE", "MODE"):
        table.add_column(heading, no_wrap=True)
    for heading in ("EVENTS", "UNSENT"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("PATH", overflow="fold")
    for monitor in monitors:
        table.add_row(
            Text(printable(monitor.id) if whole_ids else short_id(monitor.id), style="cyan"),
            Text(monitor.state, style=STATE_STYLES.get(monitor.state, "")),
            Text(monitor.spec.m_type),
            Text(monitor.spec.p_mode),
            str(monitor.counters.events),
            str(monitor.outbox),
            Text(printable(monitor.spec.path_string)),
        )
    return table


def monitor_details(monitor: MonitorInfo) -> Table:
    """Everything about one monitor, a line for each thing."""
    spec, counters, coverage = monitor.spec, monitor.counters, monitor.coverage
    lines = {
        "id": printable(monitor.id),
        "state": str(monitor.state),
        "path": printable(spec.path_string),
        "type": str(spec.m_type) + (f", timeout {spec.timeout:g} s" if spec.timeout else ""),
        "mode": str(spec.p_mode),
        "events watched": ", ".join(spec.e_types),
        "block size": str(spec.block_size or "unlimited"),
        "whitelist": _names(spec.whitelist, "everything"),
        "blacklist": _names(spec.blacklist, "nothing"),
        "ignores": _ignored(spec.ignore_sys_files, spec.ignore_dir_events),
        "exchange": printable(monitor.exchange),
        "reported": f"{counters.events} events in {counters.blocks} blocks, {monitor.outbox} blocks unsent",
        "filtered out": f"{counters.filtered} events",
        "gaps": str(counters.gaps),
        "coverage": f"{coverage.watched} of {coverage.directories} directories watched"
        + (", by polling" if coverage.polled else ""),
        "last error": sentence(monitor.last_error or "none"),
    }
    table = Table.grid(padding=(0, 2))
    for name, value in lines.items():
        style = STATE_STYLES.get(monitor.state, "") if name == "state" else ""
        table.add_row(Text(name, style="bold"), Text(value, style=style, overflow="fold"))
    return table


def _names(names: tuple[str, ...], none: str) -> str:
    return "  ".join(map(printable, names)) if names else none


def _ignored(sys_files: bool, dir_events: bool) -> str:
    ignored = [text for flag, text in ((sys_files, "system files"), (dir_events, "directory events")) if flag]
    return ", ".join(ignored) or "nothing"


def stats_table(entries: Iterable[FileStats]) -> Table:
    """Directory entries as `ls -l` would show them; times in UTC."""
    table = Table.grid(padding=(0, 2))
    for justify in ("left", "left", "right", "left", "left"):
        table.add_column(justify=justify, no_wrap=True)
    for entry in entries:
        table.add_row(
            Text(entry.type),
            Text(printable(entry.owner)),
            str(entry.size),
            utc(entry.m_time),
            Text(printable(entry.base_name)),
        )
    return table


def utc(seconds: float) -> str:
    """Seconds since the epoch as a date and time in UTC; as a bare number where no calendar reaches."""
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"{seconds:g}"
