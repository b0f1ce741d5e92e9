"""Blocks become numbered, encoded entries in the outbox; what it cannot take is counted and said."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from publisher.errors import OutboxFullError, StoreError
from publisher.store import Entry
from schemas.events import EventList, SystemCode, encode_event_list, system_event
from schemas.topology import routing_key

if TYPE_CHECKING:
    from publisher.outbox import Outbox
    from schemas.events import EventInfo
    from schemas.monitors import MonitorState

log = structlog.get_logger(__name__)

ROOM_BYTES = 1 << 20
"""How much room there must be before a monitor that had to give up records again."""


class Recorder:
    """Numbers one monitor's blocks and records them. The reader thread's; the counters may be read from any.

    When the outbox is full, or the disk refuses, the monitor stops recording; as soon as there is room again
    it says so with one System `gap` that names the reason and the count.
    """

    def __init__(self, monitor_id: str, outbox: Outbox, sequence: int) -> None:
        """Continues after `sequence`."""
        self._monitor_id = monitor_id
        self._outbox = outbox
        self._sequence = sequence
        self._lost_events = 0
        self._reason = ""
        self.events = 0
        self.blocks = 0
        self.gaps = 0
        self.problem: str | None = None

    @property
    def gapped(self) -> bool:
        """Whether events were given up and the subscriber does not know it yet."""
        return self._lost_events > 0

    def store_state(self, state: MonitorState) -> None:
        """Stores the monitor's state alone."""
        self._outbox.set_state(self._monitor_id, state)

    def record(self, blocks: list[list[EventInfo]], *, state: MonitorState | None = None) -> None:
        """Records blocks, and the state if it changes, in one transaction. Never raises for want of room."""
        if self._lost_events and self._outbox.has_room(self._monitor_id, ROOM_BYTES):
            blocks = [[self._gap()], *blocks]
        if not blocks:
            if state is not None:
                self.store_state(state)
            return
        if self._lost_events and not self._says_gap(blocks):
            self._give_up(blocks, self._reason)
            return
        self._append(blocks, state)

    def _append(self, blocks: list[list[EventInfo]], state: MonitorState | None) -> None:
        created_at = int(time.time())
        entries = [
            self._entry(self._sequence + number, block, created_at) for number, block in enumerate(blocks, 1)
        ]
        try:
            self._outbox.record(entries, state=state)
        except (OutboxFullError, StoreError) as exc:
            self._give_up(blocks, str(exc))
            if state is not None:
                self.store_state(state)
            return
        self._sequence += len(entries)
        self.blocks += len(entries)
        self.events += sum(entry.event_count for entry in entries)
        if self._says_gap(blocks):
            self._lost_events = 0
            self.problem = None

    def _entry(self, sequence: int, block: list[EventInfo], created_at: int) -> Entry:
        return Entry(
            self._monitor_id,
            sequence,
            routing_key(self._monitor_id, [event.type for event in block]),
            encode_event_list(EventList(self._monitor_id, sequence, block)),
            len(block),
            created_at,
        )

    def _give_up(self, blocks: list[list[EventInfo]], reason: str) -> None:
        if not self._lost_events:
            self.gaps += 1
            log.error("monitor stopped recording", monitor=self._monitor_id, reason=reason)
        self._lost_events += sum(len(block) for block in blocks if not self._says_gap([block]))
        self._reason = reason
        self.problem = f"{self._lost_events} events were not recorded: {reason}"

    def _gap(self) -> EventInfo:
        return system_event(
            SystemCode.GAP, f"Gap: {self._reason}", reason=self._reason, count=self._lost_events
        )

    @staticmethod
    def _says_gap(blocks: list[list[EventInfo]]) -> bool:
        detail = blocks[0][0].detail
        return detail is not None and detail.get("code") == SystemCode.GAP.value
