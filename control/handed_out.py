"""Which blocks of a monitor a subscriber has handed out: each once, in whatever order the broker delivers them.

A broker delivers the blocks of a lost consumer again, perhaps after later ones: their numbers are lower than the
highest one seen, and they are no repetitions.
"""

from __future__ import annotations

_APART_MAX = 4096
"""Numbers kept above the last gap; as many blocks may come before one that was to come earlier."""


class HandedOut:
    """The numbers of one monitor's blocks that were handed out. For one thread at a time."""

    def __init__(self) -> None:
        """None yet."""
        self._floor = 0  # all up to here were handed out, or count as such
        self._apart: set[int] = set()  # above the floor
        self._assumes = False  # whether some up to the floor may not have been

    def take(self, sequence: int, *, redelivered: bool) -> bool:
        """Whether this block is to be handed out now; it counts as handed out from then on.

        Args:
            sequence: The block's number.
            redelivered: The broker says that it delivered this message before, to whomever. Such a block is handed out
                again rather than lost if what was handed out so long ago is not known any more.
        """
        if sequence <= self._floor:
            return redelivered and self._assumes
        if sequence in self._apart:
            return False
        self._apart.add(sequence)
        self._close_up()
        if len(self._apart) > _APART_MAX:
            self._assumes = True
            self._floor = sorted(self._apart)[_APART_MAX // 2]
            self._apart = {above for above in self._apart if above > self._floor}
            self._close_up()
        return True

    def _close_up(self) -> None:
        while self._floor + 1 in self._apart:
            self._floor += 1
            self._apart.remove(self._floor)
