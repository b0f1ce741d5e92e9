"""A monitor's exchange, its binding to that of all monitors, and its queue: declared on throwaway channels.

The broker closes the channel on which it refuses something, so nothing here is done on the channel that
publishes. Runs on the connection's thread; an outcome is None when all is there, else the refusal with the
reason in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from publisher.amqp_errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from publisher.amqp import AmqpConnection, Channel
    from schemas.topology import Topology

    Outcome = Callable[[Refusal | None], None]
    Steps = Callable[[Channel, Callable[..., None]], None]

_NOT_FOUND = 404
_NAME_MAX_BYTES = 255  # AMQP 0-9-1, short strings


def name_problem(queue: str) -> str | None:
    """Why no queue can have this name, for a sentence that begins with it; None if one can."""
    try:
        encoded = queue.encode()
    except UnicodeEncodeError:
        return "has a name that is not valid text"
    if not encoded:
        return "has no name; leave the parameter out if there is to be none"
    if len(encoded) > _NAME_MAX_BYTES:
        return f"has a name of {len(encoded)} bytes; {_NAME_MAX_BYTES} are allowed"
    return None


def on_own_channel(connection: AmqpConnection, steps: Steps, on_done: Outcome) -> None:
    """Runs `steps(channel, done)` on a channel of their own; they call `done` when the last is answered.

    `on_done` gets None, or why the channel was closed before that: code 0 if with its connection.
    """
    finished = False

    def finish(refusal: Refusal | None) -> None:
        nonlocal finished
        if not finished:
            finished = True
            on_done(refusal)

    def opened(channel: Channel) -> None:
        def done(*_: object) -> None:
            channel.close()
            finish(None)

        steps(channel, connection.answer_on(channel, done))

    if not connection.open_channel(opened, lambda _channel, refusal: finish(refusal)):
        finish(Refusal(0, "not connected"))


def declare_events(connection: AmqpConnection, topology: Topology, on_done: Outcome) -> None:
    """Declares the exchange of all monitors' events."""

    def steps(channel: Channel, done: Callable[..., None]) -> None:
        channel.exchange_declare(topology.events, "topic", durable=True, callback=done)

    on_own_channel(connection, steps, _explained(on_done, f"exchange {topology.events!r}"))


def delete_exchange(connection: AmqpConnection, name: str, on_done: Outcome) -> None:
    """Deletes an exchange; one that is not there is fine."""

    def steps(channel: Channel, done: Callable[..., None]) -> None:
        channel.exchange_delete(name, callback=done)

    on_own_channel(connection, steps, _explained(on_done, f"exchange {name!r}"))


class MonitorDeclaration:
    """Declares one monitor's exchange and, if named, its queue; one object per attempt.

    A queue that exists is bound as it is; one that does not becomes a durable quorum queue.
    """

    def __init__(
        self,
        connection: AmqpConnection,
        topology: Topology,
        monitor_id: str,
        queue: str | None,
        on_done: Outcome,
    ) -> None:
        """Does nothing until `start`."""
        self._connection = connection
        self._events = topology.events
        self._exchange = topology.monitor_exchange(monitor_id)
        self._has_queue = queue is not None
        self._queue = queue or ""
        self._on_done = on_done

    def start(self) -> None:
        """Looks for the queue first: a refusal there leaves no exchange behind."""
        if not self._has_queue:
            self._declare_exchange()
        else:
            on_own_channel(self._connection, self._look_for_queue, self._on_looked)

    def _look_for_queue(self, channel: Channel, done: Callable[..., None]) -> None:
        channel.queue_declare(self._queue, passive=True, callback=done)

    def _on_looked(self, refusal: Refusal | None) -> None:
        if refusal is None:
            self._declare_exchange()
        elif refusal.code == _NOT_FOUND:
            on_own_channel(self._connection, self._declare_queue, self._then(self._declare_exchange))
        else:
            self._then(self._declare_exchange)(refusal)

    def _declare_queue(self, channel: Channel, done: Callable[..., None]) -> None:
        channel.queue_declare(self._queue, durable=True, arguments={"x-queue-type": "quorum"}, callback=done)

    def _declare_exchange(self) -> None:
        after = self._after_exchange if self._has_queue else self._on_done
        on_own_channel(
            self._connection, self._exchange_steps, _explained(after, f"exchange {self._exchange!r}")
        )

    def _exchange_steps(self, channel: Channel, done: Callable[..., None]) -> None:
        # The first two ask for no answer: a refusal closes the channel all the same, and it is one round
        # trip.
        channel.exchange_declare(self._events, "topic", durable=True)
        channel.exchange_declare(self._exchange, "topic", durable=True)
        channel.exchange_bind(destination=self._events, source=self._exchange, routing_key="#", callback=done)

    def _after_exchange(self, refusal: Refusal | None) -> None:
        if refusal is None:
            on_own_channel(self._connection, self._bind_queue, self._then(lambda: self._on_done(None)))
        else:
            self._on_done(refusal)

    def _bind_queue(self, channel: Channel, done: Callable[..., None]) -> None:
        channel.queue_bind(self._queue, self._exchange, routing_key="#", callback=done)

    def _then(self, go_on: Callable[[], None]) -> Outcome:
        """The outcome of a step with the queue: the next step, or the end."""
        explained = _explained(self._on_done, f"queue {self._queue!r}")
        return lambda refusal: go_on() if refusal is None else explained(refusal)


def _explained(on_done: Outcome, thing: str) -> Outcome:
    """Puts the broker's refusal into a sentence that names the thing and the remedy."""

    def explain(refusal: Refusal | None) -> None:
        if refusal is not None and refusal.code:
            refusal = Refusal(refusal.code, f"{thing} {_remedy(refusal)}")
        on_done(refusal)

    return explain


def _remedy(refusal: Refusal) -> str:
    said = refusal.text
    match refusal.code:
        case 403 if "reserved" in said:
            return "has a name that RabbitMQ keeps for itself (amq.*); choose another one"
        case 403:
            return f"may not be used by the server's user; give it the permission: {said}"
        case 405:
            return "is exclusive to another connection; name a queue that others may use, or none"
        case 404:
            return f"was deleted meanwhile; try again: {said}"
        case 406 if "exchange" in said:
            return f"exists with other properties; delete it, or choose another namespace: {said}"
    return f"was refused by the broker: {said} ({refusal.code})"
