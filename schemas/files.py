"""What FileServer tells about a file, and the version that ties an answer to one state of its content."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Field

from schemas.model import PathText, WireEnum, WireFloat, WireInt, WireModel, WireText

if TYPE_CHECKING:
    import os
    from typing import Self

__all__ = [
    "FileDigest",
    "FileStats",
    "FileType",
    "FileVersion",
    "PathText",
    "ReadResult",
    "VersionedFileStats",
    "make_version",
]

FileVersion: TypeAlias = Annotated[WireText, Field(description="Opaque; compare for equality only.")]


class FileType(WireEnum):
    """What a directory entry is, decided in this order: Link, Mount, Dir, File, else Unknown."""

    FILE = "File"
    DIR = "Dir"
    LINK = "Link"
    MOUNT = "Mount"
    UNKNOWN = "Unknown"


class FileStats(WireModel):
    """The contract's FileStats: size in bytes, times in seconds since the epoch."""

    base_name: PathText
    owner: WireText
    size: WireInt
    m_time: WireFloat
    c_time: WireFloat
    a_time: WireFloat
    type: FileType


class VersionedFileStats(FileStats):
    """The result of getStats."""

    version: FileVersion


class FileDigest(WireModel):
    """The result of getSHA1: 40 hexadecimal digits, and the version of the content that they are of."""

    sha1: WireText
    version: FileVersion


class ReadResult(WireModel):
    """The result of readBlock: bytes in base64, and the version that they are of."""

    data: Annotated[WireText, Field(json_schema_extra={"contentEncoding": "base64"})]
    version: FileVersion

    @classmethod
    def of(cls, octets: bytes, version: FileVersion) -> Self:
        """The result that carries `octets`."""
        return cls(data=base64.b64encode(octets).decode("ascii"), version=version)

    @property
    def octets(self) -> bytes:
        """The bytes themselves; ValueError if `data` is not base64."""
        return base64.b64decode(self.data, validate=True)


def make_version(status: os.stat_result) -> FileVersion:
    """The version of a file's content: device, inode, size and modification time in nanoseconds."""
    return f"{status.st_dev:x}.{status.st_ino:x}.{status.st_size:x}.{status.st_mtime_ns:x}"
