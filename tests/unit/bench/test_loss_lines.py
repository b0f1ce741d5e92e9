"""The line between a watcher's process and whoever listens."""

from __future__ import annotations

import io
from types import SimpleNamespace

import pytest

from bench.losses.lines import LineReader, write


def test_a_line_that_comes_in_parts_is_one_event() -> None:
    """A pipe gives bytes, not lines."""
    reader = LineReader()
    assert list(reader.feed(b"created\t/a")) == []
    assert list(reader.feed(b"b\ndeleted\t/c\nmod")) == [("created", "/ab"), ("deleted", "/c")]
    assert list(reader.feed(b"ified\t/d\n")) == [("modified", "/d")]


def test_what_is_no_event_is_left_out() -> None:
    """A watcher may print a greeting; a line without a path is none of an event's."""
    assert list(LineReader().feed(b"Setting up watches.\n\ncreated\t/a\n")) == [("created", "/a")]


def test_what_is_written_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spaces and bytes that are not UTF-8 belong to the path."""
    output = io.BytesIO()
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=output))
    events = [("created", "/a name"), ("deleted", "/\udcff")]
    write(events)
    assert list(LineReader().feed(output.getvalue())) == events
