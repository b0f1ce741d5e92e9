"""FileServer: the operations of the contract, confined to the roots. All of them only read, any number at a time."""

from __future__ import annotations

import stat
import threading
from typing import TYPE_CHECKING

from control.content import Content
from control.deadline import Deadline
from control.directory import list_names, list_stats
from control.dispatcher import NOT_AT_ONCE, Aside, Octets
from control.file_look import FileLook, look, look_at_once
from schemas.errors import LimitExceededError, NotADirectoryFSError, NotFoundError
from schemas.files import ReadResult, VersionedFileStats, make_version
from schemas.topology import HEADER_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from control.dispatcher import Caller, Handler
    from control.local_mounts import LocalMounts
    from publisher.roots import Roots
    from schemas.files import FileDigest, FileStats
    from schemas.methods import DirectoryParams, FileParams, ReadBlockParams, VersionedFileParams

READ_LIMIT_BYTES = 4 << 20
ASIDE_FROM_BYTES = 8 << 20
"""Files from this size on are digested aside."""
ASIDE_LIMIT = 64
QUERY_SECONDS = 3600.0


class FileServer:
    """Serves the queries; what it raises is the contract's error."""

    def __init__(
        self,
        roots: Roots,
        *,
        mounts: LocalMounts | None = None,
        stopping: threading.Event | None = None,
        read_limit_bytes: int = READ_LIMIT_BYTES,
        aside_limit: int = ASIDE_LIMIT,
        aside_from_bytes: int = ASIDE_FROM_BYTES,
        query_seconds: float = QUERY_SECONDS,
    ) -> None:
        """Serves what is inside the roots.

        Args:
            roots: Nothing outside them is ever touched.
            mounts: Where one look waits for nobody; None for nowhere.
            stopping: Ends digests and listings that are under way.
            read_limit_bytes: The largest block of readBlock.
            aside_limit: Digests of large files that may be under way or waiting.
            aside_from_bytes: What a large file is.
            query_seconds: How long a digest or a listing may take.
        """
        self._roots = roots
        self._mounts = mounts
        self._content = Content(roots)
        self._stopping = stopping or threading.Event()
        self._query_seconds = query_seconds
        self._read_limit_bytes = read_limit_bytes
        self._aside_from_bytes = aside_from_bytes
        self._aside_limit = aside_limit
        self._aside_room = threading.BoundedSemaphore(aside_limit)

    def handlers(self) -> dict[str, Handler]:
        """The methods by name."""
        return {
            "getDirectory": self.get_directory,
            "getBulkDirectory": self.get_bulk_directory,
            "getSHA1": self.get_sha1,
            "readBlock": self.read_block,
            **{method: self._looking(tell) for method, tell in _OF_ONE_LOOK.items()},
            "fileExists": self.file_exists,
        }

    def at_once(self) -> dict[str, Handler]:
        """The methods that a thread may serve which must not wait: by a result, or by `NOT_AT_ONCE`."""
        mounts = self._mounts
        if mounts is None:
            return {}
        return {
            method: self._looking_at_once(tell, mounts, tells_owner=method in _TELL_THE_OWNER)
            for method, tell in _OF_ONE_LOOK.items()
        }

    def _looking(self, tell: Callable[[FileLook], object]) -> Handler:
        def handle(params: FileParams, _caller: Caller) -> object:
            if self._mounts is not None:
                self._mounts.refresh()
            return tell(look(self._roots, params.file_id))

        return handle

    def _looking_at_once(
        self, tell: Callable[[FileLook], object], mounts: LocalMounts, *, tells_owner: bool
    ) -> Handler:
        def handle(params: FileParams, _caller: Caller) -> object:
            found = look_at_once(self._roots, mounts, params.file_id)
            if found is None or (tells_owner and found.known_owner is None):
                return NOT_AT_ONCE
            return tell(found)

        return handle

    def get_directory(self, params: DirectoryParams, _caller: Caller) -> list[str]:
        """Names, sorted."""
        return list_names(
            self._roots, params.abs_path, params.filter, params.limit, params.after, self._deadline()
        )

    def get_bulk_directory(self, params: DirectoryParams, _caller: Caller) -> list[FileStats]:
        """Stats of the same entries."""
        return list_stats(
            self._roots, params.abs_path, params.filter, params.limit, params.after, self._deadline()
        )

    def file_exists(self, params: FileParams, caller: Caller) -> object:
        """Whether there is such an entry; a link that leads nowhere is one."""
        try:
            return self._looking(_exists)(params, caller)
        except (NotFoundError, NotADirectoryFSError):
            return False

    def get_sha1(self, params: VersionedFileParams, _caller: Caller) -> FileDigest | Aside:
        """The SHA-1 of a file of any size; that of a large one delays no other query."""
        path, version = params.file_id, params.version
        if self._content.size(path, version) < self._aside_from_bytes:
            return self._content.digest(path, version, self._deadline())
        if not self._aside_room.acquire(blocking=False):
            raise LimitExceededError(
                f"{self._aside_limit} digests of large files are waiting; ask again later"
            )
        return Aside(lambda: self._digest_aside(path, version))

    def _deadline(self) -> Deadline:
        return Deadline(self._query_seconds, self._stopping)

    def _digest_aside(self, path: str, version: str | None) -> FileDigest:
        try:
            return self._content.digest(path, version, self._deadline())
        finally:
            self._aside_room.release()

    def read_block(self, params: ReadBlockParams, caller: Caller) -> ReadResult | Octets:
        """Bytes from the middle of a file, as they are if the client takes them so."""
        if params.size > self._read_limit_bytes:
            text = f"size is {params.size}, the server reads {self._read_limit_bytes} bytes at a time"
            raise LimitExceededError(text)
        octets, version = self._content.read(params.file_id, params.offset, params.size, params.version)
        if caller.takes_octets:
            return Octets(octets, {HEADER_VERSION: version})
        return ReadResult.of(octets, version)


def _exists(_found: FileLook) -> bool:
    return True


def _is_dir(found: FileLook) -> bool:
    return stat.S_ISDIR(found.status.st_mode)


def _is_file(found: FileLook) -> bool:
    return stat.S_ISREG(found.status.st_mode)


def _stats(found: FileLook) -> VersionedFileStats:
    return VersionedFileStats(**dict(found.stats()), version=make_version(found.status))


_OF_ONE_LOOK: dict[str, Callable[[FileLook], object]] = {
    "fileExists": _exists,
    "isDir": _is_dir,
    "isFile": _is_file,
    "getBaseName": lambda found: found.base_name,
    "getSize": lambda found: found.status.st_size,
    "getOwner": lambda found: found.owner,
    "getATime": lambda found: found.status.st_atime,
    "getCTime": lambda found: found.status.st_ctime,
    "getMTime": lambda found: found.status.st_mtime,
    "getStats": _stats,
}
"""What each method tells of one look at a path; of what a link leads to, if it is one."""
_TELL_THE_OWNER = {"getOwner", "getStats"}
