"""Where requests come in: the connection that consumes both queues, their workers, and the replies' connection.

Commands are served one at a time and in order; the broker keeps those that wait, so it lets them expire to the
millisecond. Queries that wait for nothing are served where they are delivered, others by a pool; what takes long
among them is finished aside, by threads of its own. Both connections live on one thread.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import structlog

from control.consumer import Consumer, tolerate_any_headers
from control.replies import BUDGET_BYTES, Replies
from control.request_queue import RequestQueue
from control.workers import Workers
from publisher.amqp import AmqpConnection
from publisher.declarations import on_own_channel

if TYPE_CHECKING:
    from collections.abc import Callable

    from control.dispatcher import Dispatcher
    from publisher.amqp import AmqpSettings, Channel, Refusal
    from schemas.topology import Topology

ASIDE_LIMIT = 64
"""Queries that may be waiting to be finished aside; they take up prefetch, so there is a bound."""
_ASIDE_THREADS = 2
_DEAD_LETTER_ARGUMENTS = {"x-max-length": 10_000, "x-max-length-bytes": 64 << 20, "x-overflow": "drop-head"}

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class IntakeSettings:
    """How requests are taken in."""

    query_workers: int = 4
    files_queue_type: Literal["classic", "quorum"] = "classic"
    reply_budget_bytes: int = BUDGET_BYTES


class Intake:
    """Consumes both request queues; constant in threads, whatever comes in."""

    def __init__(
        self,
        amqp: AmqpSettings,
        topology: Topology,
        *,
        control: Dispatcher,
        files: Dispatcher,
        settings: IntakeSettings = IntakeSettings(),
        on_died: Callable[[BaseException], None],
        on_expired: Callable[[], None] = lambda: None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            amqp: Where the broker is.
            topology: The names of the queues.
            control: Serves commands.
            files: Serves queries.
            settings: How many at a time.
            on_died: Told if one of the threads ends by an exception.
            on_expired: Told of each request that came too late to be served.
        """
        tolerate_any_headers()
        self._dead_letter = topology.dead_letter
        self._connection = AmqpConnection(
            replace(amqp, connection_name=f"{amqp.connection_name} requests"),
            on_open=self._on_open,
            on_lost=lambda _reason: None,  # the channels say so themselves
            on_died=on_died,
        )
        self.replies = Replies(
            amqp, on_died=on_died, beside=self._connection, budget_bytes=settings.reply_budget_bytes
        )
        self._commands = Workers("commands", 1, on_died=on_died)
        self._queries = Workers("queries", settings.query_workers, on_died=on_died)
        self._aside = Workers("aside", _ASIDE_THREADS, on_died=on_died)
        prefetch = 2 * settings.query_workers + ASIDE_LIMIT

        def consumer(queue: RequestQueue, dispatcher: Dispatcher, workers: Workers) -> Consumer:
            return Consumer(
                queue,
                self._connection,
                dispatcher,
                self.replies,
                workers=workers,
                aside=self._aside,
                dead_letter=topology.dead_letter,
                on_expired=on_expired,
            )

        files_arguments = {"x-queue-type": settings.files_queue_type}
        self._consumers = (
            consumer(RequestQueue(topology.control, {"x-queue-type": "quorum"}, 1), control, self._commands),
            consumer(RequestQueue(topology.files, files_arguments, prefetch), files, self._queries),
        )

    @property
    def is_ready(self) -> bool:
        """Whether a request would be served and answered now."""
        return self.replies.is_ready and all(each.is_consuming for each in self._consumers)

    @property
    def reconnects(self) -> int:
        """How often its two connections were made again."""
        return self._connection.reconnects + self.replies.reconnects

    @property
    def last_error(self) -> str | None:
        """Why there is no connection, if there is none."""
        return self._connection.last_error

    def start(self) -> None:
        """Starts the threads, replies first, and returns."""
        self.replies.start()
        for workers in self._all_workers():
            workers.start()
        self._connection.start()

    def stop(self, timeout: float) -> bool:
        """Takes no more requests, answers those being served, and closes; blocks, at most `timeout` seconds.

        Returns:
            Whether all was answered and acknowledged in time.
        """
        deadline = time.monotonic() + timeout
        for consumer in self._consumers:
            consumer.stop()
        finished = [each.finish(max(0.0, deadline - time.monotonic())) for each in self._consumers]
        for workers in self._all_workers():
            workers.stop()
        self._connection.stop()
        self.replies.stop()
        return all(finished)

    def hurry(self) -> None:
        """Ends the waiting of a `stop` that is under way; from another thread."""
        for consumer in self._consumers:
            consumer.hurry()

    def submit_command(self, work: Callable[[], None]) -> None:
        """Has `work` run between two commands, on their thread."""
        self._commands.submit(work)

    def join(self, timeout: float) -> bool:
        """Blocks until the threads have ended, at most `timeout` seconds; whether they have."""
        deadline = time.monotonic() + timeout
        joins = [self._connection.join, self.replies.join, *(workers.join for workers in self._all_workers())]
        joined = [join(max(0.0, deadline - time.monotonic())) for join in joins]
        return all(joined)

    def _all_workers(self) -> tuple[Workers, ...]:
        return self._commands, self._queries, self._aside

    def _on_open(self, connection: AmqpConnection) -> None:
        on_own_channel(connection, self._declare_dead_letter, self._on_dead_letter)
        for consumer in self._consumers:
            consumer.opened()

    def _declare_dead_letter(self, channel: Channel, done: Callable[..., None]) -> None:
        channel.queue_declare(
            self._dead_letter, durable=True, arguments=_DEAD_LETTER_ARGUMENTS, callback=done
        )

    def _on_dead_letter(self, refusal: Refusal | None) -> None:
        if refusal is not None and refusal.code:
            hint = "delete the queue if it exists with other arguments; it is used as it is until then"
            _log.error("dead-letter queue", queue=self._dead_letter, reason=refusal.text, hint=hint)
