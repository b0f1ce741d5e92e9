"""FileServer from the client's side, as blocking Python calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from control.client_errors import BadReplyError
from control.server_client import ServerClient, parsed
from schemas.files import FileDigest, FileStats, FileVersion, PathText, VersionedFileStats
from schemas.topology import CONTENT_TYPE_OCTETS, HEADER_VERSION, Topology

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["FileServerClient"]

_PAGE = 10_000

_BOOL = TypeAdapter(bool)
_FLOAT = TypeAdapter(float)
_INT = TypeAdapter(int)
_NAME: TypeAdapter[str] = TypeAdapter(PathText)
_NAMES: TypeAdapter[list[str]] = TypeAdapter(list[PathText])
_STATS = TypeAdapter(VersionedFileStats)
_STATS_LIST = TypeAdapter(list[FileStats])
_DIGEST = TypeAdapter(FileDigest)


class FileServerClient(ServerClient):
    """The operations of FileServer. Each blocks until its reply; errors are those of `RpcClient.call`.

    A `file_id` or `abs_path` is an absolute path on the server, inside its allowed roots; one that is not UTF-8 is
    given and returned as Python gives it (surrogateescape, as from `os.fsdecode`).
    """

    def __init__(
        self,
        url: str,
        namespace: str = "fsherald",
        timeout_seconds: float = 30.0,
        *,
        password: str | None = None,
    ) -> None:
        """Starts to connect and returns; arguments as for RpcClient."""
        super().__init__(url, Topology(namespace).files, password=password, timeout_seconds=timeout_seconds)

    def get_directory(
        self, abs_path: str, filter: str = "", *, limit: int | None = None, after: str | None = None
    ) -> list[str]:
        """Sorted names in a directory; a directory's own name ends in `/`.

        Args:
            abs_path: the directory.
            filter: shell pattern as for `ls`; empty is all but dot files.
            limit: at most so many names.
            after: the last name of the page before.
        """
        return parsed(_NAMES, self.rpc.call("getDirectory", **_listing(abs_path, filter, limit, after)))

    def get_bulk_directory(
        self, abs_path: str, filter: str = "", *, limit: int | None = None, after: str | None = None
    ) -> list[FileStats]:
        """As `get_directory`, with the stats of each entry."""
        return parsed(
            _STATS_LIST, self.rpc.call("getBulkDirectory", **_listing(abs_path, filter, limit, after))
        )

    def names(self, abs_path: str, filter: str = "") -> Iterator[str]:
        """Every name that `get_directory` would list, however many there are, asked for page by page."""
        after: str | None = None
        while page := self.get_directory(abs_path, filter, limit=_PAGE, after=after):
            yield from page
            after = page[-1]

    def entries(self, abs_path: str, filter: str = "") -> Iterator[FileStats]:
        """Every entry that `get_bulk_directory` would list, however many there are, asked for page by page."""
        after: str | None = None
        while page := self.get_bulk_directory(abs_path, filter, limit=_PAGE, after=after):
            yield from page
            after = page[-1].base_name

    def file_exists(self, file_id: str) -> bool:
        """Whether there is anything of that name."""
        return parsed(_BOOL, self.rpc.call("fileExists", fileId=file_id))

    def is_dir(self, file_id: str) -> bool:
        """Whether it is a directory, or a link that leads to one."""
        return parsed(_BOOL, self.rpc.call("isDir", fileId=file_id))

    def is_file(self, file_id: str) -> bool:
        """Whether it is a file, or a link that leads to one."""
        return parsed(_BOOL, self.rpc.call("isFile", fileId=file_id))

    def get_base_name(self, file_id: str) -> str:
        """The last component of the path."""
        return parsed(_NAME, self.rpc.call("getBaseName", fileId=file_id))

    def get_size(self, file_id: str) -> int:
        """Size in bytes."""
        return parsed(_INT, self.rpc.call("getSize", fileId=file_id))

    def get_owner(self, file_id: str) -> str:
        """The owner's name, or the uid as text where it has none."""
        return parsed(_NAME, self.rpc.call("getOwner", fileId=file_id))

    def get_a_time(self, file_id: str) -> float:
        """Time of the last access, in seconds since the epoch."""
        return parsed(_FLOAT, self.rpc.call("getATime", fileId=file_id))

    def get_c_time(self, file_id: str) -> float:
        """Time of the last change of the inode, in seconds since the epoch."""
        return parsed(_FLOAT, self.rpc.call("getCTime", fileId=file_id))

    def get_m_time(self, file_id: str) -> float:
        """Time of the last change of the content, in seconds since the epoch."""
        return parsed(_FLOAT, self.rpc.call("getMTime", fileId=file_id))

    def get_stats(self, file_id: str) -> VersionedFileStats:
        """The stats of a file, and the version that they describe."""
        return parsed(_STATS, self.rpc.call("getStats", fileId=file_id))

    def get_sha1(self, file_id: str, *, version: FileVersion | None = None) -> FileDigest:
        """The SHA-1 of a file in hexadecimal, and the version that it belongs to.

        Raises:
            FileChangedError: `version` is given, and the file is of another one.
        """
        return parsed(_DIGEST, self.rpc.call("getSHA1", fileId=file_id, **_version(version)))

    def read_block(
        self, file_id: str, offset: int, size: int, *, version: FileVersion | None = None
    ) -> tuple[bytes, FileVersion]:
        """Up to `size` bytes from `offset` on (none past the end), and the version that they belong to.

        Raises:
            FileChangedError: `version` is given, and the file is of another one.
            LimitExceededError: `size` is above the server's limit.
        """
        params: dict[str, Any] = {"fileId": file_id, "offset": offset, "size": size, **_version(version)}
        reply = self.rpc.request("readBlock", params, accept=CONTENT_TYPE_OCTETS)
        found = reply.headers.get(HEADER_VERSION)
        if not isinstance(reply.result, bytes) or not isinstance(found, str):
            raise BadReplyError("the reply to readBlock is not a block with a version")
        return reply.result, found

    def read(self, file_id: str, *, block_bytes: int = 1 << 20) -> Iterator[bytes]:
        """A whole file, block by block, of one version throughout (FileChangedError where it changes meanwhile)."""
        offset, version = 0, None
        while True:
            block, version = self.read_block(file_id, offset, block_bytes, version=version)
            if not block:
                return
            yield block
            offset += len(block)


def _listing(abs_path: str, filter: str, limit: int | None, after: str | None) -> dict[str, Any]:
    params: dict[str, Any] = {"absPath": abs_path, "filter": filter}
    if limit is not None:
        params["limit"] = limit
    if after is not None:
        params["after"] = after
    return params


def _version(version: FileVersion | None) -> dict[str, str]:
    return {} if version is None else {"version": version}
