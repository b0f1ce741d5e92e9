"""Every failure that can cross the broker, and the root of all of fsherald's exceptions.

FsheraldError
├── OmeroFSError               the contract's one exception: an operation failed (-32000)
│   ├── NoSuchMonitorError       no-such-monitor
│   ├── PathNotAllowedError      path-not-allowed
│   ├── NotFoundError            not-found
│   ├── PermissionDeniedError    permission-denied
│   ├── NotADirectoryFSError     not-a-directory
│   ├── NotAFileError            not-a-file
│   ├── AlreadyGoneError         already-gone
│   ├── UnsupportedError         unsupported
│   ├── LimitExceededError       limit-exceeded
│   ├── FileChangedError         file-changed
│   ├── MonitorFailedError       monitor-failed
│   ├── IOFSError                io-error
│   └── ShuttingDownError        shutting-down
├── RequestError               the request itself is wrong (-32700, -32600 to -32603)
└── DecodeError                a consumed message is not what it should be (also a ValueError)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

OMERO_FS_ERROR_CODE = -32000


class ErrorCode(StrEnum):
    """The machine-readable names of the contract's failures; never changed, never reused."""

    NO_SUCH_MONITOR = "no-such-monitor"
    PATH_NOT_ALLOWED = "path-not-allowed"
    NOT_FOUND = "not-found"
    PERMISSION_DENIED = "permission-denied"
    NOT_A_DIRECTORY = "not-a-directory"
    NOT_A_FILE = "not-a-file"
    ALREADY_GONE = "already-gone"
    UNSUPPORTED = "unsupported"
    LIMIT_EXCEEDED = "limit-exceeded"
    FILE_CHANGED = "file-changed"
    MONITOR_FAILED = "monitor-failed"
    IO_ERROR = "io-error"
    SHUTTING_DOWN = "shutting-down"


class FsheraldError(Exception):
    """Something in fsherald failed."""


class OmeroFSError(FsheraldError):
    """The operation failed.

    Raised as itself only by a client whose server sent a code that the client does not know.

    Attributes:
        code: what failed, for programs.
        message: what the code means, for people; the first line of the class's docstring.
        reason: one sentence naming the thing that failed; `str()` of the exception.
    """

    code: ClassVar[ErrorCode] = ErrorCode.IO_ERROR

    def __init__(self, reason: str = "") -> None:
        """Makes the error; without `reason` the message has to do."""
        self.message = (type(self).__doc__ or "").partition("\n")[0]
        self.reason = reason or self.message
        super().__init__(self.reason)

    @property
    def server_exception_class(self) -> str:
        """The name of the class, the contract's `serverExceptionClass`."""
        return type(self).__name__


class NoSuchMonitorError(OmeroFSError):
    """No monitor has this id."""

    code = ErrorCode.NO_SUCH_MONITOR


class PathNotAllowedError(OmeroFSError):
    """The path is not inside the allowed roots."""

    code = ErrorCode.PATH_NOT_ALLOWED


class NotFoundError(OmeroFSError):
    """The file or directory does not exist."""

    code = ErrorCode.NOT_FOUND


class PermissionDeniedError(OmeroFSError):
    """The server has no right to do this."""

    code = ErrorCode.PERMISSION_DENIED


class NotADirectoryFSError(OmeroFSError):
    """The path does not lead to a directory."""

    code = ErrorCode.NOT_A_DIRECTORY


class NotAFileError(OmeroFSError):
    """The path does not lead to a regular file."""

    code = ErrorCode.NOT_A_FILE


class AlreadyGoneError(OmeroFSError):
    """The thing went away while the operation was under way."""

    code = ErrorCode.ALREADY_GONE


class UnsupportedError(OmeroFSError):
    """This server cannot do that here."""

    code = ErrorCode.UNSUPPORTED


class LimitExceededError(OmeroFSError):
    """A limit of the server is exceeded."""

    code = ErrorCode.LIMIT_EXCEEDED


class FileChangedError(OmeroFSError):
    """The file is not the version that was asked for."""

    code = ErrorCode.FILE_CHANGED


class MonitorFailedError(OmeroFSError):
    """The monitor could not do what was asked; its state cannot be assumed."""

    code = ErrorCode.MONITOR_FAILED


class IOFSError(OmeroFSError):
    """The operating system reported an error."""

    code = ErrorCode.IO_ERROR


class ShuttingDownError(OmeroFSError):
    """The server is shutting down."""

    code = ErrorCode.SHUTTING_DOWN


_CLASSES: dict[ErrorCode, type[OmeroFSError]] = {cls.code: cls for cls in OmeroFSError.__subclasses__()}


def error_class(code: str) -> type[OmeroFSError]:
    """The exception class of an error code; `OmeroFSError` itself for a code that is not known here."""
    return _CLASSES.get(code, OmeroFSError)  # type: ignore[call-overload, no-any-return]  # StrEnum keys equal their text


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """One thing that is wrong with a request: the parameter by its wire name, and the problem in words."""

    field: str
    problem: str


class RequestError(FsheraldError):
    """The request is wrong at the level of JSON-RPC: never executed, at least not to its end.

    Attributes:
        rpc_code: the number that JSON-RPC 2.0 gives to this failure.
        name: the same as a name (`data.code` on the wire).
        message: one sentence.
        errors: for invalid-params, what is wrong with each parameter.
    """

    def __init__(
        self, rpc_code: int, name: str, message: str, errors: Sequence[FieldProblem] | None = None
    ) -> None:
        """Makes the error; the class methods below know the code and name of each kind."""
        super().__init__(rpc_code, name, message, errors)
        self.rpc_code = rpc_code
        self.name = name
        self.message = message
        self.errors = list(errors) if errors is not None else None

    @classmethod
    def parse_error(cls, message: str) -> Self:
        """The body is not JSON."""
        return cls(-32700, "parse-error", message)

    @classmethod
    def invalid_request(cls, message: str) -> Self:
        """The JSON is not a request."""
        return cls(-32600, "invalid-request", message)

    @classmethod
    def method_not_found(cls, message: str) -> Self:
        """The queue has no such method."""
        return cls(-32601, "method-not-found", message)

    @classmethod
    def invalid_params(cls, message: str, errors: Sequence[FieldProblem] = ()) -> Self:
        """The parameters are not those of the method."""
        return cls(-32602, "invalid-params", message, errors)

    @classmethod
    def internal_error(cls, message: str = "the server failed; its log says why") -> Self:
        """A failure that the contract has no word for."""
        return cls(-32603, "internal-error", message)

    def __str__(self) -> str:
        """The message, with the problem of each parameter."""
        problems = "; ".join(f"{each.field} {each.problem}".lstrip() for each in self.errors or ())
        return f"{self.message}: {problems}" if problems else self.message


class DecodeError(FsheraldError, ValueError):
    """A message that was consumed is not what it should be."""
