"""What the broker answers to what was published: counted, told to the lanes, and one round for each turn.

For the relay's connection thread; the counters may be read from any.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pika.spec import Basic, BasicProperties

from publisher.holds import NOT_KEPT, UNROUTABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pika.frame import Method

    from publisher.amqp import AmqpConnection, Channel
    from publisher.lanes import Lane
    from publisher.window import Window


class Settlements:
    """Takes returns, confirms and refusals; `on_round` follows in the same turn of the I/O loop, once.

    Attributes:
        settled: Blocks answered, in all.
        returned: Those of them that no queue took.
        nacked: Those of them that the broker refused to keep.
        is_due: A round is to come.
    """

    def __init__(
        self,
        connection: AmqpConnection,
        window: Window,
        lanes: Mapping[str, Lane],
        on_round: Callable[[], None],
    ) -> None:
        """Nothing has been answered yet."""
        self.settled = self.returned = self.nacked = 0
        self.is_due = False
        self._connection = connection
        self._window = window
        self._lanes = lanes
        self._on_round = on_round
        self._touched: set[Lane] = set()

    def take_touched(self) -> set[Lane]:
        """The lanes with something settled since it was asked for the last time."""
        touched, self._touched = self._touched, set()
        return touched

    def on_returned(
        self, _channel: Channel, _method: Basic.Return, properties: BasicProperties, _body: bytes
    ) -> None:
        """No queue took a block."""
        # Always before the confirm of the same message (measured, and RabbitMQ's documentation of confirms).
        monitor_id, _, sequence = str(properties.message_id).rpartition(":")
        self.returned += 1
        if (lane := self._lanes.get(monitor_id)) is not None:
            lane.turn_back(int(sequence), UNROUTABLE)

    def on_settled(self, frame: Method[Basic.Ack | Basic.Nack]) -> None:
        """The broker has blocks, or refuses to keep them."""
        method = frame.method
        flights = self._window.settle(method.delivery_tag, multiple=method.multiple)
        if isinstance(method, Basic.Nack):
            self.nacked += len(flights)
            for lane, sequence, _ in flights:
                lane.turn_back(sequence, NOT_KEPT)
        for lane, sequence, _ in flights:
            lane.confirm(sequence)
            self._touched.add(lane)
        self.settled += len(flights)
        if not self.is_due:
            self.is_due = True
            self._connection.call_later(0, self._round)

    def _round(self) -> None:
        self.is_due = False
        self._on_round()
