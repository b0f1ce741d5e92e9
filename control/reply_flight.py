"""Which replies may be sent now, which are on their way, and which one made the broker close the connection; pure.

A reply to a forged direct reply-to address makes RabbitMQ close the connection that it is sent on. Which one it was
cannot be read from that, so after such a close the ones that may have done it are sent one at a time: whichever is
the only one on its way when the connection dies again is the culprit, and all others arrive.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DIRECT_REPLY_PREFIX = "amq.rabbitmq.reply-to"


class Fate(Enum):
    """What became of a reply. Whichever it is, nothing more is to be done for it but after TOO_LARGE."""

    SETTLED = "settled"  # a queue has it, or there is no such queue
    REFUSED = "refused"  # a queue is there and did not take it
    FATAL = "fatal"  # it made the broker close the connection
    TOO_LARGE = "too-large"


@dataclass(slots=True, eq=False)
class Outgoing:
    """One message to a queue.

    Attributes:
        address: The queue's name, or a direct reply-to address; bytes if it is not UTF-8.
        body: The bytes.
        properties: Of pika's BasicProperties, by name.
        on_done: Told once of its fate, on the replies' thread; quick, never raises.
        is_direct: The address is a direct reply-to one, real or forged.
        is_suspect: It may make the broker close the connection.
    """

    address: str | bytes
    body: bytes
    properties: Mapping[str, Any]
    on_done: Callable[[Fate], None]
    is_direct: bool = field(init=False)
    is_suspect: bool = field(init=False)

    def __post_init__(self) -> None:
        """Only a direct reply-to address is known to do that."""
        address = self.address.encode() if isinstance(self.address, str) else self.address
        self.is_direct = self.is_suspect = address.startswith(DIRECT_REPLY_PREFIX.encode())

    def with_callback(self, first: Callable[[], None]) -> Outgoing:
        """The same, with `first` called before it is told of its fate."""

        def done(fate: Fate) -> None:
            first()
            self.on_done(fate)

        return Outgoing(self.address, self.body, self.properties, done)


class ReplyFlight:
    """Replies waiting and on their way over one channel; for one thread. How many there may be is up to the senders."""

    def __init__(self) -> None:
        """Nothing waits."""
        self._waiting: deque[Outgoing] = deque()
        self._suspects: deque[Outgoing] = deque()
        self._flight: dict[int, Outgoing] = {}
        self._last_tag = 0
        self._careful = False

    def __len__(self) -> int:
        """Replies that are not settled."""
        return len(self._waiting) + len(self._suspects) + len(self._flight)

    def add(self, reply: Outgoing) -> None:
        """Takes a reply in."""
        self._waiting.append(reply)

    def take(self) -> Outgoing | None:
        """The reply to send next, counted as sent; None if none may be sent now."""
        while self._waiting:
            reply = self._waiting.popleft()
            if not (self._careful and reply.is_suspect):
                return self._sent(reply)
            self._suspects.append(reply)
        if self._suspects and not self._flight:
            return self._sent(self._suspects.popleft())
        return None

    def settle(self, tag: int, *, multiple: bool) -> list[Outgoing]:
        """The replies that a confirm with this delivery tag is about."""
        if multiple:
            tags = [each for each in self._flight if each <= tag or tag == 0]
        else:
            tags = [tag] if tag in self._flight else []
        settled = [self._flight.pop(each) for each in tags]
        if not self._suspects and not any(reply.is_suspect for reply in self._flight.values()):
            self._careful = False
        return settled

    def lost(self, *, killed: bool) -> Outgoing | None:
        """The channel is gone, and what was on its way is to be sent again.

        Args:
            killed: The broker closed the connection as it does for what it cannot digest, and for no other reason.

        Returns:
            The reply that is certain to have done it: it was the only one on its way that can.
        """
        lost = list(self._flight.values())
        self._flight.clear()
        self._last_tag = 0
        culprit = self._convict(lost) if killed else None
        for reply in reversed(lost):
            if reply is not culprit:
                (self._suspects if self._careful and reply.is_suspect else self._waiting).appendleft(reply)
        return culprit

    def _convict(self, lost: list[Outgoing]) -> Outgoing | None:
        suspects = [reply for reply in lost if reply.is_suspect]
        if len(suspects) == 1:
            return suspects[0]
        for reply in lost if not suspects else ():
            reply.is_suspect = True  # it was none that is known to do it, so it may be any
        self._careful = self._careful or bool(lost)
        return None

    def drop_of_size(self, size_bytes: int) -> list[Outgoing]:
        """Takes out the replies on their way that have as many bytes."""
        tags = [tag for tag, reply in self._flight.items() if len(reply.body) == size_bytes]
        return [self._flight.pop(tag) for tag in tags]

    def _sent(self, reply: Outgoing) -> Outgoing:
        self._last_tag += 1
        self._flight[self._last_tag] = reply
        return reply
