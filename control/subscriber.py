"""The events of one monitor, or of all, as a Python iterator that acknowledges what its caller has handled.

It survives lost connections, and hands each block out once however often the broker delivers it.
"""

from __future__ import annotations

import queue as queues
import time
from typing import TYPE_CHECKING

import structlog

from control.client_errors import BrokerUnreachableError, ClientClosedError, NoServerError
from control.handed_out import HandedOut
from control.subscription import Delivery, Source, Subscription
from publisher.amqp import AmqpSettings
from schemas.errors import NoSuchMonitorError
from schemas.events import EventList, EventType, decode_event_list
from schemas.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

__all__ = ["EventSubscriber"]

_FIRST_ATTEMPT_LOOK_SECONDS = 0.05
_CLOSE_SECONDS = 5.0

_log = structlog.get_logger()


class EventSubscriber:
    """Blocks in order, each once, as they come: an iterator and a context manager, for one thread at a time.

    After a lost connection to a named queue, or beside another consumer of it that was lost, the broker may deliver
    earlier blocks after later ones; they are handed out as they come (`sequence` tells).

    A block counts as handled, and is acknowledged, when the next one is asked for or the `with` is left without
    an exception. Without `queue` the subscription lives in a queue of its own that ends with the connection:
    what happens while the connection is lost is missed (and shows as a gap in `sequence`). A named queue is
    durable and keeps it; one that does not exist is declared and bound, one that does is bound to the monitor
    named, if one is.
    """

    def __init__(
        self,
        url: str,
        namespace: str = "fsherald",
        monitor_id: str | None = None,
        *,
        types: Sequence[EventType | str] = (),
        queue: str | None = None,
        password: str | None = None,
        timeout_seconds: float = 30.0,
        prefetch: int = 64,
        on_connected: Callable[[bool], None] | None = None,
    ) -> None:
        """Prepares; `start` (or `with`) connects.

        Args:
            url: the broker, `amqp://` or `amqps://`.
            namespace: the server's.
            monitor_id: the monitor to follow; None follows all of the namespace.
            types: only blocks that hold at least one event of these types; empty means every block.
            queue: a durable queue to consume from.
            password: replaces the one in `url`.
            timeout_seconds: how long `start` may take.
            prefetch: blocks on their way to this client at most.
            on_connected: told when a connection is lost (false) and when it is subscribed again (true); called
                on the connection's thread.

        Raises:
            ValueError: `url` cannot be used; one sentence.
        """
        topology = Topology(namespace)
        self._exchange = topology.events if monitor_id is None else topology.monitor_exchange(monitor_id)
        source = Source(
            exchange=self._exchange,
            keys=[f"#.{EventType(kind).lower()}.#" for kind in types] or ["#"],
            is_one_monitor=monitor_id is not None,
            queue=queue,
            prefetch=prefetch,
            error_without_exchange=NoServerError(topology.control)
            if monitor_id is None
            else NoSuchMonitorError(f"there is no monitor {monitor_id!r}"),
        )
        settings = AmqpSettings(
            url=url, password=password, connection_name=f"fsherald subscriber of {self._exchange}"
        )
        self._subscription = Subscription(settings, source, on_connected)
        self._timeout_seconds = timeout_seconds
        self._current: Delivery | None = None
        self._handed_out: dict[str, HandedOut] = {}

    def __enter__(self) -> Self:
        """Starts."""
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Acknowledges the last block unless an exception passes, and closes."""
        if exc_type is None:
            self._acknowledge_current()
        self.close()

    def start(self) -> None:
        """Returns when the subscription stands: every block published from then on arrives.

        Raises:
            BrokerUnreachableError: the first attempt to connect failed, or it took too long.
            NoSuchMonitorError: there is no such monitor.
            NoServerError: no server has ever served this namespace.
            SubscriptionError: the broker refused the queue.
        """
        self._subscription.connection.start()
        deadline = time.monotonic() + self._timeout_seconds
        try:
            while not self._is_ready(_FIRST_ATTEMPT_LOOK_SECONDS):
                self._give_up(deadline)
        except BaseException:
            self.close()
            raise

    def _is_ready(self, seconds: float) -> bool:
        try:
            arrived = self._subscription.arrived.get(timeout=seconds)
        except queues.Empty:
            return False
        if isinstance(arrived, Exception):
            raise arrived
        return True

    def _give_up(self, deadline: float) -> None:
        connection = self._subscription.connection
        error = connection.last_error
        if not self._subscription.was_open and error is not None:
            raise BrokerUnreachableError(error)
        if time.monotonic() > deadline:
            raise BrokerUnreachableError(error or f"no connection to {connection.address} in time")

    def close(self) -> None:
        """Closes, blocking a few seconds at most; what is not acknowledged is delivered again. Idempotent."""
        self._subscription.close(_CLOSE_SECONDS)
        self._subscription.arrived.put(ClientClosedError("the subscriber was closed"))

    def __iter__(self) -> Self:
        """Returns itself: the iteration can be left and taken up again."""
        return self

    def __next__(self) -> EventList:
        """The next block; waits for it for ever."""
        while True:
            block = self.receive()
            if block is not None:
                return block

    def receive(self, timeout_seconds: float | None = None) -> EventList | None:
        """Acknowledges the block before, and returns the next one; None if none comes in `timeout_seconds`.

        Raises:
            NoSuchMonitorError, NoServerError, SubscriptionError: the subscription could not be renewed.
            ClientClosedError: closed.
        """
        self._acknowledge_current()
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        while True:
            remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                arrived = self._subscription.arrived.get(timeout=remaining)
            except queues.Empty:
                return None
            if isinstance(arrived, Exception):
                self._subscription.arrived.put(arrived)
                raise arrived
            if isinstance(arrived, Delivery) and (block := self._taken(arrived)) is not None:
                return block

    def _taken(self, delivery: Delivery) -> EventList | None:
        if delivery.channel is not self._subscription.channel:
            return None  # the broker delivers it again
        try:
            block = decode_event_list(delivery.body)
        except ValueError as exc:
            _log.warning("not an EventList, rejected", exchange=self._exchange, reason=str(exc))
            self._subscription.settle(delivery, reject=True)
            return None
        handed_out = self._handed_out.setdefault(block.monitor_id, HandedOut())
        if not handed_out.take(block.sequence, redelivered=delivery.redelivered):
            self._subscription.settle(delivery)
            return None
        self._current = delivery
        return block

    def _acknowledge_current(self) -> None:
        if self._current is not None:
            self._subscription.settle(self._current)
            self._current = None
