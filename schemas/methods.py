"""Every method of both request queues: its parameters, its result, and where it is answered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, TypeAdapter, ValidationError

from schemas.errors import FieldProblem, RequestError
from schemas.files import FileDigest, FileStats, FileVersion, ReadResult, VersionedFileStats
from schemas.model import Natural64, Params, PathText, Positive64, WireBool, WireFloat, WireInt, WireText
from schemas.monitors import MonitorInfo, MonitorSpec, MonitorState
from schemas.problems import PROBLEMS_MAX, field_problems, shortened

if TYPE_CHECKING:
    from collections.abc import Mapping

Queue: TypeAlias = Literal["control", "files"]

_QUEUE_NAME_MAX_BYTES = 255


def _queue_name(value: str) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("must be UTF-8") from None
    if not 0 < size <= _QUEUE_NAME_MAX_BYTES or "\0" in value:
        raise ValueError(f"must be 1 to {_QUEUE_NAME_MAX_BYTES} bytes without NUL")
    if value.startswith("amq."):
        raise ValueError("must not begin with 'amq.', which the broker keeps for itself")
    return value


QueueName = Annotated[WireText, AfterValidator(_queue_name)]


class NoParams(Params):
    """Of a method that takes none."""


class CreateMonitorParams(Params, MonitorSpec):
    """The contract's parameters of createMonitor; `queue` in the place of its `proxy`.

    Attributes:
        queue: a durable queue to bind to the monitor's exchange before the reply; declared if it is missing.
    """

    model_config = ConfigDict(extra="forbid")

    queue: QueueName | None = None

    def spec(self) -> MonitorSpec:
        """The specification alone."""
        return MonitorSpec.model_validate({name: getattr(self, name) for name in MonitorSpec.model_fields})


class MonitorParams(Params):
    """Of a method that is about one monitor."""

    id: WireText


class FileParams(Params):
    """Of a query about one file: an absolute path inside the roots."""

    file_id: PathText


class DirectoryParams(Params):
    """Of a listing.

    Attributes:
        abs_path: absolute path of a directory inside the roots.
        filter: shell pattern on the entry's name, as for `ls`.
        limit: names in the reply at most.
        after: the last name of the page before.
    """

    abs_path: PathText
    filter: PathText = ""
    limit: Positive64 | None = None
    after: PathText | None = None


class VersionedFileParams(FileParams):
    """Of getSHA1: with `version`, fails unless the file is still that version."""

    version: FileVersion | None = None


class ReadBlockParams(VersionedFileParams):
    """Of readBlock: up to `size` bytes from byte `offset` on."""

    offset: Natural64
    size: Natural64


@dataclass(frozen=True)
class Method:
    """One method of a request queue.

    Attributes:
        name: its name on the wire.
        params: the model of its parameters.
        result: the type of its result, a model or what pydantic takes as a type.
        queue: where it is answered; None means on both queues.
        summary: one sentence.
    """

    name: str
    params: type[Params]
    result: Any
    queue: Queue | None
    summary: str

    @cached_property
    def result_adapter(self) -> TypeAdapter[Any]:
        """Validates and describes the result."""
        return TypeAdapter(self.result)

    def parse_params(self, params: Mapping[str, object] | list[object]) -> Params:
        """The parameters of one request, validated.

        Raises:
            RequestError: invalid-params, with every problem in `errors`.
        """
        if isinstance(params, list):
            raise RequestError.invalid_params(
                f"{self.name} takes its parameters by name",
                [FieldProblem("params", "must be an object, not an array")],
            )
        known = {str(field.alias) for field in self.params.model_fields.values()}
        unknown = [
            FieldProblem(shortened(name), f"is not a parameter of {self.name}")
            for name in islice((name for name in params if name not in known), PROBLEMS_MAX)
        ]
        given = {name: value for name, value in params.items() if name in known}
        try:
            parsed = self.params.model_validate(given, by_alias=True, by_name=False)
        except ValidationError as exc:
            raise self._invalid([*field_problems(exc), *unknown]) from exc
        if unknown:
            raise self._invalid(unknown)
        return parsed

    def _invalid(self, errors: list[FieldProblem]) -> RequestError:
        return RequestError.invalid_params(f"invalid parameters for {self.name}", errors[:PROBLEMS_MAX])


_CONTROL = (
    Method(
        "createMonitor",
        CreateMonitorParams,
        WireText,
        "control",
        "Creates a monitor, Stopped; returns its id.",
    ),
    Method("startMonitor", MonitorParams, None, "control", "Starts a monitor, if it is not started."),
    Method("stopMonitor", MonitorParams, None, "control", "Stops a monitor, if it is not stopped."),
    Method(
        "destroyMonitor",
        MonitorParams,
        None,
        "control",
        "Stops a monitor, publishes what it has, forgets it.",
    ),
    Method("getMonitorState", MonitorParams, MonitorState, "control", "Tells whether a monitor is started."),
    Method("listMonitors", NoParams, list[MonitorInfo], "control", "Describes every monitor."),
    Method("describeMonitor", MonitorParams, MonitorInfo, "control", "Describes one monitor."),
)
_FILES = (
    Method("getDirectory", DirectoryParams, list[PathText], "files", "Lists the names in a directory."),
    Method(
        "getBulkDirectory", DirectoryParams, list[FileStats], "files", "Lists a directory with file stats."
    ),
    Method("fileExists", FileParams, WireBool, "files", "Tells whether a path exists."),
    Method("isDir", FileParams, WireBool, "files", "Tells whether a path leads to a directory."),
    Method("isFile", FileParams, WireBool, "files", "Tells whether a path leads to a regular file."),
    Method("getBaseName", FileParams, PathText, "files", "The last component of a path."),
    Method("getSize", FileParams, WireInt, "files", "The size of a file in bytes."),
    Method("getOwner", FileParams, WireText, "files", "The owner's name, or uid where it has none."),
    Method("getATime", FileParams, WireFloat, "files", "The access time, in seconds since the epoch."),
    Method("getCTime", FileParams, WireFloat, "files", "The change time, in seconds since the epoch."),
    Method("getMTime", FileParams, WireFloat, "files", "The modification time, in seconds since the epoch."),
    Method("getStats", FileParams, VersionedFileStats, "files", "All stats of a file, and its version."),
    Method("getSHA1", VersionedFileParams, FileDigest, "files", "The SHA-1 of a file, in hexadecimal."),
    Method("readBlock", ReadBlockParams, ReadResult, "files", "Reads up to `size` bytes from `offset` on."),
)
_BOTH = (Method("rpc.discover", NoParams, dict[str, Any], None, "The OpenRPC document of this queue."),)

METHODS: dict[str, Method] = {method.name: method for method in (*_CONTROL, *_FILES, *_BOTH)}


def methods_of(queue: Queue) -> dict[str, Method]:
    """The methods that a queue answers."""
    return {name: method for name, method in METHODS.items() if method.queue in (queue, None)}


def find_method(name: str, queue: Queue) -> Method:
    """The method that a request to `queue` names.

    Raises:
        RequestError: method-not-found; names the other queue if it is there.
    """
    method = METHODS.get(name)
    if method is None:
        raise RequestError.method_not_found(f"there is no method {shortened(name)!r}")
    if method.queue not in (queue, None):
        raise RequestError.method_not_found(
            f"{name!r} is a method of the {method.queue} queue, not of {queue}"
        )
    return method
