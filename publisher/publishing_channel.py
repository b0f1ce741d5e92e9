"""The channel that publishes: in confirm mode, and opened again when the broker closes it for what it refused.

For the relay's connection thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.amqp import AmqpConnection, Channel, Refusal
    from publisher.settlements import Settlements

NOT_FOUND = 404
_REOPEN_SECONDS = 0.5

_log = structlog.get_logger()


class PublishingChannel:
    """One channel at a time.

    Attributes:
        current: The channel, once it confirms; None while there is none.
    """

    def __init__(
        self,
        connection: AmqpConnection,
        settlements: Settlements,
        *,
        on_ready: Callable[[Channel], None],
        on_closed: Callable[[Refusal], None],
    ) -> None:
        """Opens nothing yet; what the broker answers to messages goes to `settlements`."""
        self.current: Channel | None = None
        self._connection = connection
        self._settlements = settlements
        self._on_ready = on_ready
        self._on_closed = on_closed

    def open(self) -> None:
        """Opens one on the open connection; without a connection it does nothing."""
        self._connection.open_channel(self._opened, self._closed)

    def shut(self) -> None:
        """There is none any more, for whoever would send."""
        self.current = None

    def _opened(self, channel: Channel) -> None:
        guard = self._connection.guard
        channel.add_on_return_callback(guard(self._settlements.on_returned))
        ready = self._connection.answer_on(channel, lambda _frame: self._confirms(channel))
        channel.confirm_delivery(guard(self._settlements.on_settled), callback=ready)

    def _confirms(self, channel: Channel) -> None:
        self.current = channel
        self._on_ready(channel)

    def _closed(self, _channel: Channel, refusal: Refusal) -> None:
        self.current = None
        self._on_closed(refusal)
        if refusal.code:
            _log.warning("the broker closed the publishing channel", code=refusal.code, reason=refusal.text)
            pause = 0.0 if refusal.code == NOT_FOUND else _REOPEN_SECONDS
            self._connection.call_later(pause, self.open)
