"""What `tail` and the demo do: show blocks as they arrive until the reader of stdout or the user has enough."""

from __future__ import annotations

import io
import os
import select
import sys
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from control import rendering
from control.cli_options import notices, results

if TYPE_CHECKING:
    from collections.abc import Callable

    from control.client import EventSubscriber
    from schemas.events import EventList

_LOOK_SECONDS = 0.5


def follow(
    subscriber: EventSubscriber,
    *,
    as_json: bool,
    with_monitor: bool,
    is_over: Callable[[], bool] = lambda: False,
) -> None:
    """Shows every block, until `is_over` (asked twice a second) says so.

    Raises:
        BrokenPipeError: stdout's reader is gone; the last block shown is not acknowledged, as it may not have
            been read.
    """
    show = _show_json if as_json else _Lines(with_monitor)
    while not is_over():
        block = subscriber.receive(_LOOK_SECONDS)
        if block is not None:
            show(block)
        if _reader_is_gone():
            raise BrokenPipeError


def silence_stdout() -> None:
    """After a BrokenPipeError: lets the interpreter flush at its end without a complaint."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def say_connected(connected: bool) -> None:
    """Tells on stderr of a lost and a renewed connection."""
    text = "connected again" if connected else "connection to the broker lost, connecting again ..."
    notices().print(Text(text, style="dim"))


def _show_json(block: EventList) -> None:
    sys.stdout.write(rendering.event_list_json(block) + "\n")
    sys.stdout.flush()


class _Lines:
    """Shows blocks as coloured lines, and says where the sequence skips."""

    def __init__(self, with_monitor: bool) -> None:
        self._with_monitor = with_monitor
        self._console = results()
        self._last_sequence: dict[str, int] = {}

    def __call__(self, block: EventList) -> None:
        now = datetime.now().astimezone()
        lines = list(rendering.event_lines(block, at=now, with_monitor=self._with_monitor))
        expected = self._last_sequence.get(block.monitor_id, block.sequence - 1) + 1
        if block.sequence > expected:
            lines.insert(0, rendering.missing_line(block.monitor_id, expected, block.sequence - 1))
        self._last_sequence[block.monitor_id] = max(block.sequence, expected - 1)
        self._console.print(Text("\n").join(lines), soft_wrap=True)


def _reader_is_gone() -> bool:
    """Whether stdout is a pipe that nobody reads any more: poll(2) says so without anything being written."""
    try:
        descriptor = sys.stdout.fileno()
    except (io.UnsupportedOperation, ValueError, AttributeError):
        return False
    poll = select.poll()
    poll.register(descriptor, 0)
    return any(events & (select.POLLERR | select.POLLNVAL) for _, events in poll.poll(0))
