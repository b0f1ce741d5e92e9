"""Stand-ins for both sides of the relay: an outbox in memory, and a broker that answers as a test scripts it."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import threading
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from pika import spec

from publisher.amqp import Refusal
from publisher.outbox import Entry
from schemas.topology import routing_key


class MemoryOutbox:
    """The outbox's methods over a dict; every one may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[str, dict[int, Entry]] = {}
        self._sequences: dict[str, int] = {}
        self._subscribers: list[Callable[[str], None]] = []
        self.confirms: list[dict[str, int]] = []
        self.reads: list[tuple[str, int, int]] = []

    def put(self, monitor_id: str, count: int = 1, *, body: bytes = b'{"events": []}') -> list[Entry]:
        """Records `count` blocks of a monitor, each in a transaction of its own, and returns them."""
        made = []
        for _ in range(count):
            with self._lock:
                sequence = self._sequences[monitor_id] = self._sequences.get(monitor_id, 0) + 1
                entry = Entry(
                    monitor_id, sequence, routing_key(monitor_id, ["Create"]), body, 1, 1_790_000_000
                )
                self._entries.setdefault(monitor_id, {})[sequence] = entry
            for callback in self._subscribers:
                callback(monitor_id)
            made.append(entry)
        return made

    def subscribe(self, callback: Callable[[str], None]) -> None:
        """Calls back with the monitor's id after each block."""
        self._subscribers.append(callback)

    def pending(self, monitor_id: str, after: int, *, max_entries: int, max_bytes: int) -> list[Entry]:
        """As the outbox's; `reads` keeps what was asked."""
        self.reads.append((monitor_id, after, max_entries))
        found: list[Entry] = []
        total = 0
        with self._lock:
            for entry in self._entries.get(monitor_id, {}).values():
                if entry.sequence <= after:
                    continue
                total += len(entry.body)
                if len(found) == max_entries or (found and total > max_bytes):
                    break
                found.append(entry)
        return found

    def last(self, monitor_id: str) -> int:
        """As the outbox's."""
        with self._lock:
            return self._sequences.get(monitor_id, 0)

    def waiting(self) -> list[str]:
        """As the outbox's."""
        with self._lock:
            return [monitor_id for monitor_id, entries in self._entries.items() if entries]

    def confirm(self, up_to: Mapping[str, int]) -> None:
        """As the outbox's; `confirms` keeps what was asked."""
        with self._lock:
            self.confirms.append(dict(up_to))
            for monitor_id, last in up_to.items():
                entries = self._entries.get(monitor_id, {})
                for sequence in [sequence for sequence in entries if sequence <= last]:
                    del entries[sequence]

    def size(self, monitor_id: str | None = None) -> tuple[int, int]:
        """As the outbox's."""
        with self._lock:
            chosen = self._entries if monitor_id is None else {monitor_id: self._entries.get(monitor_id, {})}
            bodies = [len(entry.body) for entries in chosen.values() for entry in entries.values()]
        return len(bodies), sum(bodies)


class ScriptedChannel:
    """What the relay uses of a channel. It keeps what is published until the test confirms, returns or refuses it."""

    def __init__(self, connection: ScriptedConnection) -> None:
        self._connection = connection
        self._tags = itertools.count(1)
        self.published: dict[int, str] = {}
        self.is_open = True

    # The relay's side.

    def add_on_return_callback(self, callback: Callable[..., None]) -> None:
        self._on_returned = callback

    def confirm_delivery(
        self, callback_for_confirms: Callable[..., None], callback: Callable[..., None]
    ) -> None:
        self._on_settled = callback_for_confirms
        self._connection.channel = self
        callback(None)

    def basic_publish(
        self, exchange: str, routing_key: str, body: bytes, properties: spec.BasicProperties, mandatory: bool
    ) -> None:
        assert mandatory
        assert self.is_open
        tag = next(self._tags)
        self.published[tag] = properties.message_id
        self._connection.published.append(properties.message_id)

    def exchange_declare(
        self, exchange: str, kind: str, *, durable: bool, callback: Callable[..., None] | None = None
    ) -> None:
        assert durable
        self._connection.declared.append(exchange)
        self._answer(exchange, callback)

    def exchange_bind(
        self, *, destination: str, source: str, routing_key: str, callback: Callable[..., None]
    ) -> None:
        self._answer(source, callback)

    def _answer(self, name: str, callback: Callable[..., None] | None) -> None:
        def answer() -> None:
            refusal = self._connection.refused.get(name)
            if refusal is not None and self.is_open:
                self.close_with(refusal)
            elif callback is not None and self.is_open:
                callback(None)

        self._connection.call_later(0, answer)

    def close(self) -> None:
        self.is_open = False

    # The test's side.

    def confirm(self, tag: int, *, multiple: bool = False) -> None:
        """Acks one message, or all up to it."""
        self._on_settled(SimpleNamespace(method=spec.Basic.Ack(tag, multiple)))

    def nack(self, tag: int, *, multiple: bool = False) -> None:
        """Nacks one message, or all up to it."""
        self._on_settled(SimpleNamespace(method=spec.Basic.Nack(tag, multiple)))

    def turn_back(self, tag: int) -> None:
        """Returns a message as unroutable; its ack is still to come."""
        self._on_returned(
            self, spec.Basic.Return(), spec.BasicProperties(message_id=self.published[tag]), b""
        )

    def close_with(self, refusal: Refusal) -> None:
        """Closes the channel as the broker does."""
        self.is_open = False
        self.on_closed(self, refusal)

    on_closed: Callable[[ScriptedChannel, Refusal], None]


class ScriptedConnection:
    """What the relay's thread uses of a connection; the test is the thread, and the clock too.

    Attributes:
        channel: The one that publishes, once there is one.
        published: Message ids in the order sent, over all channels.
        declared: Names of exchanges in the order declared.
        refused: What the broker refuses to declare, and how.
        now: Seconds; `advance` moves it.
    """

    def __init__(self) -> None:
        self.is_open = False
        self.is_blocked = False
        self.channel: ScriptedChannel | None = None
        self.published: list[str] = []
        self.declared: list[str] = []
        self.refused: dict[str, Refusal] = {}
        self.now = 0.0
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()

    def guard(self, callback: Callable[..., None]) -> Callable[..., None]:
        return callback

    def answer_on(self, _channel: object, callback: Callable[..., None]) -> Callable[..., None]:
        return callback

    def together(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def call_later(self, seconds: float, work: Callable[[], None]) -> object:
        heapq.heappush(self._timers, (self.now + seconds, next(self._order), work))
        return None

    def cancel(self, timer: object) -> None:
        pass

    def open_channel(self, on_open: Callable[..., None], on_closed: Callable[..., None]) -> bool:
        if not self.is_open:
            return False
        channel = ScriptedChannel(self)
        channel.on_closed = on_closed
        self.call_later(0, lambda: on_open(channel))
        return True

    # The test's side.

    def advance(self, seconds: float = 0.0) -> None:
        """Lets time pass and runs what falls due; 0 finishes the turn of the loop."""
        deadline = self.now + seconds
        while self._timers and self._timers[0][0] <= deadline:
            due, _, work = heapq.heappop(self._timers)
            self.now = max(self.now, due)
            work()
        self.now = deadline

    def lose(self) -> None:
        """Cuts the connection."""
        self.is_open = False
        assert self.channel is not None
        self.channel.close_with(Refusal(0, "connection lost"))

    def publishing(self) -> ScriptedChannel:
        """The open channel that publishes."""
        assert self.channel is not None
        assert self.channel.is_open
        return self.channel

    def sequences(self, monitor_id: str) -> list[int]:
        """The sequences of a monitor in the order sent."""
        pairs: list[Any] = [message.rpartition(":") for message in self.published]
        return [int(sequence) for monitor, _, sequence in pairs if monitor == monitor_id]
