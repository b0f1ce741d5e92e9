"""One request queue: deliver -> dispatch -> reply -> acknowledge.

Deliveries come on the thread of a connection that only consumes. They are served there if that takes no waiting,
else by workers, and are acknowledged once the reply is the broker's business. What was not acknowledged when the
channel went is delivered again.
"""

from __future__ import annotations

import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import pika.data
import structlog

from control.delivery import Delivery
from control.dispatcher import Dispatcher, Incoming, Outcome, Reply
from control.replies import Fate, Outgoing
from schemas.topology import app_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from control.replies import Replies
    from control.request_queue import RequestQueue
    from control.workers import Workers
    from publisher.amqp import AmqpConnection, Channel, Refusal

_FIRST_RETRY_SECONDS = 0.25
_LONGEST_RETRY_SECONDS = 15.0
_PERSISTENT = 2
HEADER_REASON = "reason"
HEADER_SIZE = "size"

_log = structlog.get_logger()


class Consumer:
    """Serves one queue; one channel at a time, each with a generation of its own."""

    def __init__(
        self,
        queue: RequestQueue,
        connection: AmqpConnection,
        dispatcher: Dispatcher,
        replies: Replies,
        *,
        workers: Workers,
        aside: Workers,
        dead_letter: str,
        on_expired: Callable[[], None] = lambda: None,
    ) -> None:
        """Consumes nothing until `opened`.

        Args:
            queue: What to consume.
            connection: Consumes only; its owner tells `opened`.
            dispatcher: What the requests mean.
            replies: Where the replies go.
            workers: Serve what the dispatcher cannot at once. With one of them and a prefetch of 1 that is in
                order, one at a time.
            aside: Finish what takes long.
            dead_letter: The queue for what nobody can read or answer.
            on_expired: Told of each request that came too late.
        """
        self._queue = queue
        self._connection = connection
        self._dispatcher = dispatcher
        self._replies = replies
        self._workers = workers
        self._aside = aside
        self._dead_letter = dead_letter
        self._on_expired = on_expired
        self._stopping = threading.Event()
        self._changed = (
            threading.Condition()
        )  # guards the next two, and that nothing begins once it is stopping
        self._unfinished = 0
        self._hurried = False
        # Of the connection's thread alone, but for reading the generation.
        self._channel: Channel | None = None
        self._generation = 0
        self._epoch = 0
        self._reopens = False
        self._retry_seconds = _FIRST_RETRY_SECONDS
        self.is_consuming = False
        # The last request served and not acknowledged, with its outcome: delivered again it is not executed again.
        self._last: tuple[tuple[object, ...], Outcome] | None = None

    def stop(self) -> None:
        """Takes no more; what was delivered and not begun stays in the queue for the next server."""
        with self._changed:
            self._stopping.set()
        self._connection.call(self._cancel)

    def finish(self, timeout: float) -> bool:
        """Blocks until what is being served is acknowledged, at most `timeout` seconds; whether it is."""
        with self._changed:
            self._changed.wait_for(lambda: self._unfinished == 0 or self._hurried, timeout)
            return self._unfinished == 0

    def hurry(self) -> None:
        """Ends the waiting of `finish`; from another thread."""
        with self._changed:
            self._hurried = True
            self._changed.notify_all()

    # On the connection's thread.

    def opened(self) -> None:
        """The connection is open (again)."""
        self._epoch += 1
        self._open_channel(self._epoch)

    def _open_channel(self, epoch: int) -> None:
        if epoch == self._epoch and not self._stopping.is_set():
            self._connection.open_channel(self._declare, self._on_closed)

    def _declare(self, channel: Channel) -> None:
        self._channel = channel
        self._generation += 1
        channel.add_on_cancel_callback(self._connection.guard(self._on_cancelled))
        channel.queue_declare(
            self._queue.name,
            durable=True,
            arguments=dict(self._queue.arguments),
            callback=self._connection.answer_on(channel, lambda _frame: self._consume(channel)),
        )

    def _consume(self, channel: Channel) -> None:
        def consuming(_frame: object) -> None:
            self.is_consuming = True
            self._retry_seconds = _FIRST_RETRY_SECONDS
            _log.info("consuming", queue=self._queue.name)

        channel.basic_qos(prefetch_count=self._queue.prefetch)
        channel.basic_consume(
            self._queue.name,
            self._connection.guard(self._on_delivery),
            callback=self._connection.answer_on(channel, consuming),
        )

    def _cancel(self) -> None:
        self.is_consuming = False
        if self._channel is not None and self._channel.is_open:
            for tag in list(self._channel.consumer_tags):
                self._channel.basic_cancel(tag)

    def _on_cancelled(self, _frame: object) -> None:
        _log.warning("the queue was deleted, it is declared again", queue=self._queue.name)
        if self._channel is not None and self._channel.is_open:
            self._reopens = True
            self._channel.close()

    def _on_closed(self, _channel: Channel, refusal: Refusal) -> None:
        self.is_consuming = False
        self._channel = None
        self._generation += 1
        reopens, self._reopens = self._reopens, False
        if refusal.code:
            _log.error(
                "requests cannot be consumed",
                queue=self._queue.name,
                reason=self._queue.remedy(refusal),
            )
            epoch = self._epoch
            self._connection.call_later(self._retry_seconds, lambda: self._open_channel(epoch))
            self._retry_seconds = min(2 * self._retry_seconds, _LONGEST_RETRY_SECONDS)
        elif reopens:
            self._open_channel(self._epoch)

    def _on_delivery(self, _channel: Channel, method: Any, properties: Any, body: bytes) -> None:
        limit = self._dispatcher.request_limit_bytes
        delivery = Delivery.of(
            self._generation, method, properties, body, now=time.monotonic(), limit_bytes=limit
        )
        if not self._serve_at_once(delivery):
            self._workers.submit(lambda: self._serve(delivery))

    def _serve_at_once(self, delivery: Delivery) -> bool:
        """Whether the request is served, for each hand-over to another thread costs as much as a small query."""
        if delivery.is_cut or delivery.has_expired(time.monotonic()):
            return False
        outcome = self._dispatcher.dispatch_at_once(
            Incoming(delivery.body, delivery.message_id, delivery.headers)
        )
        if outcome is None:
            return False
        if self._begin(delivery):
            self._conclude(delivery, outcome)
        return True

    def _acknowledge_here(self, delivery: Delivery) -> None:
        if delivery.generation == self._generation and self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(delivery.tag)
            self._last = None

    # On a worker's thread; beginning and concluding also on the connection's.

    def _begin(self, delivery: Delivery) -> bool:
        """Whether it may be served; if not, it will be delivered again."""
        with self._changed:
            if self._stopping.is_set() or delivery.generation != self._generation:
                return False
            self._unfinished += 1
            return True

    def _serve(self, delivery: Delivery) -> None:
        if not self._begin(delivery):
            return
        if delivery.has_expired(time.monotonic()):
            self._on_expired()
            self._acknowledge(delivery)
            return
        outcome = self._outcome(delivery)
        finish = outcome.aside
        if finish is not None:
            self._aside.submit(lambda: self._conclude(delivery, finish()))
        else:
            self._conclude(delivery, outcome)

    def _outcome(self, delivery: Delivery) -> Outcome:
        last = self._last
        if delivery.is_redelivered and last is not None and last[0] == delivery.identity:
            return last[1]
        if delivery.is_cut:
            return self._dispatcher.too_large(delivery.size_bytes)
        outcome = self._dispatcher.dispatch(Incoming(delivery.body, delivery.message_id, delivery.headers))
        if self._queue.is_serial:
            self._last = (delivery.identity, outcome)
        return outcome

    def _conclude(self, delivery: Delivery, outcome: Outcome) -> None:
        if outcome.reply is not None and delivery.reply_to is not None:
            self._reply(delivery, delivery.reply_to, outcome.reply)
        elif outcome.unreadable is not None and delivery.reply_to is None:
            self._bury(delivery, outcome.unreadable)
        else:
            self._acknowledge(delivery)

    def _reply(
        self, delivery: Delivery, address: str | bytes, reply: Reply, *, is_substitute: bool = False
    ) -> None:
        properties = {
            "content_type": reply.content_type,
            "correlation_id": delivery.correlation_id,
            "type": reply.type,
            "app_id": app_id(),
            "headers": dict(reply.headers) or None,
        }

        def done(fate: Fate) -> None:
            if fate is Fate.TOO_LARGE and not is_substitute:
                self._reply(delivery, address, reply.too_large(), is_substitute=True)
            else:
                self._acknowledge(delivery)

        self._replies.send(Outgoing(address, reply.body, properties, done))

    def _bury(self, delivery: Delivery, reason: str) -> None:
        """Keeps what nobody can read, nor tell anybody, for the operator."""
        _log.warning(
            "unreadable request", queue=self._queue.name, reason=reason, size_bytes=delivery.size_bytes
        )
        properties = {
            "delivery_mode": _PERSISTENT,
            "app_id": app_id(),
            "headers": {
                HEADER_REASON: reason[:1000],
                HEADER_SIZE: delivery.size_bytes,
                "queue": self._queue.name,
            },
        }

        def done(_fate: Fate) -> None:
            self._acknowledge(delivery)

        self._replies.send(Outgoing(self._dead_letter, delivery.body, properties, done))

    def _acknowledge(self, delivery: Delivery) -> None:
        """From any thread; on a channel that is gone meanwhile there is nothing to acknowledge."""
        self._connection.perform(lambda: self._acknowledge_here(delivery))
        with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()


def tolerate_any_headers() -> None:
    """Makes pika read a message whose headers it cannot digest as one without any; idempotent.

    pika 1.4.4 raises for a double that is NaN or infinite, a timestamp beyond the year 9999, and tables nested by
    the thousand, and takes that for a failure of the network: one such message, which the broker passes on
    unchanged, would be delivered, and would cut the connection, for ever.
    """
    decode: Callable[..., Any] = pika.data.decode_table
    if getattr(decode, "is_tolerant", False):
        return

    def tolerant(encoded: bytes, offset: int) -> tuple[dict[str, Any], int]:
        try:
            table, end = decode(encoded, offset)
        except Exception:  # noqa: BLE001 - whatever a hostile header provokes; the length of the table is known
            (size,) = struct.unpack_from(">I", encoded, offset)
            return {}, offset + 4 + size
        return table, end

    tolerant.is_tolerant = True  # type: ignore[attr-defined]  # a mark for this function alone
    pika.data.decode_table = tolerant  # type: ignore[assignment]  # keys of a table may be bytes, nobody cares
