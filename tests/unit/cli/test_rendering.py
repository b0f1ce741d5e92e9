"""What is shown of names, events and monitors."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from control import rendering
from schemas.events import EventInfo, EventList
from schemas.monitors import Coverage, MonitorCounters, MonitorInfo, MonitorSpec

AT = datetime(2026, 11, 23, 12, 3, 4, 123_456, tzinfo=UTC)
ID = "0d7c0000-0000-11f0-8000-000000000000"


def shown(renderable: object) -> str:
    console = Console(file=io.StringIO(), width=200, force_terminal=False, markup=False)
    console.print(renderable, soft_wrap=True)
    return console.file.getvalue()


def monitor(path: str = "/data", **changes: object) -> MonitorInfo:
    spec = MonitorSpec.model_validate(
        {"mType": "Persistent", "eTypes": ["All"], "pMode": "Follow", "pathString": path, **changes}
    )
    return MonitorInfo(
        id=ID,
        spec=spec,
        state="Started",
        exchange=f"fsherald.monitor.{ID}",
        counters=MonitorCounters(events=12, blocks=3, filtered=4, gaps=0),
        coverage=Coverage(directories=7, watched=6, polled=True),
        outbox=1,
    )


@pytest.mark.parametrize(
    ("name", "visible"),
    [
        ("a b.tif", "a b.tif"),
        ("Größe-日本.tif", "Größe-日本.tif"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m", "\\u009b31m"),
        ("\udcff\udc80", "\\xff\\x80"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("\\n", "\\\\n"),
        ("\U000e0001", "\\U000e0001"),
        ("[bold]markup[/bold] :smile:", "[bold]markup[/bold] :smile:"),
    ],
)
def test_what_is_not_plainly_visible_is_escaped(name: str, visible: str):
    """A file name moves no cursor, changes no colour, breaks no line."""
    assert rendering.printable(name) == visible


@given(st.text(st.characters(codec=None) | st.sampled_from([chr(c) for c in range(0xDC80, 0xDD00)])))
def test_no_name_reaches_the_terminal_unescaped(name: str):
    """Whatever the name: printable characters, one line, and encodable."""
    visible = rendering.printable(name)
    assert visible.isprintable()
    visible.encode()


@given(st.text(st.characters(codec=None)), st.text(st.characters(codec=None)))
def test_two_names_never_look_the_same(one: str, other: str):
    """The escapes are unambiguous."""
    assert (one == other) == (rendering.printable(one) == rendering.printable(other))


def test_an_event_is_a_line_with_time_type_and_path():
    """Time of arrival to the millisecond; a directory ends in a slash; the monitor only where there are several."""
    events = [
        EventInfo("/data/a", "a", "Create", is_dir=True),
        EventInfo("/data/b", "b", "Delete", origin="scan"),
    ]
    lines = [str(line) for line in rendering.event_lines(EventList(ID, 1, events), at=AT, with_monitor=False)]
    assert lines == ["12:03:04.123  Create  /data/a/", "12:03:04.123  Delete  /data/b  (found by scan)"]
    (line, _) = rendering.event_lines(EventList(ID, 1, events), at=AT, with_monitor=True)
    assert str(line) == "12:03:04.123  0d7c0000  Create  /data/a/"


def test_a_hostile_event_stays_on_its_line():
    """Names, ids and the text of a System event are all shown escaped."""
    block = EventList("\x1b[2J", 1, [EventInfo("/data/x\n\x1b[31m[red]", "x", "System", origin=None)])
    (line,) = rendering.event_lines(block, at=AT, with_monitor=True)
    assert str(line) == "12:03:04.123  \\x1b[2J  System  /data/x\\n\\x1b[31m[red]"


def test_json_is_one_line_of_ascii_and_the_wire_format():
    """A pipe gets what a consumer would."""
    block = EventList(ID, 7, [EventInfo("/data/\udcffä\n\x7f", "\udcffä\n\x7f", "Create")])
    text = rendering.event_list_json(block)
    assert text.isascii()
    assert text.isprintable()
    assert json.loads(text) == {
        "monitorId": ID,
        "sequence": 7,
        "events": [{"fileId": "/data/\udcffä\n\x7f", "baseName": "\udcffä\n\x7f", "type": "Create"}],
    }


def test_missing_blocks_are_named():
    """One is singular, several are a range."""
    assert str(rendering.missing_line(ID, 3, 3)) == "block 3 of monitor 0d7c0000 did not arrive here"
    assert str(rendering.missing_line(ID, 3, 5)) == "blocks 3 to 5 of monitor 0d7c0000 did not arrive here"


def test_the_table_of_monitors_has_a_row_for_each():
    """Ids and paths are never cut."""
    long_path = "/data/" + "x" * 300
    monitors = [monitor(long_path), monitor("/data/\x1b[31m")]
    text = shown(rendering.monitor_table(monitors, whole_ids=True))
    assert text.count(ID) == 2
    assert "/data/\\x1b[31m" in text
    assert "x" * 300 in "".join(text.split())
    assert ID not in shown(rendering.monitor_table(monitors, whole_ids=False))


def test_the_details_of_a_monitor_name_every_parameter():
    """What was asked for, what it does, and what went wrong."""
    info = monitor(
        mType="Inactivity", timeout=2.5, whitelist=[".tif"], blacklist=["tmp", "*.bak"], blockSize=100
    )
    text = shown(rendering.monitor_details(info))
    for part in (
        "Inactivity, timeout 2.5 s",
        ".tif",
        "tmp  *.bak",
        "100",
        "system files",
        "12 events in 3 blocks, 1 blocks unsent",
        "6 of 7 directories watched, by polling",
        f"fsherald.monitor.{ID}",
    ):
        assert part in text


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "1970-01-01 00:00:00Z"), (1e300, "1e+300")])
def test_any_time_can_be_shown(seconds: float, text: str):
    """A file's time may be one that no calendar reaches."""
    assert rendering.utc(seconds) == text


def test_an_error_is_one_line():
    """Line breaks become spaces, escapes are shown."""
    assert rendering.sentence("one\ntwo \x1b[31m 'a\\n'") == "one two \\x1b[31m 'a\\n'"
