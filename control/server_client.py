"""What the clients of MonitorServer and FileServer share: an RpcClient, and results checked before use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import TypeAdapter, ValidationError

from control.client_errors import BadReplyError
from control.rpc_client import RpcClient

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ServerClient", "parsed"]

T = TypeVar("T")

_DOCUMENT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


class ServerClient:
    """A context manager around the RpcClient of one request queue. Any thread may call."""

    def __init__(self, url: str, queue: str, *, password: str | None, timeout_seconds: float) -> None:
        """Starts to connect and returns; arguments as for RpcClient."""
        self.rpc = RpcClient(url, queue, password=password, timeout_seconds=timeout_seconds)

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Closes."""
        self.close()

    def close(self) -> None:
        """Closes the connection. Idempotent."""
        self.rpc.close()

    def discover(self) -> dict[str, Any]:
        """The OpenRPC document of this queue."""
        return parsed(_DOCUMENT, self.rpc.call("rpc.discover"))


def parsed(adapter: TypeAdapter[T], result: object) -> T:
    """`result` as what the method returns.

    Raises:
        BadReplyError: it is something else.
    """
    try:
        return adapter.validate_python(result)
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        place = ".".join(map(str, problem["loc"])) or "it"
        raise BadReplyError(f"the server's reply is not of this protocol: {place}: {problem['msg']}") from exc
