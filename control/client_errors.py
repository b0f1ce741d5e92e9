"""What can go wrong between a client and its server, apart from the errors that the server itself replies with.

FsheraldError
└── ClientError
    ├── BrokerUnreachableError   no connection to the broker, or it was lost before the reply came
    ├── NoServerError            the broker is there, but no fsherald server answers on it
    ├── ReplyTimeoutError        a server is there, but its reply did not come in time
    ├── BadReplyError            what came back is not a reply of this protocol
    ├── SubscriptionError        the queue or the exchange of a subscription cannot be used
    └── ClientClosedError        the client was closed
"""

from __future__ import annotations

from schemas.errors import FsheraldError

__all__ = [
    "BadReplyError",
    "BrokerUnreachableError",
    "ClientClosedError",
    "ClientError",
    "NoServerError",
    "ReplyTimeoutError",
    "SubscriptionError",
]


class ClientError(FsheraldError):
    """The request could not be made, or its reply could not be had. The message is one sentence."""


class BrokerUnreachableError(ClientError):
    """There is no connection to the broker."""


class NoServerError(ClientError):
    """Nobody reads the requests of this namespace. The request was not and will not be executed."""

    def __init__(self, queue: str) -> None:
        """Names the queue that nobody reads."""
        super().__init__(
            f"no fsherald server answers on {queue}; is one running with this broker and namespace?"
        )
        self.queue = queue


class ReplyTimeoutError(ClientError, TimeoutError):
    """The reply did not come in time. The request may have been executed all the same."""

    def __init__(self, method: str, seconds: float, *, blocked: bool = False) -> None:
        """Names the method and the seconds waited; `blocked`: the broker has stopped reading from this client."""
        hint = "; the broker is short of memory or disk and takes no messages" if blocked else ""
        super().__init__(f"no reply to {method} within {seconds:g} seconds{hint}")
        self.method = method
        self.seconds = seconds


class BadReplyError(ClientError):
    """What came back is not a reply of this protocol."""


class SubscriptionError(ClientError):
    """The queue or the exchange of a subscription cannot be used."""


class ClientClosedError(ClientError):
    """The client was closed."""
