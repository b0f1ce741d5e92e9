"""The publishing half of the relay: lanes, one channel, one window; runs on the connection's thread alone.

Everything settled in one turn of the I/O loop is dealt with in one round: lanes draw their conclusions, the
window is filled again, and what is confirmed is forgotten in one transaction.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

import structlog

from publisher.declarations import MonitorDeclaration, declare_events
from publisher.forgetting import Forgetting
from publisher.holds import STALLED, Holds
from publisher.lanes import Lane, LaneState
from publisher.message import properties_of
from publisher.publishing_channel import NOT_FOUND, PublishingChannel
from publisher.settlements import Settlements
from publisher.steady_backlog import SteadyBacklog
from publisher.window import Window
from schemas import topology as wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from publisher.amqp import AmqpConnection, Channel, Refusal
    from publisher.backlog import Backlog
    from schemas.topology import Topology

_PORTION_ENTRIES = 128
"""How many entries of one lane go out before the next lane has its turn."""
_DECLARATIONS_AT_ONCE = 16
_STALL_SECONDS = 5.0

_log = structlog.get_logger()


class Delivery:
    """Publishes the blocks of all monitors; the relay tells it of connections and of monitors with blocks."""

    def __init__(
        self,
        connection: AmqpConnection,
        topology: Topology,
        outbox: Backlog,
        window: Window,
        *,
        on_round: Callable[[Iterable[Lane]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Idle until `opened`.

        Args:
            connection: Whose thread this is.
            topology: The names on the broker.
            outbox: Where the blocks are.
            window: How many may be in flight.
            on_round: Called with the lanes in which something changed: settled (what is confirmed is
                forgotten by then), declared, held, or cut off from the broker.
            clock: Monotonic seconds.
        """
        self.lanes: dict[str, Lane] = {}
        self._connection = connection
        self._topology = topology
        self._backlog = SteadyBacklog(outbox, connection, self._on_disk_back)
        self._window = window
        self.settlements = Settlements(connection, window, self.lanes, self._round)
        self._on_round = on_round
        self._holds = Holds(connection, clock, self._release_and_pump)
        self._app_id = wire.app_id()
        self._channel = PublishingChannel(
            connection, self.settlements, on_ready=self._on_channel_ready, on_closed=self._on_channel_closed
        )
        self._ready: deque[Lane] = deque()
        self._undeclared: deque[Lane] = deque()
        self._declaring = 0
        self._forgetting = Forgetting(connection, self._backlog, clock, on_round)

    @property
    def held(self) -> frozenset[str]:
        """The monitors whose blocks wait for a better time."""
        return self._holds.held

    @property
    def problem(self) -> str | None:
        """The last thing the broker refused and has not accepted since."""
        return self._holds.problem

    @property
    def store_problem(self) -> str | None:
        """Why the outbox cannot be read or written; None while it can."""
        return self._backlog.problem

    @property
    def busy(self) -> bool:
        """Whether anything is on its way or could be sent; held lanes do not count, nor what cannot be read."""
        waiting = (self._ready or self._undeclared) and self._backlog.is_readable
        return bool(
            self._window or waiting or self._declaring or self.settlements.is_due or self._forgetting.is_due
        )

    # Told by the relay.

    def opened(self) -> None:
        """There is a connection: every lane tries again, the held ones too."""
        for lane in self.lanes.values():
            self._release(lane)
        declare_events(self._connection, self._topology, self._on_events_declared)
        self._channel.open()

    def offer(self, monitor_ids: Iterable[str]) -> None:
        """Blocks of these monitors were recorded. A held one waits on, but no longer than a second in all."""
        for monitor_id in monitor_ids:
            lane = self.lane(monitor_id)
            lane.more = True
            if lane.held:
                if lane.hurry():
                    self._holds.await_release(lane)
            else:
                self._queue(lane)
        self._pump()

    def try_now(self, monitor_id: str) -> None:
        """As `offer`, and a hold is over."""
        self._release(self.lane(monitor_id))
        self.offer((monitor_id,))

    def declared(self, monitor_id: str) -> None:
        """A monitor's exchange is there."""
        lane = self.lane(monitor_id)
        lane.declare()
        self._holds.solve(monitor_id)
        self.try_now(monitor_id)

    def drop(self, monitor_id: str) -> None:
        """Forgets a monitor."""
        lane = self.lanes.pop(monitor_id, None)
        if lane is not None:
            self._forgetting.drop(lane)
        self._holds.forget(monitor_id)
        self._backlog.drop(monitor_id)

    def lane(self, monitor_id: str) -> Lane:
        """The lane of a monitor, a new one if there is none."""
        lane = self.lanes.get(monitor_id)
        if lane is None:
            lane = self.lanes[monitor_id] = Lane(monitor_id, self._topology.monitor_exchange(monitor_id))
        return lane

    def resume(self) -> None:
        """Sends what it can; after the broker has blocked and unblocked."""
        self._pump()

    def shut(self) -> None:
        """Sends nothing any more."""
        self._channel.shut()
        self._forgetting.now(self.settlements.take_touched())
        self._backlog.give_up()

    # The channel.

    def _on_channel_ready(self, channel: Channel) -> None:
        self._look_for_stalls(channel)
        self._pump()

    def _on_channel_closed(self, refusal: Refusal) -> None:
        self._forgetting.now(self.settlements.take_touched())  # what was confirmed stays confirmed
        culprits = self._culprits(refusal)
        self._window.clear()
        for lane in self.lanes.values():
            lane.undeclare()
            self._queue(lane)
        for lane in culprits:
            self._holds.hold(lane, refusal.text)
        self._on_round(list(self.lanes.values()))

    def _culprits(self, refusal: Refusal) -> set[Lane]:
        """Whose message the broker refused; an exchange that is gone is declared again at once."""
        if refusal.code in (0, NOT_FOUND):
            return set()
        return self._window.lanes_naming(refusal.text) or self._window.lanes()

    def _on_events_declared(self, refusal: Refusal | None) -> None:
        # Each lane declares it again with its own exchange, and is held while that is refused.
        if refusal is None:
            self._holds.solve(self._topology.events)
        elif refusal.code:
            self._holds.complain(self._topology.events, refusal.text)
            _log.error("the exchange of all events cannot be declared", reason=refusal.text)

    # Sending.

    def _queue(self, lane: Lane) -> None:
        if lane.more and not lane.queued and not lane.held:
            lane.queued = True
            self._ready.append(lane)

    def _pump(self) -> None:
        while self._ready and (channel := self._channel.current) is not None and self._window.worth_filling:
            if self._connection.is_blocked or not self._backlog.is_readable:
                return
            lane = self._ready.popleft()
            lane.queued = False
            if lane.retired:
                continue
            if lane.state is LaneState.UNDECLARED:
                self._declare(lane)
            else:
                self._send(lane, channel)

    def _send(self, lane: Lane, channel: Channel) -> None:
        room, room_bytes = self._window.room
        allowed = lane.allowance(min(room, _PORTION_ENTRIES), self._window.lane_limit)
        if not allowed:
            return  # queued again when what it waits for is settled
        entries = self._backlog.pending(
            lane.monitor_id, lane.cursor, max_entries=allowed, max_bytes=room_bytes
        )
        if entries is None:
            self._queue(lane)
            return
        # What is recorded from now on wakes us, so that nobody need look again to see that there is nothing.
        lane.more = bool(entries) and entries[-1].sequence < self._backlog.last(lane.monitor_id)
        with self._connection.together():
            for entry in entries:
                channel.basic_publish(
                    lane.exchange,
                    entry.routing_key,
                    entry.body,
                    properties_of(entry, self._app_id),
                    mandatory=True,
                )
                lane.sent(entry.sequence)
                self._window.send(lane, entry.sequence, len(entry.body))
        if lane.state is LaneState.FLOWING:
            self._queue(lane)

    def _declare(self, lane: Lane) -> None:
        if self._declaring >= _DECLARATIONS_AT_ONCE:
            lane.queued = True
            self._undeclared.append(lane)
            return
        first = self._backlog.pending(lane.monitor_id, lane.cursor, max_entries=1, max_bytes=1)
        if first is None:
            self._queue(lane)
        elif first:
            lane.declaring()
            self._declaring += 1
            done = partial(self._on_declared, lane)
            MonitorDeclaration(self._connection, self._topology, lane.monitor_id, None, done).start()
        else:
            lane.more = False

    def _on_declared(self, lane: Lane, refusal: Refusal | None) -> None:
        self._declaring -= 1
        if self._undeclared:
            self._ready.appendleft(self._undeclared.popleft())
        if refusal is None:
            lane.declare()
            self._holds.solve(lane.monitor_id)
            self._queue(lane)
        elif refusal.code:
            self._holds.hold(lane, refusal.text)
        else:
            lane.undeclare()
            self._queue(lane)
        self._pump()
        self._on_round((lane,))

    # What comes back.

    def _round(self) -> None:
        touched = self.settlements.take_touched()
        for lane in touched:
            if came_back := lane.turn():
                self._holds.hold(lane, came_back)
            elif lane.state is LaneState.FLOWING and lane.monitor_id in self._holds.held:
                self._holds.end(lane)
            self._queue(lane)
        self._pump()
        # What is settled after this round is left to the next one, which fills the window again for it.
        self._forgetting.soon(touched, is_busy=bool(self._window))

    def _on_disk_back(self, monitor_ids: frozenset[str]) -> None:
        self._pump()
        self._on_round([self.lanes[monitor_id] for monitor_id in monitor_ids if monitor_id in self.lanes])

    # Holding.

    def _look_for_stalls(self, channel: Channel) -> None:
        """A queue without a quorum settles nothing: its monitor must not keep the window from the others."""
        if channel is not self._channel.current:
            return
        self._connection.call_later(_STALL_SECONDS, partial(self._look_for_stalls, channel))
        for lane in self._window.lanes() if not self._connection.is_blocked else ():
            if lane.look_for_stall():
                self._window.set_aside(lane)
                self._holds.note(lane, STALLED)
        self._pump()

    def _release(self, lane: Lane) -> None:
        lane.release()
        self._queue(lane)

    def _release_and_pump(self, lane: Lane) -> None:
        self._release(lane)
        self._pump()
