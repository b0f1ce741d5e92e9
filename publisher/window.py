"""What is on its way to the broker and not confirmed, over all lanes, bounded in messages and bytes; pure.

One window belongs to one channel: delivery tags start at 1 on every channel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from publisher.lanes import Lane


class Flight(NamedTuple):
    """One message on its way."""

    lane: Lane
    sequence: int
    size_bytes: int


class Window:
    """The messages in flight by delivery tag. The bounds hold but for one message larger than the rest."""

    def __init__(self, entries: int, size_bytes: int) -> None:
        """Empty, with room for `entries` messages whose bodies have `size_bytes` together."""
        self.lane_limit = max(1, entries - entries // 4)
        self._limit_entries = entries
        self._limit_bytes = size_bytes
        self.clear()

    def __len__(self) -> int:
        """Messages in flight, without those set aside."""
        return len(self._flights)

    def clear(self) -> None:
        """The channel is gone."""
        self._flights: dict[int, Flight] = {}
        self._set_aside: dict[int, Flight] = {}
        self._bytes = 0
        self._last_tag = 0
        self._settled_below = 1  # every tag below it is settled

    @property
    def room(self) -> tuple[int, int]:
        """Messages and bytes that may be sent now; no messages when the bytes are used up."""
        free_bytes = self._limit_bytes - self._bytes
        return (self._limit_entries - len(self._flights) if free_bytes > 0 else 0), free_bytes

    @property
    def worth_filling(self) -> bool:
        """Whether an eighth of it is free in both measures: for less, the outbox is not worth reading."""
        entries, free = self.room
        return not self._flights or (entries * 8 >= self._limit_entries and free * 8 >= self._limit_bytes)

    def send(self, lane: Lane, sequence: int, size_bytes: int) -> None:
        """A message went out on the channel."""
        self._last_tag += 1
        self._flights[self._last_tag] = Flight(lane, sequence, size_bytes)
        self._bytes += size_bytes

    def settle(self, tag: int, *, multiple: bool) -> list[Flight]:
        """The messages that a confirm with this tag settles, in the order sent.

        Args:
            tag: The delivery tag; 0 with `multiple` means all that was sent (AMQP 0-9-1, basic.ack).
            multiple: Every message up to `tag` is meant.
        """
        last = tag or self._last_tag
        tags = range(self._settled_below, last + 1) if multiple else (tag,)
        settled = [flight for one in tags if (flight := self._take(one)) is not None]
        if multiple:
            self._settled_below = max(self._settled_below, last + 1)
        return settled

    def _take(self, tag: int) -> Flight | None:
        flight = self._flights.pop(tag, None)
        if flight is None:
            return self._set_aside.pop(tag, None)
        self._bytes -= flight.size_bytes
        return flight

    def set_aside(self, lane: Lane) -> None:
        """The broker does not settle this lane's messages: they take no room from others any more."""
        for tag in [tag for tag, flight in self._flights.items() if flight.lane is lane]:
            flight = self._flights.pop(tag)
            self._bytes -= flight.size_bytes
            self._set_aside[tag] = flight

    def lanes_naming(self, text: str) -> set[Lane]:
        """The lanes with a message in flight that the broker's words point at, by exchange or by size."""
        return {
            flight.lane
            for flight in (*self._flights.values(), *self._set_aside.values())
            if f"'{flight.lane.exchange}'" in text or f" {flight.size_bytes} " in text
        }

    def lanes(self) -> set[Lane]:
        """The lanes with a message in flight, without those set aside."""
        return {flight.lane for flight in self._flights.values()}
