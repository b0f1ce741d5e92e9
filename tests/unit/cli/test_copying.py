"""Copying a file over the broker, against a server in memory that fails on request."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest

from control.copying import CopyError, FileCopy
from schemas.errors import FileChangedError, LimitExceededError, NotAFileError
from schemas.files import FileDigest, FileType, VersionedFileStats


class FakeFiles:
    """One file; counts what is asked for and fails at an offset, if told to."""

    def __init__(self, content: bytes, version: str = "v1", kind: FileType = FileType.FILE) -> None:
        self.content = content
        self.version = version
        self.kind = kind
        self.limit = 1 << 20
        self.fails_at: int | None = None
        self.sha1 = hashlib.sha1(content).hexdigest()
        self.asked: list[int] = []
        self._lock = threading.Lock()

    def get_stats(self, file_id: str) -> VersionedFileStats:
        return VersionedFileStats(
            base_name="f",
            owner="o",
            size=len(self.content),
            m_time=0.0,
            c_time=0.0,
            a_time=0.0,
            type=self.kind,
            version=self.version,
        )

    def get_sha1(self, file_id: str, *, version: str | None = None) -> FileDigest:
        return FileDigest(sha1=self.sha1, version=self.version)

    def read_block(
        self, file_id: str, offset: int, size: int, *, version: str | None = None
    ) -> tuple[bytes, str]:
        with self._lock:
            self.asked.append(offset)
        if size > self.limit:
            raise LimitExceededError(f"the limit is {self.limit}")
        if self.fails_at is not None and offset >= self.fails_at:
            raise ConnectionError("gone")
        if version != self.version:
            raise FileChangedError("changed")
        return self.content[offset : offset + size], self.version


CONTENT = bytes(range(256)) * 40


def leftovers(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("content", [b"", b"x", CONTENT])
def test_a_copy_is_what_the_server_has(tmp_path: Path, content: bytes) -> None:
    """All blocks, in order, whatever the size; the target appears when it is whole."""
    seen: list[tuple[int, int]] = []
    copy = FileCopy(
        FakeFiles(content),
        "/data/f",
        tmp_path / "g",
        block_bytes=1000,
        in_flight=4,
        progress=lambda done, size: seen.append((done, size)),
    )
    assert copy.run() == tmp_path / "g"
    assert (tmp_path / "g").read_bytes() == content
    assert seen[-1] == (len(content), len(content))
    assert leftovers(tmp_path) == []


def test_a_directory_takes_the_file_under_its_own_name(tmp_path: Path) -> None:
    """As cp does."""
    assert FileCopy(FakeFiles(CONTENT), "/data/f", tmp_path).run() == tmp_path / "f"


def test_a_broken_copy_is_taken_up_where_it_ended(tmp_path: Path) -> None:
    """What is here already is not asked for again."""
    files = FakeFiles(CONTENT)
    files.fails_at = 5000
    with pytest.raises(ConnectionError):
        FileCopy(files, "/data/f", tmp_path / "g", block_bytes=1000, in_flight=2).run()
    assert not (tmp_path / "g").exists()
    [part] = leftovers(tmp_path)
    assert (tmp_path / part).stat().st_size == 5000
    files.fails_at, files.asked = None, []
    FileCopy(files, "/data/f", tmp_path / "g", block_bytes=1000, in_flight=2).run()
    assert min(files.asked) == 5000
    assert (tmp_path / "g").read_bytes() == CONTENT


def test_blocks_of_another_version_are_never_mixed_in(tmp_path: Path) -> None:
    """A part of an older version is thrown away; a change on the way ends the copy."""
    files = FakeFiles(CONTENT)
    files.fails_at = 5000
    with pytest.raises(ConnectionError):
        FileCopy(files, "/data/f", tmp_path / "g", block_bytes=1000).run()
    newer = FakeFiles(CONTENT[::-1], version="v2")
    FileCopy(newer, "/data/f", tmp_path / "g", block_bytes=1000).run()
    assert (tmp_path / "g").read_bytes() == CONTENT[::-1]
    assert leftovers(tmp_path) == []


def test_a_file_that_changes_meanwhile_ends_the_copy(tmp_path: Path) -> None:
    """file-changed, and nothing is left."""

    class Changing(FakeFiles):
        def read_block(
            self, file_id: str, offset: int, size: int, *, version: str | None = None
        ) -> tuple[bytes, str]:
            if offset >= 3000:
                raise FileChangedError("changed")
            return super().read_block(file_id, offset, size, version=version)

    with pytest.raises(FileChangedError):
        FileCopy(Changing(CONTENT), "/data/f", tmp_path / "g", block_bytes=1000).run()
    assert list(tmp_path.iterdir()) == []


def test_a_copy_that_differs_is_thrown_away(tmp_path: Path) -> None:
    """The SHA-1 of what was written here is compared with the server's."""
    files = FakeFiles(CONTENT)
    files.sha1 = "0" * 40
    with pytest.raises(CopyError, match="differs"):
        FileCopy(files, "/data/f", tmp_path / "g").run()
    assert list(tmp_path.iterdir()) == []


def test_a_lower_limit_of_the_server_is_found(tmp_path: Path) -> None:
    """The first block is asked for in ever smaller sizes."""
    files = FakeFiles(bytes(200_000))
    files.limit = 10_000
    FileCopy(files, "/data/f", tmp_path / "g", block_bytes=1 << 16).run()
    assert (tmp_path / "g").read_bytes() == files.content


def test_a_directory_is_not_copied(tmp_path: Path) -> None:
    """One file at a time."""
    with pytest.raises(NotAFileError):
        FileCopy(FakeFiles(b"", kind=FileType.DIR), "/data/d", tmp_path / "g").run()
