"""One monitor's way out: which of its blocks is sent next, which are on their way, which are done; pure.

A lane keeps its monitor's blocks in order whatever the broker does with them. Sequences go out in ascending
order; the broker settles them in any order. What counts as done is the unbroken run of confirmed blocks from
the first one on: the first block that is returned or refused (nacked), and everything sent after it, is sent
again.

UNDECLARED -> DECLARING -> PROBING -> FLOWING, and from any of the last three to HELD, and back when its time
is up. While PROBING one block is on its way; when it is confirmed the window opens.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

FIRST_HOLD_SECONDS = 1.0
LONGEST_HOLD_SECONDS = 5.0


class LaneState(Enum):
    """What a lane is doing."""

    UNDECLARED = "undeclared"
    DECLARING = "declaring"
    PROBING = "probing"
    FLOWING = "flowing"
    HELD = "held"


class Lane:
    """The state of one monitor at the relay. Reads no clock: `now` is any monotonic time in seconds.

    Attributes:
        cursor: The last sequence sent; the next block is the first one above it.
        more: The outbox may hold blocks above the cursor.
        queued: It stands in the line of those that want to send.
        retired: Nothing of it is to be sent or forgotten any more.
        stalled: The broker has not settled anything of it for long; nothing is sent until it has settled all.
        held_until: When a HELD lane tries again.
        problem: Why it was held back the last time; empty once it flows.
    """

    __slots__ = (
        "_confirmed",
        "_early",
        "_failed",
        "_failure",
        "_flight",
        "_forgotten",
        "_hold_seconds",
        "_probed_from",
        "_quiet",
        "cursor",
        "declared",
        "exchange",
        "held_since",
        "held_until",
        "monitor_id",
        "more",
        "problem",
        "queued",
        "retired",
        "stalled",
        "state",
    )

    def __init__(self, monitor_id: str, exchange: str) -> None:
        """Nothing declared, nothing sent."""
        self.monitor_id = monitor_id
        self.exchange = exchange
        self.state = LaneState.UNDECLARED
        self.declared = False
        self.retired = False
        self.queued = False
        self.stalled = False
        self.more = True
        self.cursor = 0
        self.held_since = self.held_until = 0.0
        self.problem = ""
        self._flight: deque[int] = deque()
        self._early: set[int] = set()  # settled before the head of the flight
        self._failed: int | None = None  # the lowest sequence that was returned or refused
        self._failure = ""
        self._confirmed = 0
        self._forgotten = 0
        self._hold_seconds = FIRST_HOLD_SECONDS
        self._probed_from = 0
        self._quiet = 0  # looks in a row at which nothing had been settled

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way."""
        return not self._flight

    @property
    def held(self) -> bool:
        """Whether it waits for a better time."""
        return self.state is LaneState.HELD

    def allowance(self, room: int, limit: int) -> int:
        """How many blocks may be sent now, `room` being free in the window and `limit` the most for one lane."""
        if self._failed is not None or self.retired or self.stalled:
            return 0
        if self.state is LaneState.FLOWING:
            return max(0, min(room, limit - len(self._flight)))
        if self.state is LaneState.PROBING and not self._flight:
            return min(1, room)
        return 0

    def sent(self, sequence: int) -> None:
        """A block is on its way."""
        self._flight.append(sequence)
        self.cursor = sequence

    def confirm(self, sequence: int) -> None:
        """The broker is done with a block: it has it, or `turn_back` was told before."""
        flight = self._flight
        if flight and flight[0] == sequence:
            self._advance(flight.popleft())
            while flight and flight[0] in self._early:
                self._early.discard(flight[0])
                self._advance(flight.popleft())
        else:
            self._early.add(sequence)

    def turn_back(self, sequence: int, problem: str) -> None:
        """A block came back, for the reason `problem`; `confirm` is still to be told that it is settled."""
        if self._failed is None or sequence < self._failed:
            self._failed = sequence
            self._failure = problem

    def take_confirmed(self) -> int | None:
        """The sequence up to which all is done, if that has grown since the last time."""
        if self._confirmed == self._forgotten:
            return None
        self._forgotten = self._confirmed
        return self._confirmed

    def turn(self) -> str | None:
        """Draws the conclusions from what was settled: opens the window after a probe, or rewinds.

        Call it whenever something was settled.

        Returns:
            Why it has to be held, if blocks came back.
        """
        self._quiet = 0
        if self._flight:
            return None
        self.stalled = False
        if self._failed is not None:
            self.rewind()
            return self._failure
        if self.state is LaneState.PROBING and self._confirmed > self._probed_from:
            self.state = LaneState.FLOWING
            self._hold_seconds = FIRST_HOLD_SECONDS
            self.problem = ""
        return None

    def look_for_stall(self) -> bool:
        """Call it now and then while something is on its way: true when nothing was settled between two looks."""
        self._quiet += 1
        if self._quiet < 2 or self.stalled:
            return False
        self.stalled = True
        return True

    def rewind(self) -> None:
        """Forgets what is on its way: everything after the unbroken run of confirmed blocks is sent again."""
        undone = [*list(self._flight)[:1], *([] if self._failed is None else [self._failed])]
        if undone:
            self.cursor = min(undone) - 1
        self._flight.clear()
        self._early.clear()
        self.stalled = False
        self._quiet = 0
        self._failed = None
        self.more = True

    def undeclare(self) -> None:
        """The channel is gone, and with it what was on its way and what we know of the broker."""
        self.rewind()
        self.declared = False
        if not self.held:
            self.state = LaneState.UNDECLARED

    def declaring(self) -> None:
        """Its exchange is being declared."""
        self.state = LaneState.DECLARING

    def declare(self) -> None:
        """Its exchange is there; one block may try."""
        self.declared = True
        if self.state in (LaneState.UNDECLARED, LaneState.DECLARING):
            self._probe()

    def hold(self, now: float) -> None:
        """Waits, longer each time until a probe gets through: 1, 2, 4, then 5 seconds."""
        self.state = LaneState.HELD
        self.held_since = now
        self.held_until = now + self._hold_seconds
        self._hold_seconds = min(2 * self._hold_seconds, LONGEST_HOLD_SECONDS)

    def hurry(self) -> bool:
        """Something was recorded: a hold need not be longer than the first one; whether that shortened it."""
        soonest = self.held_since + FIRST_HOLD_SECONDS
        if soonest >= self.held_until:
            return False
        self.held_until = soonest
        return True

    def release(self) -> None:
        """Ends a hold."""
        if self.held and self.declared:
            self._probe()
        elif self.held:
            self.state = LaneState.UNDECLARED

    def retire(self) -> None:
        """Ends it: nothing is sent any more; what is on its way is settled and not forgotten."""
        self.retired = True
        self.release()

    def _probe(self) -> None:
        self.state = LaneState.PROBING
        self._probed_from = self._confirmed

    def _advance(self, sequence: int) -> None:
        if self._failed is None or sequence < self._failed:
            self._confirmed = sequence
