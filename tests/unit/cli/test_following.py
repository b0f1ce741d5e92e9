"""Blocks shown as they arrive."""

from __future__ import annotations

import json

import pytest

from control.following import follow
from schemas.events import EventInfo, EventList

ID = "0d7c0000-0000-11f0-8000-000000000000"


class FakeSubscriber:
    """Hands out what it was given, then None once."""

    def __init__(self, *blocks: EventList) -> None:
        self.left: list[EventList | None] = [*blocks, None]

    def receive(self, timeout_seconds: float) -> EventList | None:
        return self.left.pop(0)


def block(sequence: int, monitor_id: str = ID) -> EventList:
    return EventList(monitor_id, sequence, [EventInfo(f"/data/{sequence}", str(sequence), "Create")])


def shown(capsys: pytest.CaptureFixture[str], *blocks: EventList, as_json: bool = False) -> list[str]:
    subscriber = FakeSubscriber(*blocks)
    follow(subscriber, as_json=as_json, with_monitor=True, is_over=lambda: not subscriber.left)
    return capsys.readouterr().out.splitlines()


def test_each_event_is_a_line(capsys: pytest.CaptureFixture[str]):
    """In the order of the blocks."""
    lines = shown(capsys, block(1), block(2))
    assert [line.split()[1:] for line in lines] == [
        ["0d7c0000", "Create", "/data/1"],
        ["0d7c0000", "Create", "/data/2"],
    ]


def test_json_is_a_line_for_each_block(capsys: pytest.CaptureFixture[str]):
    """For pipes."""
    lines = shown(capsys, block(1), block(2), as_json=True)
    assert [json.loads(line)["sequence"] for line in lines] == [1, 2]


def test_a_skipped_number_is_said_before_the_block_that_shows_it(capsys: pytest.CaptureFixture[str]):
    """What did not arrive is not passed over; each monitor counts for itself, from where it was first seen."""
    lines = shown(capsys, block(7), block(3, "other"), block(10), block(4, "other"))
    assert len(lines) == 5
    assert lines[2] == "blocks 8 to 9 of monitor 0d7c0000 did not arrive here"
