"""One request message as it came from a queue: what its properties say, however strange they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEPT_OF_TOO_LARGE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivered message; names are bytes where they are not UTF-8.

    Attributes:
        generation: Of the channel it came on; delivery tags mean nothing on another one.
        tag: Its delivery tag.
        body: The bytes; of a message that is too large only the first ones.
        size_bytes: Of the whole body.
        reply_to: Where the reply goes; None for nowhere.
        correlation_id: Echoed.
        message_id: Identity of the request, if it has any that is text.
        headers: Of the message.
        expires_at: When nobody waits for the reply any more, on the monotonic clock; None for never.
        is_redelivered: It may have been delivered before.
    """

    generation: int
    tag: int
    body: bytes
    size_bytes: int
    reply_to: str | bytes | None
    correlation_id: str | bytes | None
    message_id: str | None
    headers: Mapping[str, object]
    expires_at: float | None
    is_redelivered: bool

    @classmethod
    def of(
        cls,
        generation: int,
        method: Any,
        properties: Any,
        body: bytes,
        *,
        now: float,
        limit_bytes: int,
    ) -> Delivery:
        """What pika delivers (Basic.Deliver, BasicProperties), of which no more is kept than is needed."""
        ttl = _milliseconds(properties.expiration)
        message_id: object = properties.message_id
        return cls(
            generation=generation,
            tag=int(method.delivery_tag or 0),
            body=body if len(body) <= limit_bytes else body[:_KEPT_OF_TOO_LARGE_BYTES],
            size_bytes=len(body),
            reply_to=properties.reply_to or None,
            correlation_id=properties.correlation_id,
            message_id=message_id if isinstance(message_id, str) else None,
            headers=properties.headers or {},
            expires_at=None if ttl is None else now + ttl / 1000,
            is_redelivered=bool(method.redelivered),
        )

    @property
    def is_cut(self) -> bool:
        """Whether the body is not all here, because it was too large."""
        return len(self.body) < self.size_bytes

    @property
    def identity(self) -> tuple[object, ...]:
        """The same for the same message delivered again."""
        return (self.reply_to, self.correlation_id, self.message_id, self.size_bytes, self.body)

    def has_expired(self, now: float) -> bool:
        """Whether nobody waits for it any more."""
        return self.expires_at is not None and now >= self.expires_at


def _milliseconds(expiration: object) -> int | None:
    try:
        return None if expiration is None else int(str(expiration))
    except ValueError:
        return None
