"""What the relay needs of the outbox, and no more: the seam at which the two meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from publisher.outbox import Entry


class Backlog(Protocol):
    """What the relay needs of the outbox; any thread may call it."""

    def pending(self, monitor_id: str, after: int, *, max_entries: int, max_bytes: int) -> list[Entry]:
        """Entries above sequence `after`, in order, within both bounds but at least one if there is any."""

    def last(self, monitor_id: str) -> int:
        """The last sequence that was recorded before any wake-up that was sent until now; 0 if none is known."""

    def waiting(self) -> list[str]:
        """The monitors that have entries."""

    def confirm(self, up_to: Mapping[str, int]) -> None:
        """Forgets each monitor's entries up to and with the given sequence."""

    def size(self, monitor_id: str | None = None) -> tuple[int, int]:
        """(entries, bytes) of one monitor, or of all."""
