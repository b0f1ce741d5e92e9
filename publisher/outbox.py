"""Blocks accepted and not yet confirmed, in order and bounded: where monitors and the relay meet.

A monitor records, the relay reads and forgets. What it holds is in the store; only the sizes are kept here.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from publisher.errors import OutboxFullError, StoreFullError
from publisher.storing.outbox_table import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from publisher.storing.ledger_tables import LedgerChanges
    from publisher.storing.store import Store
    from schemas.monitors import MonitorState

__all__ = ["Entry", "Outbox"]

DEFAULT_LIMIT_BYTES = 1 << 30
ENTRY_OVERHEAD_BYTES = 128
"""What an entry takes on top of its body: its row, key and properties."""
_STEP_ON_FULL_DISK = 8


class Outbox:
    """The bounded queue between monitors and relay. Every method may be called from any thread."""

    def __init__(
        self, store: Store, *, limit_bytes: int = DEFAULT_LIMIT_BYTES, monitor_limit_bytes: int | None = None
    ) -> None:
        """Takes up what an earlier run left.

        Args:
            store: Where the entries are.
            limit_bytes: The bound of all monitors' entries together.
            monitor_limit_bytes: The bound of one monitor's, a quarter of that unless given: a monitor that
                nobody listens to leaves room for the others.
        """
        self._store = store
        self._limit_bytes = limit_bytes
        self._monitor_limit_bytes = monitor_limit_bytes or limit_bytes // 4
        self._lock = threading.Lock()  # guards the sizes, and what was recorded last
        found = store.entries.sizes()
        self._sizes = {id_: (n, size + n * ENTRY_OVERHEAD_BYTES) for id_, (n, size, _) in found.items()}
        self._last = {id_: last for id_, (_, _, last) in found.items()}
        self._total_bytes = sum(size for _, size in self._sizes.values())
        self._subscribers: list[Callable[[str], None]] = []

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Has `callback(monitor_id)` called after each commit, on the recording thread; it must not block."""
        self._subscribers.append(callback)

    def record(
        self,
        entries: Sequence[Entry],
        *,
        state: MonitorState | None = None,
        changes: LedgerChanges | None = None,
        beyond: bool = False,
    ) -> None:
        """Accepts blocks of one monitor, in one transaction with what they change in its ledger and its state.

        With `beyond` even if the bound is reached: for the few words that a monitor says about that.

        Raises:
            OutboxFullError: They would exceed the bound; nothing was accepted.
            StoreError: The disk refused; nothing was accepted.
        """
        monitor_id = entries[0].monitor_id
        size = sum(len(entry.body) for entry in entries) + len(entries) * ENTRY_OVERHEAD_BYTES
        if not beyond and not self.has_room(monitor_id, size):
            msg = f"the outbox has reached its bound for monitor {monitor_id}"
            raise OutboxFullError(msg)
        self._store.entries.append(entries, state=state, changes=changes)
        with self._lock:
            self._change(monitor_id, len(entries), size)
            self._last[monitor_id] = entries[-1].sequence
        for callback in self._subscribers:
            callback(monitor_id)

    def learn(self, monitor_id: str, changes: LedgerChanges) -> None:
        """Writes what changes in a monitor's ledger without a block; raises StoreError."""
        self._store.ledgers.learn(monitor_id, changes)

    def set_state(self, monitor_id: str, state: MonitorState) -> None:
        """Stores a monitor's state where no block goes with the change."""
        self._store.set_state(monitor_id, state)

    def has_room(self, monitor_id: str, size_bytes: int) -> bool:
        """Whether that much more of this monitor would be accepted now."""
        with self._lock:
            own = self._sizes.get(monitor_id, (0, 0))[1]
            fits = self._total_bytes + size_bytes <= self._limit_bytes
            return fits and own + size_bytes <= self._monitor_limit_bytes

    def spare_bytes(self, monitor_id: str) -> int:
        """How much of what can wait on the disk, being found by comparison, should be recorded now; 0 if nothing.

        Half of a monitor's bound and a quarter of all are left for what happens and is to be recorded at once.
        """
        with self._lock:
            own = self._sizes.get(monitor_id, (0, 0))[1]
            spare = min(self._monitor_limit_bytes // 2 - own, self._limit_bytes * 3 // 4 - self._total_bytes)
            return max(0, spare)

    def pending(self, monitor_id: str, after: int, *, max_entries: int, max_bytes: int) -> list[Entry]:
        """Entries above sequence `after`, in order, within both bounds but at least one if there is any."""
        if max_entries < 1:
            return []
        return self._store.entries.after(monitor_id, after, max_entries, max_bytes)

    def last(self, monitor_id: str) -> int:
        """The last sequence of a monitor that was recorded, confirmed or not; 0 if none was that is known of."""
        with self._lock:
            return self._last.get(monitor_id, 0)

    def waiting(self) -> list[str]:
        """The monitors that have entries."""
        with self._lock:
            return list(self._sizes)

    def confirm(self, up_to: Mapping[str, int]) -> None:
        """Forgets what the broker has confirmed: each monitor's entries up to and with the given sequence.

        On a full disk it goes in small steps, for each takes room before it makes any.

        Raises:
            StoreError: The disk refused; part of it may be forgotten.
        """
        try:
            self._forget(up_to)
        except StoreFullError:
            for monitor_id, last in up_to.items():
                for sequence in self._store.entries.steps(monitor_id, last, _STEP_ON_FULL_DISK):
                    self._forget({monitor_id: sequence})

    def _forget(self, up_to: Mapping[str, int]) -> None:
        freed = self._store.entries.forget(up_to)
        with self._lock:
            for monitor_id, (count, size) in freed.items():
                if monitor_id in self._sizes:
                    self._change(monitor_id, -count, -size - count * ENTRY_OVERHEAD_BYTES)

    def drop(self, monitor_id: str) -> int:
        """Stops counting a removed monitor's entries; returns how many blocks went with it."""
        with self._lock:
            count, size = self._sizes.get(monitor_id, (0, 0))
            self._change(monitor_id, -count, -size)
            self._last.pop(monitor_id, None)
            return count

    def size(self, monitor_id: str | None = None) -> tuple[int, int]:
        """(entries, bytes) of one monitor, or of all."""
        with self._lock:
            if monitor_id is not None:
                return self._sizes.get(monitor_id, (0, 0))
            return sum(count for count, _ in self._sizes.values()), self._total_bytes

    def _change(self, monitor_id: str, entries: int, size_bytes: int) -> None:
        count, size = self._sizes.get(monitor_id, (0, 0))
        self._total_bytes += size_bytes
        if count + entries > 0:
            self._sizes[monitor_id] = (count + entries, size + size_bytes)
        else:
            self._sizes.pop(monitor_id, None)
