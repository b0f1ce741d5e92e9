"""Blocks become numbered, encoded entries in the outbox; what it cannot take is counted and said."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import structlog

from publisher.errors import OutboxFullError, StoreError
from publisher.storing.outbox_table import Entry
from schemas.events import EventList, SystemCode, encode_event_list, system_event
from schemas.monitors import MonitorState
from schemas.topology import routing_key

if TYPE_CHECKING:
    from publisher.outbox import Outbox
    from publisher.storing.ledger_tables import LedgerChanges
    from schemas.events import EventInfo

log = structlog.get_logger(__name__)

EVENT_BYTES = 512
"""A generous measure of an event's size in the outbox."""


class Recorder:
    """Numbers one monitor's blocks and records them. The reader thread's; the counters may be read from any.

    When the outbox is full, or the disk refuses, `record` says so and the monitor pauses; `recover` tells the
    subscriber with one System `gap` that names the reason and the count, as soon as there is room again.
    """

    def __init__(self, monitor_id: str, outbox: Outbox, sequence: int) -> None:
        """Continues after `sequence`."""
        self._monitor_id = monitor_id
        self._outbox = outbox
        self._sequence = sequence
        self._given_up = 0
        self._reason: str | None = None
        self.events = 0
        self.blocks = 0
        self.gaps = 0

    @property
    def gapped(self) -> bool:
        """Whether recording had to stop and the subscriber does not know it yet."""
        return self._reason is not None

    @property
    def problem(self) -> str | None:
        """Why nothing is recorded, None if all is well."""
        return None if self._reason is None else f"nothing is recorded until there is room: {self._reason}"

    @property
    def spare_events(self) -> int:
        """About how many events that a comparison finds have room now; the others can wait on the disk."""
        return self._outbox.spare_bytes(self._monitor_id) // EVENT_BYTES

    def record(
        self,
        blocks: list[list[EventInfo]],
        changes: LedgerChanges | None = None,
        *,
        state: MonitorState | None = None,
    ) -> bool:
        """Records blocks with what they change in the ledger, and the state if it changes, in one transaction.

        Returns false when they could not be: nothing was recorded, and `give_up` is next.
        """
        try:
            if blocks:
                self._append(blocks, changes, state)
            else:
                self._store_alone(changes, state)
        except (OutboxFullError, StoreError) as exc:
            self._stop_recording(str(exc))
            return False
        return True

    def give_up(self, events: int) -> None:
        """Counts events that will not be recorded."""
        self._given_up += events

    def miss(self, reason: str) -> None:
        """Recording has to stop for a reason that came from outside."""
        self._stop_recording(reason)

    def tell_gap(self, reason: str) -> None:
        """Says that what was recorded before may be incomplete.

        Raises:
            StoreError: The disk refuses.
        """
        self._append([[self._gap(reason)]], None, None, beyond=True)
        self.gaps += 1

    def recover(self) -> bool:
        """Tells of the gap if there is room again; whether recording can go on."""
        if self._reason is None:
            return True
        if not self._outbox.spare_bytes(self._monitor_id):
            return False
        reason, self._reason = self._reason, None
        if not self.record([[self._gap(reason)]]):
            return False
        self._given_up = 0
        return True

    def end(self, blocks: list[list[EventInfo]]) -> None:
        """The monitor is Stopped: its last blocks, a gap that was not told yet, and its state.

        Raises:
            StoreError: The disk refuses.
        """
        if self._reason is None and self.record(blocks, state=MonitorState.STOPPED):
            return
        self.give_up(sum(map(len, blocks)))
        self._append([[self._gap(self._reason or "")]], None, MonitorState.STOPPED, beyond=True)
        self._reason, self._given_up = None, 0

    def _append(
        self,
        blocks: list[list[EventInfo]],
        changes: LedgerChanges | None,
        state: MonitorState | None,
        *,
        beyond: bool = False,
    ) -> None:
        created_at = int(time.time())
        entries = [
            self._entry(self._sequence + number, block, created_at) for number, block in enumerate(blocks, 1)
        ]
        self._outbox.record(entries, state=state, changes=changes, beyond=beyond)
        self._sequence += len(entries)
        self.blocks += len(entries)
        self.events += sum(entry.event_count for entry in entries)

    def _store_alone(self, changes: LedgerChanges | None, state: MonitorState | None) -> None:
        if changes:
            self._outbox.learn(self._monitor_id, changes)
        if state is not None:
            self._outbox.set_state(self._monitor_id, state)

    def _entry(self, sequence: int, block: list[EventInfo], created_at: int) -> Entry:
        return Entry(
            self._monitor_id,
            sequence,
            routing_key(self._monitor_id, [event.type for event in block]),
            encode_event_list(EventList(self._monitor_id, sequence, block)),
            len(block),
            created_at,
        )

    def _stop_recording(self, reason: str) -> None:
        if self._reason is None and not self._given_up:
            self.gaps += 1
            log.error("monitor stopped recording", monitor=self._monitor_id, reason=reason)
        self._reason = reason

    def _gap(self, reason: str) -> EventInfo:
        return system_event(SystemCode.GAP, f"Gap: {reason}", reason=reason, count=self._given_up)
