"""The connection that sends replies and nothing else: a forged address may cost the connection, but nobody's reply.

A reply counts as sent when the broker has confirmed it, or has said that nobody is there to get it.
"""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pika
import structlog

from control.budget import Budget
from control.reply_flight import Fate, Outgoing, ReplyFlight
from publisher.amqp import AmqpConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from pika.channel import Channel

    from publisher.amqp import AmqpSettings, Refusal

__all__ = ["Fate", "Outgoing", "Replies"]

_DIGESTION = frozenset({501, 502, 503, 504, 505, 540, 541})
"""The codes with which a broker closes the connection for what was sent on it (AMQP 0-9-1, hard errors)."""
_CODE = re.compile(r"\((\d{3})\)$")
_TOO_LARGE = re.compile(r"message size (\d+)")
_RETRY_SECONDS = 5.0
LARGE_BYTES = 64 << 10
BUDGET_BYTES = 32 << 20

_log = structlog.get_logger()


class Replies:
    """Sends replies with confirms; `send` may be called from any thread, all else happens on the connection's."""

    def __init__(
        self,
        settings: AmqpSettings,
        *,
        on_died: Callable[[BaseException], None],
        beside: AmqpConnection,
        budget_bytes: int = BUDGET_BYTES,
    ) -> None:
        """Connects to nothing yet.

        Args:
            settings: The broker.
            on_died: Told if the thread ends by an exception.
            beside: The connection whose thread replies are sent on.
            budget_bytes: Of large replies that may be on their way at a time; who sends another one waits.
        """
        self._budget = Budget(budget_bytes)
        self._connection = AmqpConnection(
            replace(settings, connection_name=f"{settings.connection_name} replies"),
            on_open=lambda _connection: self._open_channel(),
            on_lost=self._on_lost,
            on_died=on_died,
            beside=beside,
        )
        self._stopping = threading.Event()
        self._flight = ReplyFlight()
        self._channel: Channel | None = None
        self._opening = False
        self.returned = 0
        self.dropped = 0

    @property
    def is_ready(self) -> bool:
        """Whether a reply would go out at once."""
        return self._channel is not None

    @property
    def reconnects(self) -> int:
        """How often the connection was made again."""
        return self._connection.reconnects

    def start(self) -> None:
        """Starts connecting and returns."""
        self._connection.start()

    def stop(self) -> None:
        """Closes; replies that are not confirmed by now are not waited for."""
        self._stopping.set()
        self._budget.close()
        self._connection.stop()

    def join(self, timeout: float) -> bool:
        """Blocks until the thread has ended, at most `timeout` seconds; whether it has."""
        return self._connection.join(timeout)

    def send(self, reply: Outgoing) -> None:
        """Sends a reply as soon as there is a connection; `reply.on_done` tells when that is settled.

        Blocks while the budget of large replies is used up; a small one never waits.
        """
        size = len(reply.body)
        if size >= LARGE_BYTES:
            self._budget.take(size)
            reply = reply.with_callback(lambda: self._budget.give_back(size))

        def add() -> None:
            self._flight.add(reply)
            self._pump()

        self._connection.perform(add)

    # What follows runs on the connection's thread.

    def _open_channel(self) -> None:
        if not self._stopping.is_set() and not self._opening and self._channel is None:
            self._opening = self._connection.open_channel(self._prepare, self._on_channel_closed)

    def _prepare(self, channel: Channel) -> None:
        def ready(_frame: object) -> None:
            self._opening = False
            self._channel = channel
            self._pump()

        guard = self._connection.guard
        channel.add_on_return_callback(guard(self._on_returned))
        channel.confirm_delivery(guard(self._on_confirm), callback=self._connection.answer_on(channel, ready))

    def _pump(self) -> None:
        while (
            self._channel is not None and self._channel.is_open and (reply := self._flight.take()) is not None
        ):
            properties = pika.BasicProperties(**reply.properties)
            address: Any = reply.address  # bytes if it is not UTF-8, which pika sends as they are
            # RabbitMQ returns a mandatory direct reply, body and all, even if its client has got it.
            mandatory = not reply.is_direct
            self._channel.basic_publish("", address, reply.body, properties, mandatory=mandatory)

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        fate = Fate.SETTLED if method.NAME == "Basic.Ack" else Fate.REFUSED
        for reply in self._flight.settle(method.delivery_tag, multiple=method.multiple):
            if fate is Fate.REFUSED:
                self.dropped += 1
                _log.warning("a queue refused its reply", address=reply.address)
            reply.on_done(fate)
        self._pump()

    def _on_returned(self, _channel: Channel, method: Any, _properties: object, _body: bytes) -> None:
        self.returned += 1
        _log.debug("a reply found nobody", address=method.routing_key)

    def _on_channel_closed(self, _channel: Channel, refusal: Refusal) -> None:
        self._channel = None
        self._opening = False
        if refusal.code == 0:
            return  # with the connection: `_on_lost` is told why
        too_large = self._too_large(refusal)
        self._flight.lost(killed=False)
        for reply in too_large:
            reply.on_done(Fate.TOO_LARGE)
        if too_large:
            self._open_channel()
        else:
            hint = "may the server's user write to the default exchange?"
            _log.error("the broker refuses replies", reason=refusal.text, hint=hint)
            self._connection.call_later(_RETRY_SECONDS, self._open_channel)

    def _too_large(self, refusal: Refusal) -> list[Outgoing]:
        size = _TOO_LARGE.search(refusal.text)
        return self._flight.drop_of_size(int(size[1])) if size else []

    def _on_lost(self, reason: str) -> None:
        self._channel = None
        code = _CODE.search(reason)
        culprit = self._flight.lost(killed=code is not None and int(code[1]) in _DIGESTION)
        if culprit is not None:
            self.dropped += 1
            _log.warning(
                "dropped a reply: the broker closes the connection over its address", address=culprit.address
            )
            culprit.on_done(Fate.FATAL)
