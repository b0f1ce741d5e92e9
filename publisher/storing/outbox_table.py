"""The outbox's table in the store: blocks that were accepted and are not confirmed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from publisher.storing.database import Tables, frees_room, takes_room
from publisher.storing.ledger_tables import apply_changes, write_state
from schemas.monitors import MonitorState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from publisher.storing.ledger_tables import LedgerChanges

SCHEMA = """
CREATE TABLE entries (
    monitor INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    routing_key TEXT NOT NULL,
    event_count INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (monitor, sequence)
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One accepted block: exactly what goes to the broker, the same on every redelivery.

    `created_at` is in whole seconds since the epoch.
    """

    monitor_id: str
    sequence: int
    routing_key: str
    body: bytes
    event_count: int
    created_at: int


class OutboxTable(Tables):
    """Reads and writes the blocks."""

    def append(
        self,
        entries: Sequence[Entry],
        *,
        state: MonitorState | None = None,
        changes: LedgerChanges | None = None,
    ) -> None:
        """Accepts one monitor's blocks, its last sequence, what they change in its ledger, and, if given, its state.

        All in one transaction. The last blocks of one that is Stopped may use the reserve, for its ledger goes.
        """
        append = self._append_last if state is MonitorState.STOPPED else self._append
        append(entries, state, changes)

    @takes_room
    def _append(
        self, entries: Sequence[Entry], state: MonitorState | None, changes: LedgerChanges | None
    ) -> None:
        self._write(entries, state, changes)

    @frees_room
    def _append_last(
        self, entries: Sequence[Entry], state: MonitorState | None, changes: LedgerChanges | None
    ) -> None:
        self._write(entries, state, changes)

    def _write(
        self, entries: Sequence[Entry], state: MonitorState | None, changes: LedgerChanges | None
    ) -> None:
        monitor_id = entries[0].monitor_id
        with self._transaction("the block could not be recorded") as db:
            key = self._keys[monitor_id]
            db.executemany(
                "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?)",
                [(key, e.sequence, e.routing_key, e.event_count, e.created_at, e.body) for e in entries],
            )
            db.execute("UPDATE monitors SET sequence = ? WHERE key = ?", (entries[-1].sequence, key))
            if changes is not None:
                apply_changes(db, key, changes)
            if state is not None:
                write_state(db, key, state)
        if state is not None:
            self._monitors_changed()

    def after(self, monitor_id: str, sequence: int, limit: int, limit_bytes: int = 1 << 62) -> list[Entry]:
        """Entries of a monitor above `sequence`, in order, within both limits but one if there is any."""
        found: list[Entry] = []
        with self._reading("the outbox could not be read") as db:
            for row in db.execute(
                "SELECT sequence, routing_key, body, event_count, created_at FROM entries"
                " WHERE monitor = ? AND sequence > ? ORDER BY sequence LIMIT ?",
                (self._keys.get(monitor_id), sequence, limit),
            ):
                entry = Entry(monitor_id, *row)
                limit_bytes -= len(entry.body)
                if found and limit_bytes < 0:
                    break
                found.append(entry)
        return found

    @frees_room
    def forget(self, up_to: Mapping[str, int]) -> dict[str, tuple[int, int]]:
        """Forgets each monitor's entries up to and with the given sequence; returns (entries, bytes) freed."""
        freed: dict[str, tuple[int, int]] = {}
        with self._transaction("confirmed blocks could not be forgotten", synced=False) as db:
            for monitor_id, sequence in up_to.items():
                bounds = (self._keys.get(monitor_id), sequence)
                count, size = db.execute(
                    "SELECT count(*), total(length(body)) FROM entries WHERE monitor = ? AND sequence <= ?",
                    bounds,
                ).fetchone()
                db.execute("DELETE FROM entries WHERE monitor = ? AND sequence <= ?", bounds)
                freed[monitor_id] = (count, int(size))
        return freed

    def steps(self, monitor_id: str, up_to: int, size: int) -> list[int]:
        """The sequences at which `size` more entries of a monitor are done, `up_to` the last of them."""
        with self._reading("the outbox could not be read") as db:
            rows = db.execute(
                "SELECT sequence FROM entries WHERE monitor = ? AND sequence < ? ORDER BY sequence",
                (self._keys.get(monitor_id), up_to),
            ).fetchall()
        return [*(row[0] for row in rows[size - 1 :: size]), up_to]

    def sizes(self) -> dict[str, tuple[int, int, int]]:
        """(entries, bytes of their bodies, last sequence) of each monitor that has any; read once at start."""
        with self._reading("the outbox could not be read") as db:
            rows = db.execute(
                "SELECT m.id, count(*), sum(length(e.body)), max(e.sequence)"
                " FROM entries e JOIN monitors m ON m.key = e.monitor GROUP BY e.monitor"
            ).fetchall()
        return {monitor_id: (count, size, last) for monitor_id, count, size, last in rows}
