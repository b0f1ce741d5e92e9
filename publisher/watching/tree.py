"""What a monitor knows of its tree: the directories, their watches, and the files in them."""

from __future__ import annotations

import contextlib
import errno
import os
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

from publisher.storing.ledger_tables import DirectoryRow
from publisher.watching.coverage import CoverageRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from publisher.sighting import Signature

UNWATCHED = -1
GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


def fingerprint(signature: Signature) -> int:
    """A signature in 64 bits, which is what a million files can afford in memory."""
    return hash(signature)


_NONE: Mapping[str, Directory] = MappingProxyType({})
_NO_FILES: Mapping[str, int] = MappingProxyType({})
"""What many directories have in them."""


class Directory:
    """One known directory.

    Attributes:
        key: Its key in the ledger.
        prefix: Its absolute path, spelled as the monitor's own path is, with a slash at the end.
        files: The fingerprints, by name, of the files that are reported, or were there at the start: of
            everything that is not a directory.
        directories: The known directories in it, by name.
        wd: Its watch, or UNWATCHED.
        entered: Whether what is in it is to be watched.
        loaded: Whether `files` is filled from what an earlier run left in the ledger.
        limited: Whether the kernel has no watch for it: it is listed repeatedly instead.
        device: st_dev when it was last listed, 0 before.
        inode: Its inode then.
        mounted: Whether another file system was mounted at it then.
        doubtful: Whether its records count for nothing until it is compared: some were lost, or they are of the time
            when it stood elsewhere.
        overdue: Whether something in it could not be looked at because it, or something above it, stands elsewhere
            by now: the record of that is on its way, and then it is compared.
    """

    __slots__ = (
        "device",
        "directories",
        "doubtful",
        "entered",
        "files",
        "inode",
        "key",
        "limited",
        "loaded",
        "mounted",
        "name",
        "overdue",
        "parent",
        "prefix",
        "wd",
    )

    prefix: str

    def __init__(self, name: str, parent: Directory | None, key: int) -> None:
        self.name = name
        self.parent = parent
        self.key = key
        self.wd = UNWATCHED
        self.entered = False
        self.loaded = True
        self.limited = False
        self.mounted = False
        self.overdue = False
        self.doubtful = False
        self.device = 0
        self.inode = 0
        self.files: Mapping[str, int] = _NO_FILES
        self.directories: Mapping[str, Directory] = _NONE

    def __getattr__(self, name: str) -> str:
        """The prefix when it is asked for the first time, or for the first time after `rest` or a move."""
        if name != "prefix":
            raise AttributeError(name)
        self.prefix = self.spell()
        return self.prefix

    def spell(self) -> str:
        """Its prefix, made anew: for threads other than the reader's, which may have it renamed meanwhile."""
        names, top = [""], self
        while top.parent is not None:
            names.append(top.name)
            top = top.parent
        return top.prefix + "/".join(reversed(names))

    def rest(self) -> None:
        """Nothing happens in it for now: what can be made again is not kept."""
        if self.parent is not None:
            with contextlib.suppress(AttributeError):
                del self.prefix

    @property
    def path(self) -> str:
        """The absolute path, spelled as the monitor's own path is."""
        return self.prefix[:-1] or "/"

    @property
    def row(self) -> DirectoryRow:
        """Itself as a row of the ledger."""
        parent = self.parent.key if self.parent is not None else 0
        return DirectoryRow(
            self.key, parent, self.name.encode("utf-8", "surrogateescape"), self.entered, self.mounted
        )

    @property
    def visited(self) -> bool:
        """Whether it was listed in this run, so that what is known of it was there then."""
        return self.wd != UNWATCHED or self.limited

    @property
    def is_elsewhere(self) -> bool:
        """Whether another directory, or none, stands at its path by now: the record of that is on its way."""
        try:
            found = os.lstat(self.path)
        except OSError as exc:
            return exc.errno in GONE
        return (found.st_dev, found.st_ino) != (self.device, self.inode)

    @property
    def attached(self) -> bool:
        """Whether it is still part of its tree."""
        directory = self
        while directory.parent is not None:
            if directory.parent.directories.get(directory.name) is not directory:
                return False
            directory = directory.parent
        return True

    def stands(self, found: os.stat_result) -> None:
        """Notes which directory of the disk it is."""
        same = self.parent is not None and self.parent.device == found.st_dev
        self.device = (
            self.parent.device if self.parent is not None and same else found.st_dev
        )  # one number for all
        self.inode = found.st_ino

    def add(self, name: str, key: int) -> Directory:
        """A new directory in this one."""
        child = Directory(name, self, key)
        self._put(child)
        return child

    def know(self, name: str, content: int) -> None:
        """A file in it is reported, with content of that fingerprint."""
        if self.files is _NO_FILES:
            self.files = {}
        cast("dict[str, int]", self.files)[name] = content

    def forget(self, name: str) -> None:
        """A file in it is not known any more; harmless if it was not."""
        if name in self.files:
            del cast("dict[str, int]", self.files)[name]

    def _put(self, child: Directory) -> None:
        if self.directories is _NONE:
            self.directories = {}
        cast("dict[str, Directory]", self.directories)[child.name] = child

    def drop(self, child: Directory) -> None:
        """Knows a directory in it no more."""
        if child.name in self.directories:
            del cast("dict[str, Directory]", self.directories)[child.name]

    def walk(self) -> Iterator[Directory]:
        """This directory and all below it, parents first. Not recursive: trees may be deeper than the stack."""
        todo = [self]
        while todo:
            directory = todo.pop()
            yield directory
            todo.extend(directory.directories.values())

    def move(self, parent: Directory, name: str) -> None:
        """Takes this directory, with all below it, to another place in the tree."""
        if self.parent is not None:
            self.parent.drop(self)
        self.parent, self.name = parent, name
        parent._put(self)
        for directory in self.walk():
            directory.rest()


class Watches(Protocol):
    """What a tree needs of an inotify descriptor."""

    @property
    def position(self) -> int:
        """How far its records were read."""
        ...

    @property
    def end(self) -> int:
        """The position behind the last record that is queued now."""
        ...

    def add(self, directory_fd: int, mask: int) -> int:
        """Watches the open directory; returns the watch."""
        ...

    def remove(self, wd: int) -> None:
        """Ends a watch."""
        ...


class Tree:
    """The known directories of one monitor and their watches.

    Attributes:
        root: The monitor's own directory.
        by_wd: The watched directories by their watch.
        coverage: Which are watched and which are not.
        watches: The descriptor; None before there is one, and where the kernel has none to give.
    """

    def __init__(self, path: str, mask: int, root_mask: int, root_key: int) -> None:
        """Knows nothing but the root; watches take `mask`, the root's also `root_mask`."""
        self.root = Directory("", None, root_key)
        self.root.prefix = path if path.endswith("/") else f"{path}/"
        self.root.entered = True
        self.by_wd: dict[int, Directory] = {}
        self.coverage = CoverageRecord()
        self.watches: Watches | None = None
        self._mask = mask
        self._root_mask = root_mask

    def restore(self, rows: Iterable[DirectoryRow]) -> None:
        """Takes up the directories that an earlier run has left in the ledger; their files are loaded later."""
        by_parent: dict[int, list[DirectoryRow]] = {}
        for row in rows:
            by_parent.setdefault(row.parent, []).append(row)
        for row in by_parent.get(0, ()):
            self.root.key = row.key
        todo = [self.root]
        while todo:
            directory = todo.pop()
            directory.loaded = False
            for row in by_parent.get(directory.key, ()):
                child = directory.add(row.name.decode("utf-8", "surrogateescape"), row.key)
                child.entered, child.mounted = row.entered, row.mounted
                todo.append(child)

    def watch(self, directory: Directory, directory_fd: int) -> Directory | None:
        """Watches a directory that is open.

        The kernel has one watch for a directory: returns the one that had it until now and has none any more,
        because the directory was moved or stands in two places.

        Raises:
            OSError: The kernel refuses: ENOSPC, EACCES.
        """
        assert self.watches is not None  # noqa: S101 - whoever calls has seen to it; for the type checker
        mask = self._mask | (self._root_mask if directory is self.root else 0)
        wd = self.watches.add(directory_fd, mask)
        if directory.wd != wd and self.by_wd.get(directory.wd) is directory:
            self.unwatch(directory)  # another directory stands in its place
        before = self.by_wd.get(wd)
        if before is not None and before is not directory:
            before.wd = UNWATCHED
        directory.wd = wd
        directory.limited = False
        self.by_wd[wd] = directory
        self.coverage.watched = len(self.by_wd)
        self.coverage.missing.pop(directory, None)
        return before if before is not directory else None

    def watched(self, wd: int) -> Directory | None:
        """The directory of a watch, if what a record says of it counts."""
        directory = self.by_wd.get(wd)
        return None if directory is None or directory.doubtful else directory

    def miss(self, directory: Directory, reason: str, *, limited: bool = False) -> None:
        """A directory cannot be watched for now."""
        self.coverage.missing[directory] = reason
        directory.limited = limited
        if limited:
            self.coverage.polled = True

    def unwatch(self, directory: Directory) -> None:
        """Ends a watch if there is one."""
        if directory.wd != UNWATCHED and self.watches is not None:
            self.watches.remove(directory.wd)
            self.ended(directory)

    def ended(self, directory: Directory) -> None:
        """The kernel has ended a watch."""
        self.by_wd.pop(directory.wd, None)
        directory.wd = UNWATCHED
        self.coverage.watched = len(self.by_wd)

    def remove(self, gone: Directory) -> None:
        """Takes a directory and all below it out of the tree and ends their watches."""
        for directory in gone.walk():
            self.coverage.missing.pop(directory, None)
            self.unwatch(directory)
        if gone.parent is not None:
            gone.parent.drop(gone)

    def find(self, path: str) -> Directory | None:
        """The known directory at an absolute path below the root."""
        directory: Directory | None = self.root
        for name in path[len(self.root.prefix) :].split("/"):
            if directory is not None and name:
                directory = directory.directories.get(name)
        return directory
